"""What of params.yaml the registry reads."""

from __future__ import annotations

from typing import Protocol

from trunkline.data.declarations import Split
from trunkline.evaluation.declarations import Evaluation
from trunkline.registry.declarations import Promotion
from trunkline.tasks import Task


class Named(Protocol):
    """Something with a name."""

    @property
    def name(self) -> str:
        """The name."""


class Wanted(Protocol):
    """The sections that it needs; a `Project` has them all."""

    @property
    def export(self) -> Named:
        """Its name is the registry's."""

    @property
    def tasks(self) -> dict[str, Task]:
        """The declared tasks."""

    @property
    def split(self) -> Split:
        """What rows stand or fall together."""

    @property
    def evaluation(self) -> Evaluation:
        """Draws and margins."""

    @property
    def promotion(self) -> Promotion:
        """Who may take over."""

    @property
    def seed(self) -> int:
        """Of the draws."""

    @property
    def threads(self) -> int:
        """CPU threads of the models."""
