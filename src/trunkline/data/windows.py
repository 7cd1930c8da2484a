"""Which stretch of time trains, chooses and judges: between moments, or counted back from the newest row.

in      what `split` declares, and the moment of the newest row
out     the first moment of each side

Lengths are whole days, weeks, months or years of a calendar. The last window ends where the unit ends in which the
newest row lies: with `test: 1 month` the test rows are those of its month, however much of it there is yet. A week
begins on Monday. Where a month is too short for a day, its last day is taken: a month before 31 March is 28 February.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

LENGTH = re.compile(r"([1-9]\d{0,3}) (day|week|month|year)s?")
DAYS = {"day": 1, "week": 7}


class Length(NamedTuple):
    """So many units of a calendar."""

    number: int
    unit: str


Mark: TypeAlias = Length | datetime
"""What a side is declared by."""


class Bounds(NamedTuple):
    """The first moment of each side; a row before `train` has no part, and None lets every earlier row train."""

    train: datetime | None
    validation: datetime
    test: datetime

    @property
    def starts(self) -> tuple[datetime, datetime, datetime]:
        """The three moments in their order."""
        return self.train or datetime.min.replace(tzinfo=UTC), self.validation, self.test

    def as_json(self) -> dict[str, str | None]:
        """Return them as ISO 8601, None where every earlier row trains."""
        return {side: start and start.isoformat() for side, start in self._asdict().items()}

    def __str__(self) -> str:
        """Return them as a phrase."""
        train = f"train from {self.train.isoformat()}, " if self.train else ""
        return f"{train}validation from {self.validation.isoformat()}, test from {self.test.isoformat()}"


def read_mark(text: str) -> Mark:
    """Return the length or the moment that a text names; a moment without a zone is in UTC.

    Raises:
        ValueError: It names neither.

    Example:
        >>> read_mark("2013-09-01").isoformat()
        '2013-09-01T00:00:00+00:00'
        >>> read_mark("2 months")
        Length(number=2, unit='month')
    """
    if found := LENGTH.fullmatch(text):
        return Length(int(found[1]), found[2])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"'{text}' is no date or moment; write it like '2013-09-01' or '2013-09-01T06:00:00Z', or a length like "
            f"'10 days', '2 weeks', '1 month' or '1 year'"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def find_bounds(train: Mark | None, validation: Mark, test: Mark, zone: ZoneInfo, newest: datetime) -> Bounds:
    """Return where the sides begin.

    Args:
        train: How far back training rows go; None: as far as there are rows.
        validation: Where validation begins, or how long it is; a length where `test` is one, and only there.
        test: Likewise.
        zone: Whose calendar the lengths follow.
        newest: The moment of the newest row.

    Raises:
        OverflowError: They leave the calendar, which has the years 1 to 9999.

    Example:
        >>> newest = datetime(2013, 12, 15, 8, tzinfo=UTC)
        >>> str(find_bounds(None, Length(2, "month"), Length(1, "month"), ZoneInfo("UTC"), newest))
        'validation from 2013-10-01T00:00:00+00:00, test from 2013-12-01T00:00:00+00:00'
    """
    try:
        end = end_of(test.unit, newest.astimezone(zone)) if isinstance(test, Length) else newest
        of_test = _start(test, end, zone)
        of_validation = _start(validation, of_test, zone)
        return Bounds(None if train is None else _start(train, of_validation, zone), of_validation, of_test)
    except ValueError as fault:  # a year out of range, where no difference of times is taken
        raise OverflowError(str(fault)) from None


def _start(mark: Mark, end: datetime, zone: ZoneInfo) -> datetime:
    return back(mark, end.astimezone(zone)) if isinstance(mark, Length) else mark


def end_of(unit: str, moment: datetime) -> datetime:
    """Return the first moment after the unit of the calendar in which `moment` lies; both by the clock on its wall.

    Example:
        >>> end_of("week", datetime(2013, 12, 31)).date().isoformat()
        '2014-01-06'
    """
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match unit:
        case "day":
            return day + timedelta(days=1)
        case "week":
            return day + timedelta(days=7 - day.weekday())
        case "month":
            return _months_later(day.replace(day=1), 1)
        case _:
            return day.replace(day=1, month=1, year=day.year + 1)


def back(length: Length, moment: datetime) -> datetime:
    """Return the moment that lies a length before another by the calendar, at the same time of day.

    Example:
        >>> back(Length(1, "month"), datetime(2012, 3, 31)).date().isoformat()
        '2012-02-29'
    """
    if days := DAYS.get(length.unit):
        return moment - timedelta(days=days * length.number)
    return _months_later(moment, -length.number * (12 if length.unit == "year" else 1))


def _months_later(moment: datetime, months: int) -> datetime:
    year, month = divmod(12 * moment.year + moment.month - 1 + months, 12)
    first = moment.replace(year=year, month=month + 1, day=1)
    return first.replace(day=min(moment.day, monthrange(first.year, first.month)[1]))
