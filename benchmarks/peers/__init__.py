"""Experts of other libraries: the same sizes trained on the same rows, ours and theirs in turns."""
