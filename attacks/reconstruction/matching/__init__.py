"""Gradient matching: the objective and what optimises it, and the attacks that are built on it."""
