"""The network: embeddings, one trunk, a form of sharing, a head per task."""
