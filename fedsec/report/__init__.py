"""Scorecards, tables, plots and the HTML report; everything here is rebuilt from a run's cells at any time."""
