"""What params.yaml may say about training. Reading it imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from trunkline.declared import Declared
from trunkline.training.budget import fitting_batch, fitting_epochs
from trunkline.training.fairness import FairnessPenalty
from trunkline.training.monitoring.declarations import Alarms


class EarlyStop(Declared):
    """Stop when the composite of the validation rows no longer improves."""

    patience: int = Field(3, ge=1, description="Epochs without a better composite after which training stops.")


Auto = Literal["auto"]


def _or_auto(expected: str) -> WrapValidator:
    """Say one sentence about a value that is neither a number nor auto, where a union would say one for each."""

    def read(value: object, of_union: ValidatorFunctionWrapHandler) -> Any:
        try:
            return of_union(value)
        except ValidationError:
            raise ValueError(f"found {value!r}; expected {expected}, or auto") from None

    return WrapValidator(read)


Epochs = Annotated[Annotated[int, Field(ge=1, le=100_000)] | Auto, _or_auto("a whole number from 1 to 100,000")]
Batch = Annotated[Annotated[int, Field(ge=2)] | Auto, _or_auto("a whole number of at least 2")]


class DeclaredTraining(Declared):
    """One recipe for every arm, shared and alone, as params.yaml declares it."""

    seeds: int = Field(
        5,
        ge=1,
        le=100,
        description="Trainings per arm that differ in initial weights, order of rows and dropout only. Under 5 no "
        "verdict is claimed; 8 find smaller effects.",
    )
    epochs: Epochs = Field(
        "auto",
        description="Passes over the training rows; auto: 8 over 8,000 rows and fewer, 3 over 226,000 and more, but "
        "at least 64 steps; in each arm twice as many, and again, as long as that raises the validation composite of "
        "the first seed by 0.005 and there are fewer than 1,000 steps.",
    )
    batch: Batch = Field(
        "auto", description="Rows per step; auto: a power of two, near a 16th of the training rows, 32 to 1024."
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts in which a step is computed one after the other, each of batch / accumulate rows: the same "
        "step, up to rounding and the draws of dropout. Only a part's layers are in memory; up to a third more time.",
    )
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak step size of AdamW.")
    weight_decay: float = Field(1e-3, ge=0, description="AdamW's decay of the weights per step, times the step size.")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of all steps in which the step size rises to its peak.")
    clip: float = Field(1.0, gt=0, description="Largest norm of a step's gradient; longer ones are shortened to it.")
    unseen_rate: float = Field(
        0.01,
        ge=0,
        lt=0.5,
        description="Share of categorical values shown as unseen in training, "
        "so that a new word at prediction time meets a trained embedding.",
    )
    normalize: Literal["constant", "off"] = Field(
        "constant",
        description="constant: divide each loss by that of the best constant prediction, so that no task "
        "drowns another by its unit; off: raw losses, in the target's own unit.",
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="Weights kept: of the last, annealed epoch, or of the best by the validation composite, in which "
        "main tasks alone count. With early_stop always the best.",
    )
    early_stop: EarlyStop | None = Field(
        None,
        description="Default: train all epochs. It may end before auxiliary tasks have faded out: what helped the main "
        "tasks most is kept.",
    )
    fairness: list[FairnessPenalty] = Field(
        [], description="Gaps between the groups of a sensitive column that training closes, in shared and alone."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a CUDA GPU where there is one (with bfloat16 autocast), else the CPU."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of a training step's products: auto is bfloat16 on a GPU, float32 on a CPU; a CPU with "
        "avx512_bf16 or AMX trains trunks of 128 units and more faster in bfloat16. Weights, losses and scores stay "
        "float32.",
    )
    shuffle_rows: int = Field(
        2_000_000,
        ge=1,
        description="Rows held in memory and shuffled together; larger data is shuffled in such blocks.",
    )

    @property
    def keeps_best(self) -> bool:
        """Whether the validation composite chooses the weights kept, which else are those of the last epoch."""
        return self.keep == "best" or self.early_stop is not None

    @model_validator(mode="after")
    def _whole_parts(self) -> Self:
        if self.batch != "auto" and self.accumulate * 2 > self.batch:
            raise ValueError(
                f"accumulate: {self.accumulate} parts of a batch of {self.batch} rows leave fewer than 2 rows each; "
                f"use at most {self.batch // 2}"
            )
        return self

    def sized(self, rows: int, least_batch: int = 2) -> Training:
        """Return the recipe with what it leaves to the data as numbers.

        Args:
            rows: Training rows.
            least_batch: Fewest rows of a step that is left to the data.
        """
        batch = fitting_batch(rows, max(least_batch, 2 * self.accumulate)) if self.batch == "auto" else self.batch
        epochs = fitting_epochs(rows) if self.epochs == "auto" else self.epochs
        left = {"tries_longer": True} if self.epochs == "auto" else {}
        return Training(**{**dict(self), **left, "epochs": epochs, "batch": batch})


class Training(DeclaredTraining):
    """The recipe with numbers where the declaration leaves them to the data."""

    epochs: int
    batch: int
    tries_longer: bool = False
    """Whether twice as many epochs may be tried."""


class Alone(Declared):
    """The other side of the comparison: for each task a model trained for it alone."""

    match: Literal["width", "parameters"] = Field(
        "width",
        description="width: the shared trunk's layers; parameters: narrower ones, so that all alone models together "
        "have about as many parameters as the shared model.",
    )
    tune: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [],
        description="Learning rates that every arm, shared too, tries with its first seed; the one best on the "
        "validation rows trains all seeds. Default: training.learning_rate for all.",
    )


class Monitor(Declared):
    """What is watched while the shared model trains: each task, and whether the tasks' gradients agree."""

    every: int = Field(
        20,
        ge=0,
        le=10_000,
        description="Steps between two looks at each task and at whether the tasks' gradients agree; 0 = none.",
    )
    lookahead: int = Field(
        100,
        ge=0,
        description="Steps between two measurements of what a step for one task does to the others; 0 = none.",
    )
    alarms: Alarms = Field(Alarms(), description="When a line says that a task is in trouble.")


class Calibration(Declared):
    """Correct confidences, and say how far predictions reach, on validation rows that chose nothing."""

    kind: Literal["slope", "affine", "none"] = Field(
        "slope",
        description="slope: scale the logits about the training prevalence (temperature) and keep their level; "
        "affine: move the level too, to that of the validation rows, and scale and shift numbers by least squares; "
        "none: leave all as trained.",
    )
    coverage: dict[str, Annotated[float, Field(ge=0.5, le=0.999)]] = Field(
        {},
        description="Per task the share of rows whose label an interval (<task>.lower, <task>.upper) or, of classes, "
        "a set (<task>.set) is to hold. Tasks not named get neither.",
    )
