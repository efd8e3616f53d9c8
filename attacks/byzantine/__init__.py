"""Malicious clients that send forged updates."""
