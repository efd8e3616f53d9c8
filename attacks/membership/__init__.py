"""Attacks on membership: they tell records that were trained on from records of the same kind that were not."""
