"""The run directory: records, cells, atomic writes."""
