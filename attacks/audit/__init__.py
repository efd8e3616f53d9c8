"""Attacks for audits: they tell canaries that were trained on from others, as well as a promise of privacy allows."""
