"""Defenses that change what is trained, or how, before the federation starts."""
