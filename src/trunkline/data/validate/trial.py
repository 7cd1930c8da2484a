"""The trial of the raw table: each drop by itself and against the earlier ones, then the whole, then its leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trunkline.data.validate import words
from trunkline.data.validate.checks import Answer, Check
from trunkline.data.validate.drift import MISSING, checks_of_drift
from trunkline.data.validate.findings import WHOLE_TABLE, Finding, finding_of, records
from trunkline.data.validate.hunt import hunt_leaks
from trunkline.data.validate.judge import Judge
from trunkline.data.validate.lacking import lacking_columns
from trunkline.data.validate.outcome import Outcome, Wanted
from trunkline.data.validate.own import own_checks
from trunkline.data.validate.profile import Profile, profile
from trunkline.data.validate.raw import RawRows, class_names, judged
from trunkline.data.validate.repeats import repeats
from trunkline.data.validate.suite import checks_of_drops, checks_of_rows, checks_of_table, checks_of_values
from trunkline.data.validate.table_checks import unique

if TYPE_CHECKING:
    import pandas as pd


def try_rows(rows: RawRows, drops: Sequence[Mapping[str, Any]], wanted: Wanted) -> Outcome:
    """Judge the raw table.

    Args:
        rows: The table.
        drops: Of each drop its name, its rows, the columns it lacks (`missing`) and those nothing needs (`extra`).
        wanted: What the data must be.

    Raises:
        ParamsError: An expectation of the user's own means nothing.
    """
    trial = _Trial(rows, wanted)
    trial.outcome.findings += lacking_columns(drops, wanted)
    for drop in drops:
        trial.try_drop(drop["name"], set(drop["missing"]))
    trial.try_table()
    refused = {finding.where for finding in trial.outcome.findings}
    kept = trial.outcome.kept_of([name for name in rows.drops if name not in refused])
    if kept.any():
        trial.outcome.hunt = hunt_leaks(rows, kept, wanted)
    return trial.outcome


class _Trial:
    def __init__(self, rows: RawRows, wanted: Wanted) -> None:
        key, columns, tasks, validation, moments = wanted
        self.rows, self.wanted, self.outcome = rows, wanted, Outcome()
        own = own_checks(validation.expectations, rows.schema, validation.on_failure)
        self._of_rows = [
            *checks_of_rows(key, columns, tasks, validation, moments),
            *[check for check in own if check.reason],
        ]
        self._of_drops = [*checks_of_drops(columns, validation), *[check for check in own if not check.reason]]
        self._of_values = checks_of_values(columns, tasks)
        # Tables of different tasks lack different columns; each is compared with its own kind.
        self._earlier: dict[frozenset[str], list[Profile]] = {}
        self._judge = Judge()

    def try_drop(self, name: str, lacking: set[str]) -> None:
        """Judge the rows of one drop, set some aside, judge the rest as a whole and against the earlier drops."""
        before = len(self.outcome.findings)
        frame = judged(self.rows.drop(name), self.wanted.columns, self.wanted.tasks)
        self.outcome.examined[name] = len(frame)
        few = self._set_aside(name, frame, [check for check in self._of_rows if not lacking & set(check.columns)])
        if few:
            rest = frame[self.outcome.kept(name)].reset_index(drop=True)
            now = profile(rest, self.wanted.columns, self.wanted.tasks)
            earlier = self._earlier.setdefault(frozenset(lacking), [])
            asked = self._asked_of(earlier, now, rest)
            self._ask(name, rest, [check for check in asked if not lacking & set(check.columns)])
            allowed = lacking <= set(self.wanted.validation.may_lack)
            if len(self.outcome.findings) == before and allowed and self._comparable(rest):
                earlier.append(now)

    def _set_aside(self, name: str, frame: pd.DataFrame, checks: Sequence[Check]) -> bool:
        """Note why each row that breaks a rule of quarantine does; return whether they are few enough to go on."""
        reasons: dict[int, list[str]] = {}
        broken = self._ask(name, frame, checks)
        for check, answer in broken:
            for place, row in zip(answer.rows.tolist(), records(frame, answer.rows, check.columns), strict=True):
                reasons.setdefault(place, []).append(check.reason(row) if check.reason else "")
        self.outcome.reasons[name] = {place: "; ".join(reasons[place]) for place in sorted(reasons)}
        few = len(reasons) <= self.wanted.validation.quarantine_limit * len(frame)
        self.outcome.findings += [] if few else [self._too_many(name, frame, broken, len(reasons))]
        return few

    def _too_many(self, name: str, frame: pd.DataFrame, broken: Sequence[tuple[Check, Answer]], aside: int) -> Finding:
        check, answer = max(broken, key=lambda pair: pair[1].broken)
        worst = finding_of(check, answer, frame, name, self.wanted.key)
        limit = words.percent(self.wanted.validation.quarantine_limit)
        return replace(
            worst,
            expected=f"{worst.expected}, and at most {limit} of the rows set aside",
            seen=f"{worst.seen}{' and other faults' if len(broken) > 1 else ''}",
            broken=aside,
            setting=f"{worst.setting}, validation.quarantine_limit",
        )

    def _asked_of(self, earlier: Sequence[Profile], now: Profile, rest: pd.DataFrame) -> list[Check]:
        _, columns, tasks, validation, _ = self.wanted
        if not len(rest):
            return self._of_drops[:1]
        drift: list[Check] = []
        if earlier and self._comparable(rest):
            drift = checks_of_drift(earlier, now, columns, tasks, validation.drift)
        # Whoever is held to a share of missing values has some values.
        held = {check.column for check in drift if check.setting == MISSING}
        return [*self._of_drops, *[check for check in self._of_values if check.column not in held], *drift]

    def _comparable(self, rest: pd.DataFrame) -> bool:
        return len(rest) >= self.wanted.validation.drift.min_rows

    def try_table(self) -> None:
        """Judge keys and targets of all rows that were not set aside."""
        key, _, tasks, validation, _ = self.wanted
        names = list(dict.fromkeys([*key, *self.wanted.targets]))
        kept = self.outcome.kept_of(self.rows.drops)
        frame = judged(self.rows.columns([*names, "drop"]), {}, tasks)[kept].reset_index(drop=True)
        if not self.outcome.findings:  # what a drop lacks, the table lacks too
            self._ask(WHOLE_TABLE, frame, checks_of_table(tasks, validation, class_names(tasks, frame)))
        once = unique(tuple(key))
        answer = self._judge.ask(frame, [once])[0]
        self.outcome.record.add(once, answer, frame)
        self.outcome.findings += [] if answer.passed else repeats(frame, list(key), once)

    def _ask(self, where: str, frame: pd.DataFrame, checks: Sequence[Check]) -> list[tuple[Check, Answer]]:
        """Ask, record, find what fails; return the failed checks whose rows are to be set aside."""
        aside = []
        for check, answer in zip(checks, self._judge.ask(frame, checks), strict=True):
            self.outcome.record.add(check, answer, frame)
            if answer.passed:
                continue
            if check.sets_aside and not answer.problem:
                aside.append((check, answer))
            else:
                self.outcome.findings.append(finding_of(check, answer, frame, where, self.wanted.key))
        return aside
