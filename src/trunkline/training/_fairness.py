"""The torch side of the fairness penalty: the price of a gap between groups, and the gap of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KEEP = 0.9  # of earlier batches in the running rates: they look back some ten batches
FEWEST_ROWS = 50  # rows in the running rates below which a group is not compared
WIDTH = 0.3  # of the smooth step, in standard deviations of the batch's logits
LEAST_SPREAD = 0.1  # logits; before anything is learned they hardly differ
LARGEST = 10.0  # multiplier; where no model has so small a gap, it would rise for ever


class GroupPenalty(nn.Module):
    """The price of the gap between groups, for each of several seeds by itself.

    Call it once per step and member, after the forward pass and in training mode, and add what it returns to the one
    loss that is differentiated, behind the balance of the tasks: a balance that compares losses must not see it.

        penalty = declared.build(members, len(encoded.groups[column]), states[task])      # once, beside the optimiser
        loss = balance(losses) + penalty(outputs[..., column], groups, targets[..., task])             # the stack
        loss = balance(losses) + penalty(outputs[..., column], groups, targets[..., task], member)     # one of it

    Each call first takes the batch into the running rates and moves the multiplier, then returns the price with it.
    In evaluation mode nothing moves. All that it remembers is in its `state_dict`, so that a training that resumes
    with it goes on exactly; nothing is drawn by chance.

    Args:
        members: Seeds that are trained together.
        groups: Groups; a row's is a number below it.
        cut: Logit from which on a row is selected.
        gap: Difference of two groups' rates that costs nothing.
        rate: Rise of the multiplier per step and unit of gap above that.
        positives: Whether only rows with label 1 count.
    """

    seen: Tensor
    selected: Tensor
    multiplier: Tensor
    names: Tensor

    def __init__(self, members: int, groups: int, cut: float, gap: float, rate: float, positives: bool) -> None:
        super().__init__()
        self.cut, self.gap, self.rate, self.positives = cut, gap, rate, positives
        self.register_buffer("seen", torch.zeros(members, groups))
        self.register_buffer("selected", torch.zeros(members, groups))
        self.register_buffer("multiplier", torch.zeros(members))
        self.register_buffer("names", torch.arange(groups), persistent=False)

    def forward(self, logits: Tensor, groups: Tensor, labels: Tensor, members: int | slice = slice(None)) -> Tensor:
        """Return the price of the batch's gap [(members,)]; 0 where one of the two groups has no row in the batch.

        Args:
            logits: float32 [(members,) rows].
            groups: int [(members,) rows].
            labels: float32 [(members,) rows], 1, 0 or NaN for no label.
            members: Whose rows these are: all, or the place of one.
        """
        over = logits - self.cut
        belongs = (groups.unsqueeze(-1) == self.names).to(over.dtype)
        if self.positives:
            belongs = belongs * (labels == 1).unsqueeze(-1)
        counts = belongs.sum(dim=-2)
        if self.training:
            self._watch(_sums((over.detach() >= 0).to(over.dtype), belongs), counts, members)
        width = WIDTH * over.detach().std(dim=-1, keepdim=True).clamp(min=LEAST_SPREAD)
        means = _sums(torch.sigmoid(over / width), belongs) / counts.clamp(min=1)
        highest, lowest = self._extremes(members)
        high, low = (_share(extreme & (counts > 0)) for extreme in (highest, lowest))
        both = (high.sum(dim=-1) > 0) & (low.sum(dim=-1) > 0)
        return self.multiplier[members].clone() * both * ((high - low) * means).sum(dim=-1)

    def _watch(self, selected: Tensor, counts: Tensor, members: int | slice) -> None:
        """Take a batch into the running rates, and move the multiplier towards what their gap asks for."""
        self.seen[members] = KEEP * self.seen[members] + counts
        self.selected[members] = KEEP * self.selected[members] + selected
        rates, compared = self._rates(members)
        gap = rates.masked_fill(~compared, 0).amax(dim=-1) - rates.masked_fill(~compared, 1).amin(dim=-1)
        excess = torch.where(compared.sum(dim=-1) > 1, gap - self.gap, 0.0)
        self.multiplier[members] = (self.multiplier[members] + self.rate * excess).clamp(0, LARGEST)

    def _rates(self, members: int | slice) -> tuple[Tensor, Tensor]:
        """Return the running selection rate of every group, and whether it has the rows to be compared."""
        seen = self.seen[members]
        return self.selected[members] / seen.clamp(min=1), seen >= FEWEST_ROWS

    def _extremes(self, members: int | slice) -> tuple[Tensor, Tensor]:
        """Return which groups have the highest running rate, and which the lowest."""
        rates, compared = self._rates(members)
        highest = rates.masked_fill(~compared, -1).amax(dim=-1, keepdim=True)
        lowest = rates.masked_fill(~compared, 2).amin(dim=-1, keepdim=True)
        return compared & (rates == highest), compared & (rates == lowest)


def _sums(values: Tensor, belongs: Tensor) -> Tensor:
    """Return the sum of `values` [(members,) rows] over the rows of each group, [(members,) groups]."""
    sums: Tensor = (values.unsqueeze(-2) @ belongs).squeeze(-2)
    return sums


def _share(chosen: Tensor) -> Tensor:
    """Return 1 spread evenly over the chosen groups; 0 everywhere where none is."""
    return chosen / chosen.sum(dim=-1, keepdim=True).clamp(min=1)
