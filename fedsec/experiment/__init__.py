"""From a scenario to cells, from cells to results: expanding the matrix, training, attacking, scoring."""
