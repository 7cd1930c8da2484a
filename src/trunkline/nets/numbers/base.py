"""What every way to let numbers in declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from trunkline.columns.layout import Layout
from trunkline.declared import Declared

if TYPE_CHECKING:
    from trunkline.nets.numbers._features import Features


class BaseNumbers(Declared):
    """How numbers enter the network."""

    def build(self, layout: Layout) -> Features:
        """Return the module from prepared features to what stands for them.

        Args:
            layout: What the prepared features are.
        """
        raise NotImplementedError


class EmbeddedNumbers(BaseNumbers):
    """A number becomes several."""

    width: int = Field(8, ge=1, le=512, description="Numbers that stand for one number.")

    def build(self, layout: Layout) -> Features:
        """Return the module; as it is where there is no number."""
        from trunkline.nets.numbers._features import Features

        return self.embed(layout) if layout.numbers else Features(layout)

    def embed(self, layout: Layout) -> Features:
        """Return the module for a layout with at least one number."""
        raise NotImplementedError
