"""What the prepared features are: from which input each comes, and which only say that a value is missing."""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """The prepared features, one entry each, in their order."""

    columns: tuple[int, ...]
    """The input that the feature comes from: its place among the numeric inputs, then the timestamps, from 0."""

    flags: tuple[bool, ...]
    """Whether it only says that the input's value is missing."""

    @classmethod
    def of(cls, features: int | Layout) -> Layout:
        """Return the layout itself, or that of so many inputs which are numbers without a flag.

        Example:
            >>> Layout.of(2)
            Layout(columns=(0, 1), flags=(False, False))
        """
        return features if isinstance(features, Layout) else cls(tuple(range(features)), (False,) * features)

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.columns)

    @property
    def numbers(self) -> list[int]:
        """Places of the features that are numbers."""
        return [place for place, flag in enumerate(self.flags) if not flag]

    @property
    def others(self) -> list[int]:
        """Places of the features that are flags."""
        return [place for place, flag in enumerate(self.flags) if flag]

    def flag_of(self, place: int) -> int | None:
        """Return the place of the flag that says whether the feature at `place` is missing; None where none does."""
        flags = [other for other in self.others if self.columns[other] == self.columns[place]]
        return flags[0] if flags else None
