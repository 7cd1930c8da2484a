"""From the type a file has to the type a column is declared: strict, and never a guess.

float64             numbers, or text that spells one; NaN and infinities become null
bool                true/false, yes/no or 0/1, as such or as text
string              text as it is; whole numbers without a decimal point ("3", never "3.0"); "" becomes null
timestamp[us, UTC]  moments, dates, whole seconds since 1970, or ISO 8601 text; without a zone it is UTC
int64               whole numbers, only where every drop has them

A value that does not fit is refused with its place in the file, never dropped or bent.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from trunkline.errors import DataError

NUMBER, WHOLE, TRUTH, TEXT = pa.float64(), pa.int64(), pa.bool_(), pa.string()
MOMENT = pa.timestamp("us", "UTC")

FIRST_SECOND, END_SECOND = -62_135_596_800, 253_402_300_800  # years 1 to 9999
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
ISO = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?)?$"
)
SHOWN_ROWS = 3
TRUTHS = {"true": "1", "false": "0", "yes": "1", "no": "0"}


def family(kind: pa.DataType) -> pa.DataType | None:
    """Give the type in which a column of a file's type `kind` is kept where none is declared.

    Returns:
        int64, float64, bool, string or timestamp; the null type where there are no values; None where trunkline
        has no such values (lists, structs, times of day, durations).
    """
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_uint64(kind) or pa.types.is_decimal(kind):
        return TEXT  # neither int64 nor float64 holds all of their values, and they may be keys
    tests: list[tuple[Callable[[pa.DataType], bool], pa.DataType]] = [
        (pa.types.is_null, pa.null()),
        (pa.types.is_boolean, TRUTH),
        (pa.types.is_integer, WHOLE),
        (pa.types.is_floating, NUMBER),
        (_is_text, TEXT),
        (pa.types.is_timestamp, MOMENT),
        (pa.types.is_date, MOMENT),
    ]
    return next((found for test, found in tests if test(kind)), None)


def convert(values: pa.ChunkedArray, wanted: pa.DataType, where: str) -> pa.Array:
    """Turn a file's column into the wanted type.

    Args:
        values: One column of a file, of any type that has a family.
        wanted: One of the five types above.
        where: File and column, which begin the message.

    Raises:
        DataError: Values that cannot be so; names the first rows (1 = first data row), the values and their count.
    """
    try:
        return CONVERSIONS[wanted](_plain(values), where)
    except (pa.ArrowException, UnicodeDecodeError) as fault:
        raise DataError(
            f"{where}: {values.type} cannot become {wanted} ({' '.join(str(fault).split())[:200]})"
        ) from fault


def plain_text(values: pa.Array) -> pa.Array:
    """Write each value as text, whole numbers without a decimal point, moments as ISO 8601 in UTC."""
    if pa.types.is_timestamp(values.type):
        text = pc.replace_substring(values.cast(MOMENT, safe=False).cast(TEXT), " ", "T", max_replacements=1)
        return pc.replace_substring(text, ".000000Z", "Z")
    if pa.types.is_floating(values.type):
        whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
        digits = pc.if_else(whole, values, 0.0).cast(WHOLE).cast(TEXT)
        return pc.if_else(whole, digits, values.cast(TEXT))
    return values.cast(TEXT)


def _plain(values: pa.ChunkedArray) -> pa.Array:
    """One array without dictionaries, wide offsets, NaN or infinities."""
    array = values.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        return array.cast(TEXT)
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if pa.types.is_floating(array.type):
        return pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))
    return array


def _spelled(array: pa.Array) -> pl.Series:
    """Text that shall spell something else; "" spells nothing."""
    text = pl.Series("text", array, dtype=pl.String)
    return text.set(text == "", None)


def _to_number(array: pa.Array, where: str) -> pa.Array:
    if _is_moment(array.type):
        raise DataError(f"{where}: holds {array.type}, not numbers; declare the column as kind: timestamp")
    return _spelled_number(array, where) if array.type == TEXT else array.cast(NUMBER, safe=False)


def _spelled_number(array: pa.Array, where: str) -> pa.Array:
    text = _spelled(array)
    numbers = text.cast(pl.Float64, strict=False)
    bad = numbers.is_null() & text.is_not_null()
    advice = "write numbers such as 1234.5; what means no value in CSV, name in data.null_values"
    _refuse(array, bad, where, "not numbers", advice)
    return numbers.set(~numbers.is_finite(), None).to_arrow().cast(NUMBER)


def _to_whole(array: pa.Array, where: str) -> pa.Array:
    return array.cast(WHOLE)


def _to_text(array: pa.Array, where: str) -> pa.Array:
    text = plain_text(array)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, TEXT), text)


def _to_truth(array: pa.Array, where: str) -> pa.Array:
    if pa.types.is_boolean(array.type):
        return array
    if _is_moment(array.type):
        raise DataError(f"{where}: holds {array.type}; a binary target is true/false, yes/no or 0/1")
    if array.type == TEXT:
        words = _spelled(array)
        numbers = words.str.to_lowercase().replace(TRUTHS).cast(pl.Float64, strict=False)
    else:
        words, numbers = pl.Series(array), pl.Series(array.cast(NUMBER, safe=False))
    bad = words.is_not_null() & ~numbers.is_in([0.0, 1.0]).fill_null(False)
    _refuse(
        array,
        bad,
        where,
        "neither true/false, yes/no nor 0/1",
        "write one of these, and nothing where there is no label",
    )
    return (numbers == 1).to_arrow()


def _to_moment(array: pa.Array, where: str) -> pa.Array:
    if array.type == TEXT:
        return _spelled_moment(array, where)
    if pa.types.is_null(array.type):
        return array.cast(MOMENT)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s" if pa.types.is_date32(array.type) else "ms"))
    if not pa.types.is_timestamp(array.type) and not pa.types.is_integer(array.type):
        raise DataError(
            f"{where}: {array.type} cannot be moments; write timestamps, dates, whole seconds since 1970, "
            f"or ISO 8601 text"
        )
    unit = array.type.unit if pa.types.is_timestamp(array.type) else "s"
    count = array.cast(WHOLE)
    _refuse_far(count, pl.Series(count) // PER_SECOND[unit], where)
    return count.cast(pa.timestamp(unit, "UTC")).cast(MOMENT, safe=False)


def _spelled_moment(array: pa.Array, where: str) -> pa.Array:
    text = _spelled(array)
    part = text.str.extract_groups(ISO).struct.unnest()
    day, hour, minute, second, fraction, _, sign, zone_hour, zone_minute = part.get_columns()

    def number(digits: pl.Series) -> pl.Series:
        return digits.fill_null("0").cast(pl.Int64)

    date = day.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
    zone = (number(zone_hour) * 3600 + number(zone_minute) * 60) * (1 - 2 * (sign.fill_null("+") == "-").cast(pl.Int64))
    seconds = date * 86_400 + number(hour) * 3600 + number(minute) * 60 + number(second) - zone
    sane = (number(hour) < 24) & (number(minute) < 60) & (number(second) < 60) & (number(zone_minute) < 60)
    advice = "write ISO 8601 such as 2013-01-31T18:00:00Z; without a zone it is UTC"
    _refuse(array, text.is_not_null() & (seconds.is_null() | ~sane), where, "not moments", advice)
    _refuse_far(array, seconds, where)
    return (seconds * 1_000_000 + number(fraction.str.pad_end(6, "0").str.head(6))).to_arrow().cast(MOMENT)


def _refuse_far(array: pa.Array, seconds: pl.Series, where: str) -> None:
    far = (seconds < FIRST_SECOND) | (seconds >= END_SECOND)
    _refuse(array, far, where, "outside the years 1 to 9999", "whole numbers are read as seconds since 1970")


def _refuse(array: pa.Array, bad: pl.Series, where: str, what: str, advice: str) -> None:
    rows = bad.fill_null(False).arg_true().to_list()
    if rows:
        shown = ", ".join(f"row {row + 1} {_shown(array[row])}" for row in rows[:SHOWN_ROWS])
        raise DataError(f"{where}: {len(rows)} of {len(array)} values are {what}: {shown}; {advice}")


def _shown(value: pa.Scalar) -> str:
    text = repr(value.as_py()) if value.type == TEXT else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _is_text(kind: pa.DataType) -> bool:
    texts = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())
    return kind in texts


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


CONVERSIONS: dict[pa.DataType, Callable[[pa.Array, str], pa.Array]] = {
    NUMBER: _to_number,
    WHOLE: _to_whole,
    TRUTH: _to_truth,
    TEXT: _to_text,
    MOMENT: _to_moment,
}
