"""What there is to run: cells, who sees what in each, keys of results, estimates of time and memory."""
