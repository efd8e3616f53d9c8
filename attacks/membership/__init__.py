"""Adversaries that tell records which were trained on from records of the same kind which were not."""
