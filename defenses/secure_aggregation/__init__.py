"""Defenses that add updates up so that nobody reads a single one: by masks, or under encryption."""
