"""What params.yaml may say about the network. Reading it imports no torch."""

from __future__ import annotations

from trunkline.nets.sharing import HardSharing, Sharing, read_sharing
from trunkline.nets.trunks import MLPTrunk, Trunk, read_trunk

__all__ = ["HardSharing", "MLPTrunk", "Sharing", "Trunk", "read_sharing", "read_trunk"]
