"""Scenarios: their schema, how they are read from YAML, and every fault in them at once."""
