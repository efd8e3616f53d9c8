"""The plan of a run: cells, what each position sees, keys of results, estimates of time and memory."""
