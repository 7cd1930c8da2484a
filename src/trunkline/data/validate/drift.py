"""Drift: how far a drop may lie from the earlier drops of the same table.

in      profiles of the earlier drops that passed, and of the drop at hand
out     checks whose bounds come from the earlier drops; Great Expectations judges by them

A number may move by so many widths of its earlier distribution, a class may change its odds by a factor, a column may
lose so large a share of its values and bring so large a share of new words. A width is the larger of the 5-95 % range
and the standard deviation, so that a column that is nearly always zero still has one (there the mean is compared as
well as the quantiles); a constant column has none and is not compared. Class shares get three standard errors on top,
because few rows of a rare class vary by chance; and after k earlier drops everything may lie (k + 1) / k times as far,
because the range of one or two says little of what is normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.data.declarations import Drift
from trunkline.data.validate import words
from trunkline.data.validate.checks import Answer, Check
from trunkline.data.validate.profile import LEVELS, Numbers, Profile
from trunkline.data.validate.raw import label_columns
from trunkline.data.validate.row_checks import commonest
from trunkline.data.validate.table_checks import filled, is_class

if TYPE_CHECKING:
    import pandas as pd

    from trunkline.columns import Column
    from trunkline.tasks import Task
    from trunkline.tasks.base import LabelColumn

COMPARED = slice(1, 6)  # of LEVELS; the outermost only widen the earlier range of their neighbours
MISSING = "validation.drift.missing"
STANDARD_ERRORS = 3.0
ROWS_PER_WORD = 10  # a column with fewer rows to a word names things one by one; new words are its nature


def checks_of_drift(
    earlier: Sequence[Profile], now: Profile, columns: Mapping[str, Column], tasks: Mapping[str, Task], drift: Drift
) -> list[Check]:
    """Return what the drop that `now` describes must be to resemble the earlier drops.

    Args:
        earlier: Profiles of the earlier drops, each of at least `drift.min_rows` rows; not empty.
        now: Profile of the drop at hand.
        columns: The inputs.
        tasks: The targets.
        drift: How far is too far. A column is compared where it has `drift.min_rows` values on both sides.
    """
    checks = [_missing(name, [drop.missing[name] for drop in earlier], drift) for name in now.missing]
    for name, here in now.numbers.items():
        before = [drop.numbers[name] for drop in earlier if drop.numbers[name].known >= drift.min_rows]
        if before and here.known >= drift.min_rows:
            checks += _numbers_checks(name, before, here, drift)
    for name, target in label_columns(tasks).items():
        if target.type != "number":
            checks += _class_checks(name, target, [drop.counts[name] for drop in earlier], now.counts[name], drift)
    for name, column in columns.items():
        if column.kind == "categorical" and column.values is None:
            checks.append(_new_words(name, [drop.counts[name] for drop in earlier], now.counts[name], drift))
    return [check for check in checks if check is not None]


def _missing(name: str, before: Sequence[float], drift: Drift) -> Check | None:
    limit = max(before) + drift.missing * _slack(len(before))
    if limit >= 1:
        return None
    earlier = f"earlier drops: {words.shares(min(before), max(before))}"
    check = filled(name, limit, MISSING, "share missing near the earlier drops'")

    def blame(answer: Answer, frame: pd.DataFrame) -> tuple[str, str]:
        return f"at most {words.percent(limit)} missing ({earlier})", check.accuse(answer, frame)[1]

    return replace(check, blame=blame)


def _numbers_checks(name: str, before: Sequence[Numbers], here: Numbers, drift: Drift) -> list[Check]:
    quantiles = np.array([drop.quantiles for drop in before])
    # The lowest level may fall as far as the one below it fell, the highest rise as far as the one above it rose:
    # a flag that is up in 4 % of the rows may be up in 6 % without its 95 % quantile being a surprise.
    low, high = quantiles[:, COMPARED].min(axis=0), quantiles[:, COMPARED].max(axis=0)
    spread, deviation = float(high[-1] - low[0]), _deviation(before)
    low[0], high[-1] = quantiles[:, 0].min(), quantiles[:, -1].max()
    width = max(spread, deviation)
    if width == 0:
        return []
    reach = width * drift.spreads * _slack(len(before))
    found = here.quantiles[COMPARED]
    away = float(np.maximum(np.maximum(low - found, found - high), 0).max() / width)
    checks = [_quantiles_check(name, low, high, reach, away)]
    if deviation > spread:  # what varies lies mostly beyond the quantiles, as in a column that is nearly always zero
        means = [drop.mean for drop in before]
        away = max(min(means) - here.mean, here.mean - max(means), 0.0) / width
        checks.append(_mean_check(name, min(means), max(means), reach, away))
    return checks


def _deviation(before: Sequence[Numbers]) -> float:
    """Return the standard deviation over all the earlier rows; 0 where it is only rounding, or beyond all numbers."""
    rows = np.array([drop.known for drop in before], dtype=np.float64)
    means, variances = np.array([drop.mean for drop in before]), np.array([drop.variance for drop in before])
    mean = np.average(means, weights=rows)
    deviation = float(np.sqrt(np.average(variances + (means - mean) ** 2, weights=rows)))
    return deviation if 1e-9 * abs(mean) < deviation < np.inf else 0.0


def _quantiles_check(
    name: str, low: np.ndarray[Any, Any], high: np.ndarray[Any, Any], reach: float, away: float
) -> Check:
    levels = list(LEVELS[COMPARED])
    bounds = np.stack([low - reach, high + reach], axis=1)

    def outlying(answer: Answer, frame: pd.DataFrame) -> tuple[str, str]:
        found = answer.observed["values"]
        far = [at for at, value in enumerate(found) if not bounds[at, 0] <= value <= bounds[at, 1]]
        accepted = [f"{100 * levels[at]:g} % quantile {words.measured(*bounds[at])}" for at in far]
        seen = [f"{100 * levels[at]:g} % quantile {words.short(found[at])}" for at in far]
        return ", ".join(accepted), ", ".join(seen)

    return Check(
        setting="validation.drift.spreads",
        expectation="expect_column_quantile_values_to_be_between",
        kwargs={"column": name, "quantile_ranges": {"quantiles": levels, "value_ranges": bounds.tolist()}},
        columns=(name,),
        expected="quantiles near the earlier drops'",
        measure=lambda frame: (away, away),
        show=_widths,
        blame=outlying,
    )


def _widths(low: float, high: float) -> str:
    return f"up to {words.short(high)} widths away" if high else "within their range"


def _mean_check(name: str, low: float, high: float, reach: float, away: float) -> Check:
    bounds = (low - reach, high + reach)

    return Check(
        setting="validation.drift.spreads",
        expectation="expect_column_mean_to_be_between",
        kwargs={"column": name, "min_value": bounds[0], "max_value": bounds[1]},
        columns=(name,),
        expected="mean near the earlier drops'",
        measure=lambda frame: (away, away),
        show=_widths,
        blame=lambda answer, frame: (f"mean {words.measured(*bounds)}", f"mean {words.short(answer.observed)}"),
    )


def _class_checks(
    name: str, target: LabelColumn, before: Sequence[Mapping[str, int]], now: Mapping[str, int], drift: Drift
) -> list[Check]:
    before = [counts for counts in before if sum(counts.values()) >= drift.min_rows]
    if not before or sum(now.values()) < drift.min_rows:
        return []
    found = sorted({word for counts in [*before, now] for word in counts})
    # Of two classes one says it all.
    compared = ["true"] if target.type == "truth" else target.words or found
    return [_class_check(name, word, before, now, drift.odds) for word in compared]


def _class_check(
    target: str, word: str, before: Sequence[Mapping[str, int]], now: Mapping[str, int], factor: float
) -> Check:
    earlier = [(counts.get(word, 0) + 0.5) / (sum(counts.values()) + 1) for counts in before]
    labelled = sum(now.values())
    share, reach = now.get(word, 0) / labelled, factor ** _slack(len(before))
    low, high = _shifted(min(earlier), 1 / reach), _shifted(max(earlier), reach)
    low -= STANDARD_ERRORS * float(np.sqrt(low * (1 - low) / labelled))
    high += STANDARD_ERRORS * float(np.sqrt(high * (1 - high) / labelled))
    helper = f"{target} is {word}"
    accepted = words.shares(max(low, 0.0), min(high, 1.0))
    range_before = words.shares(min(earlier), max(earlier))
    return Check(
        setting="validation.drift.odds",
        expectation="expect_column_mean_to_be_between",
        kwargs={"column": helper, "min_value": low, "max_value": high},
        columns=(target,),
        expected=f"share of {word} near the earlier drops'",
        measure=lambda frame: (share, share),
        show=lambda low, high: f"{word} in {words.shares(low, high)}",
        blame=lambda answer, frame: (
            f"{word} in {accepted} of the labelled rows (earlier drops: {range_before})",
            f"{word} in {words.percent(share)}",
        ),
        helpers=lambda frame: {helper: is_class(frame[target], word)},
    )


def _slack(drops: int) -> float:
    """Return how much farther than declared a drop may lie after so many earlier drops."""
    return (drops + 1) / drops


def _shifted(share: float, factor: float) -> float:
    """Return the share whose odds are `factor` times those of `share`."""
    odds = factor * share / (1 - share)
    return odds / (1 + odds)


def _new_words(name: str, before: Sequence[Mapping[str, int]], now: Mapping[str, int], drift: Drift) -> Check | None:
    known = {word for counts in before for word in counts}
    rows = sum(sum(counts.values()) for counts in before)
    if rows < max(drift.min_rows, ROWS_PER_WORD * len(known)) or sum(now.values()) < drift.min_rows:
        return None
    expected = f"at most {words.percent(drift.unseen)} of the words new"
    new = sum(rows for word, rows in now.items() if word not in known) / sum(now.values())
    return Check(
        setting="validation.drift.unseen",
        expectation="expect_column_values_to_be_in_set",
        kwargs={"column": name, "value_set": sorted(known), "mostly": max(1 - drift.unseen - 1e-12, 0.0)},
        columns=(name,),
        expected=expected,
        measure=lambda frame: (new, new),
        show=lambda low, high: f"{words.shares(low, high)} new",
        blame=lambda answer, frame: (expected, f"new words such as {commonest(frame[name].iloc[answer.rows])}"),
    )
