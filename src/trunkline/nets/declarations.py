"""What params.yaml may say about the network. Reading it imports no torch."""

from __future__ import annotations

from trunkline.nets.sharing import HardSharing, Sharing, read_sharing
from trunkline.nets.trunks import MLPTrunk, Trunk, read_trunk

BEST_TRUNK = {"kind": "tabm", "copies": 4, "numbers": {"kind": "piecewise"}}
"""Of `quality: high`: what `make bench-quality` shows best."""

__all__ = ["BEST_TRUNK", "HardSharing", "MLPTrunk", "Sharing", "Trunk", "read_sharing", "read_trunk"]
