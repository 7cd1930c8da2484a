"""Which recipe predicts the demo's flights best, beside models for one task alone and gradient-boosted trees."""
