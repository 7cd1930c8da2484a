"""Fairness in training: a price on the gap between groups, raised until the gap is as small as declared.

in      a binary task's logits, its labels and the rows' groups, of one batch
out     one more term of the loss: the multiplier times the batch's gap between the two groups furthest apart
source  Cotter et al. 2019, "Optimization with Non-Differentiable Constraints with Applications to Fairness, Recall,
        Churn, and Other Goals", arXiv:1809.04198: the multiplier follows the gap that counts, of rows that reach the
        threshold; the gradient that of a smooth stand-in.
Differs: the gap that counts is a running one over some ten batches, so that groups with few rows in a batch do not
        make noise into a price.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.declared import Declared
from trunkline.tasks import TaskState

if TYPE_CHECKING:
    from trunkline.training._fairness import GroupPenalty


class FairnessPenalty(Declared):
    """Train a binary task so that the groups of a sensitive column are treated alike.

    demographic_parity: rows reach the threshold as often in every group. equal_opportunity: those that are positive do.
    """

    kind: Literal["demographic_parity", "equal_opportunity"]
    task: str = Field(description="The binary task that is held to it.")
    column: str = Field(description="Column whose groups are compared; it must stand in data.sensitive.")
    gap: float = Field(
        0.05,
        ge=0.01,
        lt=1,
        description="Largest difference between two groups' selection rates (true positive rates) that costs nothing, "
        "on the training rows; half of what a gate allows leaves room for chance. Much below 0.05, few rows per batch "
        "look like a gap.",
    )
    rate: float = Field(
        0.03, gt=0, le=1, description="Rise of the price of a gap per step, for each unit above the gap that is free."
    )

    def build(self, members: int, groups: int, state: TaskState) -> GroupPenalty:
        """Return the working part.

        Args:
            members: Seeds that are trained together.
            groups: Groups of the column, with that of missing values.
            state: What was learned from the task's training labels; its threshold, else prevalence, divides the rows.
        """
        from trunkline.training._fairness import GroupPenalty

        threshold = state["threshold"] or state["prevalence"]
        cut = math.log(threshold / (1 - threshold))
        return GroupPenalty(members, groups, cut, self.gap, self.rate, self.kind == "equal_opportunity")
