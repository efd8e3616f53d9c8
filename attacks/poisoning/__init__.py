"""Malicious clients that train on altered data."""
