"""Label-aware batches: every step sees labels of every task, and weights keep the objective as declared.

in      rows of which some tasks' labels are rare
out     batches with at least `min_labelled` rows of each task (and `min_per_class` of each class of a task of classes),
        the rest rows as they come, and the weight of each row in each task's loss
source  weights: the balance heuristic of multiple importance sampling, Veach and Guibas 1995,
        doi:10.1145/218380.218498; as a mixture of fixed shares, Owen and Zhou 2000, doi:10.1080/01621459.2000.10473909

A batch has a fixed number of slots per pool of rows: all rows, the rows labelled for one task, those of one class. Only
as many slots are set apart for a pool as rows drawn from all others could leave open. Of the slots of pool g, b_gk hold
a row with a label of task k; each of them is any of the N_gk rows of the pool that have one, all as probable. With
w_ik = c_k / n_k / sum over the pools g that hold row i of b_gk / N_gk, where c_k rows of the batch and n_k of all have
the label, the mean of w_ik loss_ik over the c_k rows has, whatever the b_gk came out as, the expectation

    1 / n_k * sum over i labelled for k of loss_ik,

the declared objective: each labelled row i is met sum_g b_gk / N_gk times in expectation, and its weight divides that
out. A task whose rows no other task's slots favour gets weights of exactly 1. The weights' mean is 1 in expectation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from trunkline.errors import ParamsError
from trunkline.training.sampling.base import BaseSampling

if TYPE_CHECKING:
    from trunkline.training.sampling._sampler import Feed, Sampler

RISK = 1e-9  # that a batch falls short of a quota which rows as they come were left to fill


class Quota(NamedTuple):
    """So many rows of every batch out of a pool."""

    task: str
    label: int | None
    """Place of a class of the task; None = any label."""

    rows: int
    pool: int
    """Rows there are."""


class LabelAware(BaseSampling):
    """Put labels of every task into every step. Suits tasks that are labelled in few of the common rows.

    All rows are found at random in data/encoded, of which an index is held in memory, 8 bytes per row: with data larger
    than memory on a slow disk `shuffle` reads faster.
    """

    kind: Literal["label_aware"]
    min_labelled: int = Field(
        32, ge=1, description="Fewest rows with a label of each task in a step, or all it has if they are fewer."
    )
    min_per_class: int = Field(
        0,
        ge=0,
        description="Fewest rows of each class of each binary, multiclass or ordinal task in a step, or all there are "
        "if they are fewer; 0 = as they come.",
    )

    def build(self, feed: Feed) -> Sampler:
        """Return what yields the batches of each epoch."""
        from trunkline.training.sampling._label_aware import LabelAwareBatches

        return LabelAwareBatches(self.min_labelled, self.min_per_class, feed)

    @property
    def least_batch(self) -> int:
        """Room for the quotas of eight tasks in half a step; more tasks ask for a declared batch."""
        return 16 * max(self.min_labelled, 2 * self.min_per_class)

    def problem(self, batch: int) -> str | None:
        """Return which quota is more than a step."""
        for setting, wanted in (("min_labelled", self.min_labelled), ("min_per_class", 2 * self.min_per_class)):
            if wanted > batch:
                found = getattr(self, setting)
                return f"{setting}: found {found}, but a step has {batch} rows; lower it or raise training.batch"
        return None

    def shortfall(self, rows: int, labelled: Mapping[str, int], batch: int) -> str | None:
        """Return what `slots` refuses of the tasks' quotas; those of classes come on top."""
        quotas = [Quota(name, None, min(self.min_labelled, count), count) for name, count in labelled.items() if count]
        try:
            slots(quotas, rows, min(batch, rows))
        except ParamsError as fault:
            return str(fault).removeprefix("params.yaml: ")
        return None


def slots(quotas: Sequence[Quota], rows: int, batch: int) -> list[int]:
    """Return how many slots of a batch are set apart for each quota.

    Where rows as they come fill a quota in all but one batch of a billion, none is.

    Args:
        quotas: What every batch must hold.
        rows: All training rows.
        batch: Rows of a step.

    Raises:
        ParamsError: They would take more than half of the batch.

    Example:
        >>> slots([Quota("often", None, 32, 9000), Quota("rare", None, 32, 50)], rows=10_000, batch=1024)
        [0, 32]
    """
    import numpy as np
    from scipy.stats import hypergeom

    # At least so many slots are left to rows as they come, whatever the answer.
    common = max(batch // 2, batch - sum(quota.rows for quota in quotas))
    apart = []
    for quota in quotas:
        fewer = hypergeom.cdf(np.arange(quota.rows), rows, quota.pool, common)
        apart.append(quota.rows - int((fewer <= RISK).sum()))
    if sum(apart) > batch // 2:
        raise ParamsError(
            f"params.yaml: sampling.min_labelled, min_per_class: their rows take {sum(apart)} of the {batch} of a "
            f"step, expected at most half; lower them or raise training.batch"
        )
    return apart
