"""What every task kind has in common, and what a kind may say of itself.

The pipeline asks a kind, and never which kind it is: what its label columns hold (ingest, validation), how labels
become arrays and what is learned of them (encode, rebalance), what the model gives and what each part means (export,
card), what was promised and what came (report). Losses, predictions and calibration need torch: `head` brings them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from trunkline.declared import Declared, did_you_mean

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from trunkline.tasks._head import Head
    from trunkline.tasks.metrics import Resampled

Array = np.ndarray[Any, Any]

TaskState = dict[str, Any]
"""What a kind learned from the training labels: plain JSON, with the kind's name under "kind"."""

QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1.0}


class Metric(NamedTuple):
    """A score of a task kind: which way is better, what a perfect prediction gets, and what it is in words."""

    higher_is_better: bool
    perfect: float
    says: str


class LabelColumn(NamedTuple):
    """A column that holds labels, and what a row may hold there.

    Attributes:
        setting: Where params.yaml names the column, below the task.
        type: true/false, a word, or a number.
        needed: Classes of which validation demands rows; None: every one that is declared or found.
        words: The only words a row may hold; None = any.
        allowed: The setting that declares `words`, `low` or `high`, below the task; "" = the task itself.
        low: Smallest number a row may hold.
        high: Largest number a row may hold.
        whole: Whether the numbers must be whole.
    """

    setting: str
    type: Literal["truth", "words", "number"]
    needed: Sequence[str] | None = None
    words: Sequence[str] | None = None
    allowed: str = ""
    low: float | None = None
    high: float | None = None
    whole: bool = False


class Part(NamedTuple):
    """An output of the exported model: <task>.<name>, float32 [rows, width].

    Attributes:
        name: The part's name.
        width: Its columns.
        facts: What the card says of it: "classes", one word per column; "unit" and "spread" of what is in the target's
            unit, its standard deviation over the training rows.
    """

    name: str
    width: int
    facts: Mapping[str, Any]


class LabelRule(NamedTuple):
    """How <task>.label follows from <task>.probability: the likeliest word, the median one, or "true" from on."""

    words: Sequence[str]
    by: Literal["likeliest", "median", "threshold"]
    threshold: float | None = None


class Measure(NamedTuple):
    """What a group of rows gets: the sum of `top` over its rows by that of `bottom`, float64 [rows] each.

    Attributes:
        name: As the report calls it.
        top: What is summed.
        bottom: 1 where a row counts, else 0.
        rate: Whether `top` is 0 or 1, so that the value is a share.
    """

    name: str
    top: Array
    bottom: Array
    rate: bool


class Summary(NamedTuple):
    """The training labels of a task: rows by class (none of a number), and the prior; None without labels."""

    rows: int
    classes: dict[str, int]
    prior: Any


class BaseTask(Declared):
    """Settings that every task has."""

    weight: float = Field(
        1.0, gt=0, description="Say of this task in the loss and in the composite; 2.0 counts double."
    )
    primary: str | None = Field(
        None, description="The metric that decides whether sharing helped. Default: the first of the kind's metrics."
    )
    given: dict[str, bool | str] | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="{<other task>: <value>}: this task exists only where the other, a binary or multiclass one, has "
        "that value. Its own label is empty elsewhere (or false: of binary tasks).",
    )
    conditional: Literal["masked", "entire_space"] = Field(
        "masked",
        description="With given. masked: the head learns on the rows where the other task has the value; entire_space "
        "(binary tasks): on all rows, through the product of both probabilities.",
    )
    tap_layer: int | None = Field(
        None,
        ge=1,
        description="Layer of the shared trunk that the head reads, from 1; with sharing.kind: hard. Suits a task that "
        "others build upon. Default: the last. The model alone always reads its last.",
    )
    role: Literal["main", "auxiliary"] = Field(
        "main",
        description="auxiliary: trained along for the sake of the shared layers, neither exported nor judged.",
    )
    anneal: Literal["none", "linear", "cosine"] = Field(
        "linear",
        description="How the say of an auxiliary task falls to 0 at the end of the training. With training.keep: best "
        "or early_stop the main tasks' scores choose the epoch, which may lie before that.",
    )
    anneal_from: float = Field(
        0.8, ge=0, lt=1, description="Share of the steps after which it begins to fall; 0 = from the first step on."
    )
    metrics: ClassVar[dict[str, Metric]]
    skill_metric: ClassVar[str]
    skill_power: ClassVar[int] = 1
    output_names: ClassVar[tuple[str, ...]]
    """Every part the model may give for such a task."""
    regions: ClassVar[tuple[str, ...]] = ()
    """Parts that `calibration.coverage` adds: the ends of an interval, a set of classes, or nothing."""
    promised: ClassVar[str]
    """What the calibration chart shows, in words that follow "of"."""
    promises: ClassVar[Literal["share", "number"]] = "number"
    """Whether what came is true or false, or a number."""
    spreads: ClassVar[Literal["share", "number"]] = "number"
    """Whether the histogram is one of probabilities, or of numbers."""
    any_column: ClassVar[bool] = False
    """Whether a row has a label as soon as one of the label columns is filled."""
    charted: ClassVar[tuple[str, str | None, str | None]]
    """Of the histogram: what it shows, which series is filled (None: all of them together) and which is outlined."""

    @model_validator(mode="after")
    def _known_primary(self) -> BaseTask:
        if self.primary is not None and self.primary not in self.metrics:
            hint = did_you_mean(self.primary, self.metrics)
            raise ValueError(f"primary '{self.primary}' is unknown; choose one of {', '.join(self.metrics)}{hint}")
        return self

    @property
    def primary_metric(self) -> str:
        """The metric that decides the verdict: as declared, else the first of the kind's metrics."""
        return self.primary or next(iter(self.metrics))

    def skill(self, score: Array, constant: Array) -> Array:
        """Return which share of the constant prediction's loss a prediction removes: 0 = none, 1 = perfect.

        The loss is the kind's own: log loss of classes, squared error of numbers.

        Args:
            score: `skill_metric` of the prediction, any shape.
            constant: `skill_metric` of the constant prediction on the same rows, a shape that fits.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(1 - (score / constant) ** self.skill_power)

    # --- labels -------------------------------------------------------------------------------------------

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """The columns that hold the task's labels, by name."""
        raise NotImplementedError

    def read(self, table: pa.Table) -> Array:
        """Return the labels as `fit` and `encode` read them: float64 [rows] with NaN for none.

        Args:
            table: Rows with the task's label columns.
        """
        (column,) = self.label_columns
        return float_labels(table[column])

    def fit(self, name: str, labels: Array) -> TaskState:
        """Learn from the training labels; see the kinds.

        Raises:
            DataError: They cannot teach this kind of task.
        """
        raise NotImplementedError

    @staticmethod
    def encode(values: Array, state: TaskState) -> Array:
        """Return float32 labels [rows], NaN for none, from what `read` returned."""
        raise NotImplementedError

    def summary(self, *labels: pl.Series) -> Summary:
        """Count training labels.

        Args:
            labels: The label columns in their order, null = no label.
        """
        raise NotImplementedError

    @classmethod
    def label_counts(cls, state: TaskState, labels: Array) -> dict[str, Any]:
        """Return how labels [rows], none of them NaN, are spread: "counts" by class, or "quantiles" of a number."""
        words = cls.words(state)
        if words is None:
            return {"quantiles": {word: float(np.quantile(labels, share)) for word, share in QUANTILES.items()}}
        return {"counts": dict(zip(words, np.bincount(labels.astype(np.int64), minlength=len(words)).tolist(),
                                   strict=True))}  # fmt: skip

    # --- predictions --------------------------------------------------------------------------------------

    @staticmethod
    def head() -> Head:
        """Return losses, predictions and their calibration; imports torch."""
        raise NotImplementedError

    @staticmethod
    def words(state: TaskState) -> list[str] | None:
        """Return the classes of which a row has one, in the order of their places; None where there are none."""
        return None

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return what the model gives: first the prediction that is scored, then what follows from it."""
        raise NotImplementedError

    @staticmethod
    def label_rule(state: TaskState) -> LabelRule | None:
        """Return how a word follows from the prediction; None where none does."""
        return None

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        task = output["task"]
        if output["part"] == "value":
            return f"{task}, in {output['unit'] or 'the unit of its target'}"
        asked = f"{100 * output['coverage']:g} %"
        if output["part"] == "set":
            words = ", ".join(output["classes"])
            return f"which of {words} {task} may be; meant to hold the right one for {asked} of the rows of each class"
        unit = f", in {output['unit']}," if output["unit"] else ""
        return f"{output['part']} end{unit} of an interval meant to hold {task} for {asked} of rows"

    def scores(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, float]:
        """Score labelled rows; see the kinds."""
        raise NotImplementedError

    def resampled(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        raise NotImplementedError

    def constant(self, state: TaskState) -> Array:
        """Return the best constant prediction [1, columns]."""
        raise NotImplementedError

    @classmethod
    def promise(cls, state: TaskState, prediction: Array, labels: Array) -> tuple[Array, Array]:
        """Return what was promised and what came, float64 [rows] each; NaN where it is not known what came.

        A kind that promises several things of a row gives them one after the other, [rows x things].

        Args:
            state: The task's state.
            prediction: float [rows, columns], as `scores` reads it.
            labels: float [rows], none of them NaN.
        """
        return prediction[:, 0].astype(np.float64), labels.astype(np.float64)

    @classmethod
    def spread(cls, state: TaskState, prediction: Array, labels: Array) -> dict[str, Array]:
        """Return the series of the histogram, arguments as those of `promise`."""
        predicted, _ = cls.promise(state, prediction, labels)
        return {"label": labels, "prediction": predicted}

    def group_measures(self, state: TaskState, prediction: Array, labels: Array) -> Iterator[Measure]:
        """Yield what groups of rows are compared by; of a number the mean error and the mean distance.

        Args:
            state: The task's state.
            prediction: float [rows, columns], as `scores` reads it.
            labels: float [rows], NaN = no label.
        """
        known = ~np.isnan(labels)
        predicted, came = self.promise(state, prediction, np.where(known, labels, 0.0))
        known = known & ~np.isnan(came)
        error = (predicted - np.where(known, came, 0.0)) * known
        yield Measure("bias", error, known, False)
        yield Measure("mae", np.abs(error), known, False)


class TargetTask(BaseTask):
    """A task whose labels stand in one column."""

    target: str = Field(description="Column that holds the label. Rows without a label are skipped for this task only.")


def float_labels(column: pa.ChunkedArray) -> Array:
    """Return a column of numbers or true/false as float64 [rows], NaN = null."""
    import pyarrow as pa

    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
