"""From rows to rows of predictions: keys, what the model gives, and why a row has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from trunkline.serving.card import Output
from trunkline.serving.cells import Values
from trunkline.serving.cells.base import plain, quoted
from trunkline.serving.feeds import Rejected, build_feeds, pick
from trunkline.serving.session import Model
from trunkline.serving.sources import Source
from trunkline.serving.sources.delimited import without

SHA256_KEY = "trunkline.model_sha256"
ARROW_OF = {
    "tensor(float)": pa.float32(),
    "tensor(double)": pa.float64(),
    "tensor(string)": pa.string(),
    "tensor(bool)": pa.bool_(),
}


class Scorer:
    """Scores tables of one source.

    Args:
        model: The opened model.
        source: Where the tables come from.
        batch: Rows that the model takes at once.

    Attributes:
        columns: What must be read of the source.
        keys: The key columns that the source has; they are passed on as they are.
        schema: Columns of a scored table: keys, outputs in the card's order, `rejected`.

    Raises:
        DataError: The source lacks an input, has one twice or of a type without sense.
    """

    def __init__(self, model: Model, source: Source, batch: int) -> None:
        self.model, self.batch, self.null_values = model, batch, source.null_values
        empty = source.schema.empty_table()
        build_feeds(empty, model.inputs)
        self.keys = [name for name in model.key if name in source.schema.names]
        self.columns = list(dict.fromkeys([*self.keys, *(entry.name for entry in model.inputs)]))
        types = {entry.name: ARROW_OF[entry.type] for entry in model.session.get_outputs()}
        fields = [pa.field(name, pick(empty, name).type) for name in self.keys]
        fields += [pa.field(name, types[part.name]) for part in model.parts for name in column_names(part)]
        fields.append(pa.field("rejected", pa.string()))
        self.schema = pa.schema(fields, metadata={SHA256_KEY: model.sha256})

    def __call__(self, cells: Any) -> tuple[Any, Rejected]:
        """Return a table of `schema` with one row per row of `cells`, and the rejected rows."""
        feeds, rejected = build_feeds(without(cells, self.null_values), self.model.inputs)
        keys = []
        for name in self.keys:
            column, wrong = _readable(name, pick(cells, name))
            keys.append(column)
            rejected = {**wrong, **rejected}
        outputs = self.model.run_in_pieces(feeds, cells.num_rows, self.batch)
        predictions = self._columns(outputs, _mask(rejected, cells.num_rows))
        reasons = np.full(cells.num_rows, None, dtype=object)
        reasons[list(rejected)] = list(rejected.values())
        arrays = [*keys, *predictions, pa.array(reasons, pa.string())]
        return pa.Table.from_arrays(arrays, schema=self.schema), rejected

    def _columns(self, outputs: dict[str, Values], mask: Values) -> list[Any]:
        columns = [column for name in self.model.outputs for column in outputs[name].T]
        types = self.schema.types[len(self.keys) : -1]
        return [pa.array(column, kind, mask=mask) for column, kind in zip(columns, types, strict=True)]


def column_names(part: Output) -> list[str]:
    """Return the columns that one output of the model fills: one, or one per class of probabilities or a set.

    Example:
        >>> column_names(Output("late.probability", "late", "probability", ("no", "yes"), 0.0))
        ['late.probability.no', 'late.probability.yes']
    """
    return [f"{part.name}.{word}" for word in part.classes] or [part.name]


def _mask(rejected: Rejected, rows: int) -> Values:
    mask = np.zeros(rows, dtype=bool)
    mask[list(rejected)] = True
    return mask


def _readable(name: str, cells: Any) -> tuple[Any, Rejected]:
    """Return a key column as it is; where its text is not UTF-8, with signs that say so, and the rows named."""
    try:
        cells.validate(full=True)
        return cells, {}
    except pa.ArrowInvalid:
        raw = plain(cells.combine_chunks()).cast(pa.large_binary()).to_pylist()
    text: list[Any] = [None if cell is None else cell.decode(errors="replace") for cell in raw]
    broken = [row for row, cell in enumerate(raw) if cell is not None and cell != text[row].encode()]
    reasons = {row: f"column '{name}': {quoted(raw[row])} is not UTF-8 text" for row in broken}
    return pa.array(text, pa.string()).cast(cells.type), reasons
