"""Defenses with a guarantee of differential privacy, whose epsilon the engine's ledger computes."""
