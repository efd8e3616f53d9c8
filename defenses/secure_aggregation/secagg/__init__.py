"""Secure aggregation by masks: what Bonawitz et al. and Bell et al. have in common."""
