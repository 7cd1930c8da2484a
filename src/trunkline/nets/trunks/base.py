"""What every kind of trunk declares: the dial `size`, and what else may be set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.declared import Declared
from trunkline.nets.numbers import Numbers, PlainNumbers

if TYPE_CHECKING:
    from trunkline.nets.layers import Layered, Layers
    from trunkline.nets.sharing._form import Form

SIZES: dict[str, tuple[int, int]] = {"small": (128, 2), "medium": (256, 2), "large": (512, 3)}
LARGEST_WIDTH = 8192


class BaseTrunk(Declared):
    """The measures of a trunk."""

    size: Literal["small", "medium", "large"] = Field(
        "medium", description="The one dial: small 128 x 2 layers, medium 256 x 2, large 512 x 3."
    )
    width: int | None = Field(None, ge=1, le=LARGEST_WIDTH, description="Units per layer. Default: as `size` says.")
    depth: int | None = Field(None, ge=1, le=64, description="Number of layers. Default: as `size` says.")
    embedding: int = Field(8, ge=1, le=512, description="Numbers that stand for one categorical value.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of each layer's units silenced per step, 0 to 1.")
    numbers: Numbers = Field(PlainNumbers(), description="How numbers enter: as they are, or each as several.")

    sizes: ClassVar[dict[str, tuple[int, int]]] = SIZES
    """What `size` says: width and depth."""

    forms: ClassVar[tuple[str, ...] | None] = None
    """The forms of sharing that can be built over it; None = all."""

    @property
    def widths(self) -> list[int]:
        """Units of each layer, first to last."""
        width, depth = self.sizes[self.size]
        return [self.width or width] * (self.depth or depth)

    def form(self, columns: Sequence[int], tasks: int) -> Form | None:
        """Return all between the prepared columns and the heads; None: the declared form of sharing builds it.

        Args:
            columns: The input that each of the prepared numbers comes from; those of one input are its token.
            tasks: Heads to serve.
        """
        return None

    def build(self, inputs: int, layers: Layers) -> Layered:
        """Return the trunk, or several side by side.

        Args:
            inputs: Width of what comes in.
            layers: Makes the layers, for one trunk or several.
        """
        raise NotImplementedError
