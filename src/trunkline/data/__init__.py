"""Rows on their way to the trunk: read, judged, split, weighed and encoded."""
