"""How long until something happens, where not every row was watched until it did.

in      a duration per row, 0 or more, and whether the event came then (else the row was only watched so long); a row
        that lacks one of the two has no label
out     <task>.survival [rows, bins], the probability that the event has not come by the end of each bin, and
        <task>.value [rows, 1], the restricted mean: the expected time until the event or the last bin's end, whichever
        comes first, in the duration's unit
loss    logistic hazards: cross-entropy of getting through each bin, over the rows that reached it; a row that was lost
        from sight in a bin's second half counts as having got through it. Divided by that of the training rows' hazards
source  Gensheimer and Narasimhan 2019, arXiv:1805.00917. Bins end at quantiles of the training rows' event times.

A duration and its event travel as one number, negative where the row was only watched so long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from trunkline.errors import DataError
from trunkline.tasks.base import Array, LabelColumn, Measure, Metric, Part, Summary, TargetTask, TaskState, float_labels
from trunkline.tasks.concordance import Concordance
from trunkline.tasks.metrics import Resampled, mean

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from trunkline.tasks._head import Head


class SurvivalTask(TargetTask):
    """A target that is the time until an event, of which some rows only tell that it took longer."""

    kind: Literal["survival"]
    event: str = Field(description="Column that says whether the event came at the end of the duration: true/false.")
    bins: int = Field(
        10,
        ge=2,
        le=200,
        description="Stretches of time, with about as many training events each; fewer where they tie.",
    )
    cuts: list[float] | None = Field(
        None, min_length=2, max_length=200, description="Ends of the stretches instead, ascending, above 0."
    )
    unit: str | None = Field(None, description="The duration's unit, as reports and the model card show it.")

    metrics: ClassVar[dict[str, Metric]] = {
        "concordance": Metric(
            True, 1.0, "share of pairs, where it is known who came first, that the predicted times put in order"
        ),
        "survival_log_loss": Metric(
            False, 0.0, "mean of minus the logarithm of the probability given to the stretch of the event, or beyond"
        ),
    }
    skill_metric: ClassVar[str] = "survival_log_loss"
    output_names: ClassVar[tuple[str, ...]] = ("survival", "value")
    promised: ClassVar[str] = "a time the chance to get through each bin that was reached"
    promises: ClassVar[Literal["share", "number"]] = "share"
    charted: ClassVar[tuple[str, str | None, str | None]] = (
        "predicted times; bars: rows with the event, dashes: without",
        "event",
        "censored",
    )

    @field_validator("cuts")
    @classmethod
    def _ascending(cls, cuts: list[float] | None) -> list[float] | None:
        if cuts is not None and any(low >= high for low, high in pairwise([0.0, *cuts])):
            raise ValueError(f"{cuts} must ascend and lie above 0, such as [30, 90, 365]")
        return cuts

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """A column of durations, and one of whether the event came."""
        return {
            self.target: LabelColumn("target", "number", low=0.0),
            self.event: LabelColumn("event", "truth", needed=("true",)),
        }

    def read(self, table: pa.Table) -> Array:
        """Return durations, negative where the row was only watched so long, float64 [rows], NaN = no label."""
        return _signed(float_labels(table[self.target]), float_labels(table[self.event]))

    def fit(self, name: str, labels: Array) -> TaskState:
        """Learn bins, hazards and the normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows], as `read` returned them; training rows only.

        Raises:
            DataError: Fewer than two different times of events.
        """
        known = labels[~np.isnan(labels)].astype(np.float32)  # as they are stored: a cut is a label's very value
        times = known[~np.signbit(known)]
        if len(np.unique(times[times > 0])) < 2:
            raise DataError(
                f"task '{name}': columns '{self.target}' and '{self.event}' have {len(times)} events among "
                f"{len(known)} labelled training rows; a survival task needs them at two different times or more.\n"
                f"  Check tasks.{name}.target and tasks.{name}.event, or train on an earlier period"
            )
        cuts = np.array(self.cuts, dtype=np.float32) if self.cuts else _cuts(times, self.bins)
        gone, stopped = steps(known, cuts)
        place = np.arange(len(cuts))
        events = ((place == gone[:, None]) & stopped[:, None]).sum(axis=0)
        through = (place < gone[:, None]).sum(axis=0)
        # Half a row on either side: a bin that all, or none, get through would have a logit without end.
        on = (through + 0.5) / (through + events + 1)
        return {
            "kind": "survival",
            "labelled": len(known),
            "events": len(times),
            "cuts": cuts.tolist(),
            "spread": float(np.abs(known).std()),
            "survival": on.cumprod().tolist(),
            "bias": np.log(on / (1 - on)).tolist(),
            "constant_loss": float(-(through @ np.log(on) + events @ np.log(1 - on)) / len(known)),
            "outputs": len(cuts),
            "unit": self.unit,
        }

    @staticmethod
    def encode(values: Array, state: TaskState) -> Array:
        """Return float32 durations, negative where the row was only watched so long, NaN for no label."""
        return values.astype(np.float32)

    def summary(self, *labels: pl.Series) -> Summary:
        """Return the rows that have both, and the share of events among them."""
        duration, event = labels
        known = event.filter(duration.is_not_null()).drop_nulls()
        return Summary(len(known), {}, {"events": float(known.sum()) / len(known)} if len(known) else None)

    @classmethod
    def label_counts(cls, state: TaskState, labels: Array) -> dict[str, Any]:
        """Return the "quantiles" of durations, whatever they ended with."""
        return super().label_counts(state, np.abs(labels))

    @staticmethod
    def head() -> Head:
        """Return the hazards' loss and prediction."""
        from trunkline.tasks._survival import SurvivalHead

        return SurvivalHead()

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the survival by bin, and the restricted mean time."""
        words = [str(np.float32(cut)).removesuffix(".0") for cut in state["cuts"]]
        facts = {"unit": state["unit"], "spread": state["spread"]}
        return [Part("survival", len(words), {"classes": words}), Part("value", 1, facts)]

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        if output["part"] == "survival":
            return f"calibrated probability that {output['task']} has not come by {', '.join(output['classes'])}"
        unit = output["unit"] or "the unit of its duration"
        return f"expected time until {output['task']} or the end of the last bin, whichever comes first, in {unit}"

    def scores(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: Durations as `encode` gives them [rows].
            prediction: Survival by bin [rows, bins].
            state: What was learned from the training labels.

        Returns:
            Every metric of the kind; concordance is NaN without a pair of which it is known who came first.
        """
        pairs, losses = self._of_rows(truth, prediction, state)
        return {"concordance": pairs(np.ones(len(truth), dtype=np.uint8)), "survival_log_loss": float(losses.mean())}

    def resampled(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        pairs, losses = self._of_rows(truth, prediction, state)
        return {"concordance": pairs, "survival_log_loss": mean(losses)}

    @staticmethod
    def _of_rows(truth: Array, prediction: Array, state: TaskState) -> tuple[Concordance, Array]:
        survival, cuts = prediction.astype(np.float64), np.array(state["cuts"])
        gone, stopped = steps(truth, cuts)
        from_start = np.concatenate([np.ones((len(survival), 1)), survival, np.zeros((len(survival), 1))], axis=1)
        rows = np.arange(len(survival))
        given = from_start[rows, gone] - np.where(stopped, from_start[rows, gone + 1], 0.0)
        constant, by_bin = mean_time(cuts)
        pairs = Concordance(np.abs(truth), ~np.signbit(truth), constant + survival @ by_bin)
        return pairs, -np.log(np.clip(given, 1e-12, 1))

    def constant(self, state: TaskState) -> Array:
        """Return the survival of the training rows [1, bins]."""
        return np.array([state["survival"]])

    @classmethod
    def promise(cls, state: TaskState, prediction: Array, labels: Array) -> tuple[Array, Array]:
        """Return the chance to get through each bin, and whether a row that reached it did, [rows x bins]."""
        before = np.concatenate([np.ones((len(prediction), 1)), prediction[:, :-1]], axis=1, dtype=np.float64)
        gone, stopped = steps(labels, np.array(state["cuts"]))
        place = np.arange(prediction.shape[1])
        stop = (place == gone[:, None]) & stopped[:, None]
        came = np.where(place < gone[:, None], 1.0, np.where(stop, 0.0, np.nan))
        return (prediction / np.maximum(before, 1e-12)).ravel(), came.ravel()

    @classmethod
    def spread(cls, state: TaskState, prediction: Array, labels: Array) -> dict[str, Array]:
        """Return predicted times, apart for rows with and without the event."""
        constant, by_bin = mean_time(np.array(state["cuts"]))
        value, event = constant + prediction @ by_bin, ~np.signbit(labels)
        return {"event": value[event], "censored": value[~event]}

    def group_measures(self, state: TaskState, prediction: Array, labels: Array) -> Iterator[Measure]:
        """Yield how far the chance to get through a bin lies from how often it was got through."""
        known = ~np.isnan(labels)
        predicted, came = self.promise(state, prediction, np.where(known, labels, -0.0))
        gap = np.nan_to_num(predicted - came).reshape(len(labels), -1)
        reached = ~np.isnan(came).reshape(len(labels), -1)
        yield Measure("calibration", gap.sum(axis=1) * known, reached.sum(axis=1) * known, False)


def _signed(duration: Array, event: Array) -> Array:
    """Return durations, negative (also of 0) where there was no event; NaN where one of the two is not known."""
    signed = np.copysign(duration, np.where(event > 0, 1.0, -1.0))
    return np.where(np.isnan(event), np.nan, signed)


def _cuts(times: Array, bins: int) -> Array:
    found = np.unique(np.quantile(times, np.arange(1, bins + 1) / bins, method="inverted_cdf"))
    return np.asarray(found[found > 0])


def steps(labels: Array, cuts: Array) -> tuple[Array, Array]:
    """Return how many bins each row was seen to get through, int64 [rows], and whether the event came in the next.

    Args:
        labels: Durations, negative where the row was only watched so long [rows]; none of them NaN.
        cuts: Ends of the bins, which belong to them [bins].

    Example:
        >>> gone, stopped = steps(np.array([10.0, 10.5, -14.0, -16.0, 99.0]), np.array([10.0, 20.0]))
        >>> gone.tolist(), stopped.tolist()
        ([0, 1, 1, 2, 2], [True, True, False, False, False])
    """
    time, event = np.abs(labels), ~np.signbit(labels)
    middles = (np.concatenate([[0.0], cuts[:-1]]) + cuts) / 2
    gone = np.where(event, np.searchsorted(cuts, time, side="left"), np.searchsorted(middles, time, side="right"))
    return gone, event & (gone < len(cuts))


def mean_time(cuts: Array) -> tuple[float, Array]:
    """Return what makes the restricted mean time of a survival by bin: a constant, and a factor per bin [bins].

    Survival falls evenly within a bin, so that its time is the mean of survival at both ends times its width.
    """
    widths = np.diff(np.concatenate([[0.0], cuts]))
    return float(widths[0] / 2), (widths + np.append(widths[1:], 0.0)) / 2
