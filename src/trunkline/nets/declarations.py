"""What params.yaml may say about the network. Reading it imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trunkline.declared import Declared

SIZES: dict[str, tuple[int, int]] = {"small": (128, 2), "medium": (256, 2), "large": (512, 3)}


class MLPTrunk(Declared):
    """Fully connected layers with ReLU and dropout, over all prepared columns at once."""

    kind: Literal["mlp"] = "mlp"
    size: Literal["small", "medium", "large"] = Field(
        "medium", description="The one dial: small 128 x 2 layers, medium 256 x 2, large 512 x 3."
    )
    width: int | None = Field(None, ge=1, le=8192, description="Units per layer. Default: as `size` says.")
    depth: int | None = Field(None, ge=1, le=64, description="Number of layers. Default: as `size` says.")
    embedding: int = Field(8, ge=1, le=512, description="Numbers that stand for one categorical value.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of each layer's units silenced per step, 0 to 1.")

    @property
    def widths(self) -> list[int]:
        """Units of each layer, first to last."""
        width, depth = SIZES[self.size]
        return [self.width or width] * (self.depth or depth)


class HardSharing(Declared):
    """Every task reads the same trunk; only the heads are their own (Caruana 1997)."""

    kind: Literal["hard"] = "hard"


Trunk = MLPTrunk
Sharing = HardSharing
