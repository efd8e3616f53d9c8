"""Poison: malicious clients that train on altered data, and suppliers of a poisoned model or of poisoned rows."""
