"""Metrics of a cell: utility, leakage, robustness and cost, each with its interval."""
