"""What a cell is worth: utility, leakage, robustness and cost, each with its interval."""
