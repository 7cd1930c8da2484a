"""Scores, the composite, and what sharing did to each task."""
