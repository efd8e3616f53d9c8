"""Curious servers that read clients' texts out of their updates."""
