"""Fit one arm: the shared model, or one task alone, by the same recipe."""
