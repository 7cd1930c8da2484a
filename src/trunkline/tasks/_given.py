"""The torch side of tasks that exist only where another has a value: products of probabilities, and their logits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from trunkline.tasks.base import TaskState
from trunkline.tasks.given import is_joint, through_all_rows


class Joint(nn.Module):
    """Predictions of the heads to those of the tasks: a binary child's is multiplied by the chance that it exists.

    No product is above one of its factors, to the last bit: rounding keeps the order, and no factor is above 1.

    Args:
        states: Of the heads, in their order.
    """

    def __init__(self, states: Sequence[TaskState]) -> None:
        super().__init__()
        self.given = [state.get("given") for state in states]
        self.joined = [place for place, state in enumerate(states) if is_joint(state)]
        self.single = [state["kind"] == "binary" for state in states]

    def forward(self, own: list[Tensor]) -> list[Tensor]:
        """Return one prediction per task.

        Args:
            own: What each head says where its task exists: probability [rows, 1 or classes] or value [rows, 1].
        """
        return [self._times(own, place, part) if place in self.joined else part for place, part in enumerate(own)]

    def _times(self, own: list[Tensor], place: int, share: Tensor) -> Tensor:
        """Return the chance that the task at `place` exists, times `share`."""
        held = self.given[place]
        if held is None:
            return share
        above, chosen = held["place"], held["class"]
        if not self.single[above]:
            factor = own[above][:, chosen : chosen + 1]
        else:
            factor = own[above] if chosen else 1 - own[above]
        return self._times(own, above, factor.clamp(max=1)) * share.clamp(max=1)


class JointLogits(nn.Module):
    """Outputs of the heads in which those that learn through the product give its logit.

    Args:
        states: Of the heads, in their order.
    """

    def __init__(self, states: Sequence[TaskState]) -> None:
        super().__init__()
        self.states = states
        self.starts = [0, *accumulate(state["outputs"] for state in states)]
        self.joined = [place for place, state in enumerate(states) if through_all_rows(state)]

    def forward(self, outputs: Tensor) -> Tensor:
        """Return float32 [(members,) rows, outputs] for outputs of that shape."""
        found = outputs
        for place in self.joined:
            column = self.starts[place]
            logit = self._with_parents(outputs, place, outputs[..., column : column + 1])
            found = torch.cat([found[..., :column], logit, found[..., column + 1 :]], dim=-1)
        return found

    def _with_parents(self, outputs: Tensor, place: int, logit: Tensor) -> Tensor:
        held = self.states[place].get("given")
        if held is None:
            return logit
        above = held["place"]
        return self._with_parents(outputs, above, both(self._logit(outputs, above, held["class"]), logit))

    def _logit(self, outputs: Tensor, place: int, chosen: int) -> Tensor:
        """Return the logit of "the task at `place` has the chosen value", [(members,) rows, 1]."""
        output = outputs[..., self.starts[place] : self.starts[place + 1]]
        if self.states[place]["kind"] == "binary":
            return output if chosen else -output
        others = torch.cat([output[..., :chosen], output[..., chosen + 1 :]], dim=-1)
        return output[..., chosen : chosen + 1] - others.logsumexp(dim=-1, keepdim=True)


def both(first: Tensor, second: Tensor) -> Tensor:
    """Return the logit of the product of two probabilities, from their logits; exact where either is 0 or 1.

    1 / (p q) - 1 = 1 / e^a + 1 / e^b + 1 / e^(a + b) for p, q with logits a, b.
    """
    return -torch.stack([-first, -second, -(first + second)]).logsumexp(dim=0)
