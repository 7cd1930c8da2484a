"""A person's own table to a first params.yaml: what its columns hold, and which settings follow from that."""
