"""What every form of sharing declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from trunkline.declared import Declared
from trunkline.nets.trunks.base import LARGEST_WIDTH, BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class BaseSharing(Declared):
    """How tasks share; a form that adds layers of its own also has `ManyTrunks`' settings."""

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return the layers between the prepared columns and the heads.

        Args:
            inputs: Width of the prepared columns, embeddings included.
            tasks: Heads to serve.
            trunk: The declared trunk.
        """
        raise NotImplementedError


class ManyTrunks(BaseSharing):
    """A form with more to learn than one trunk, whose layers are narrower for that."""

    width: int | None = Field(
        None,
        ge=1,
        le=LARGEST_WIDTH,
        description="Units of each of its layers. Default: so that the whole learns about as many numbers as hard "
        "sharing of the declared trunk, tables of categorical values left out.",
    )
    depth: int | None = Field(None, ge=1, le=64, description="Layers one behind the other. Default: as the trunk's.")

    def layers_of(self, trunk: BaseTrunk) -> BaseTrunk:
        """Return the declared trunk with the width and depth that are set here."""
        own = {"width": self.width, "depth": self.depth}
        return trunk.model_copy(update={name: value for name, value in own.items() if value is not None})
