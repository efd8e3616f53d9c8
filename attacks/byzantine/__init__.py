"""Malicious clients that send crafted updates."""
