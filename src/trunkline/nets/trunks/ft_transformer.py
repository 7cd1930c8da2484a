"""FT-Transformer: a token per input, and one per task that gathers what its head reads.

in      prepared columns                                [rows, inputs]
out     each task's token after the last block          [rows, tasks, width]
source  Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data", arXiv:2106.11959, section 3.3; with
        a token per task in the place of [CLS] and a mask between the tasks' tokens, as in Sinodinos et al. 2025,
        "MultiTab: A Scalable Foundation for Multitask Learning on Tabular Data", arXiv:2511.09970
Differs: an input's flag, cycles and age are one token, not several. Layers inside a block are two with ReLU, not ReGLU;
        dropout is on what each part of a block adds. Inputs do not read the tasks' tokens either, so what a task asks
        for changes nothing for another but through the weights they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.nets.trunks.base import LARGEST_WIDTH, BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class FTTransformerTrunk(BaseTrunk):
    """Attention between inputs, and of each task's token to them. Suits effects of several inputs together; slow."""

    kind: Literal["ft_transformer"]
    size: Literal["small", "medium", "large"] = Field(
        "medium", description="The one dial: small 32 x 1 blocks, medium 64 x 2, large 128 x 3."
    )
    width: int | None = Field(None, ge=1, le=LARGEST_WIDTH, description="Numbers per token. Default: as `size` says.")
    depth: int | None = Field(None, ge=1, le=64, description="Number of blocks. Default: as `size` says.")
    attention_heads: int = Field(4, ge=1, le=64, description="Ways in which a token looks at the others, side by side.")
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"small": (32, 1), "medium": (64, 2), "large": (128, 3)}
    forms: ClassVar[tuple[str, ...] | None] = ("hard",)

    def form(self, columns: Sequence[int], tasks: int) -> Form | None:
        """Return tokens and blocks; arguments as those of `BaseTrunk.form`."""
        from trunkline.nets.trunks._ft_transformer import FTTransformer

        return FTTransformer(columns, tasks, self.widths, self.attention_heads, self.dropout)
