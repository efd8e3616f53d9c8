"""Defenses of texts: queries to the released model are cleaned or refused, and clients clean what they train on."""
