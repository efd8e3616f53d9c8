"""The gate: what a scenario demands of a run, baselines, and the verdict that every format is written from."""
