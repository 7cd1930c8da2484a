"""Score a file: raw rows in, predictions out, in bounded memory.

Rows are read and written 65,536 at a time and computed 4,096 at a time, which was measured fastest: what a call
of that size touches stays in the processor's cache.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trunkline.errors import DataError, ParamsError
from trunkline.files import atomic_path
from trunkline.serving.kept import keeping
from trunkline.serving.scoring import Scorer
from trunkline.serving.session import Model, open_model
from trunkline.serving.sources import Source, open_source
from trunkline.serving.targets import target_kind

BATCH = 4_096  # rows computed at once

Progress = Callable[[int, int | None], None]
"""Called with the rows done and, where the file says so, how many there are."""


class Summary(NamedTuple):
    """What `predict_file` did."""

    rows: int
    """Rows read and written; the two are always the same number."""

    rejected: int
    """Rows among them without predictions, because a cell could not be understood."""

    seconds: float
    """Wall clock, the opening of the model included."""


def predict_file(
    model: Path,
    source: Path,
    target: Path,
    *,
    batch: int = BATCH,
    threads: int = 1,
    keep: Path | None = None,
    on_progress: Progress | None = None,
) -> Summary:
    """Write the model's predictions for every row of a file, or of a folder's files by name, in their order.

    Columns of the target: the key columns that the source has, the model's outputs, and `rejected`: why a row
    could not be understood; such a row has no predictions. The target appears whole or not at all.

    Args:
        model: The exported ONNX file; its card.json lies beside it.
        source: Parquet or CSV (gzip too), with a column per input; others are ignored. Or a folder of such files with
            the same columns.
        target: A .parquet or .csv file; an older one is replaced at the end.
        batch: Rows computed at once.
        threads: CPU threads of the model.
        keep: Folder in which the predictions are kept as well, file by file, to be joined with labels later.
        on_progress: Told after each 65,536 rows.

    Raises:
        ParamsError: The target's name says no known format, or it is the source or among its files.
        DataError: The source is missing or damaged, or lacks a column; of the key only where predictions are kept.
        ArtifactError: The model is missing or altered.
        EnvironmentFault: The target cannot be written.
    """
    started = time.perf_counter()
    kind = target_kind(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise ParamsError(f"{target}: is the source itself; give another file for the predictions")
    if source.is_dir() and target.parent.resolve() == source.resolve():
        raise ParamsError(
            f"{target}: lies among the rows to score, and would be one of them next time; give another place"
        )
    opened = open_model(model, threads=threads)
    rows = open_source(source, opened.card.get("null_values", []))
    score = _scorer(opened, source, rows, batch)
    done = refused = 0
    with contextlib.ExitStack() as stack:
        all_kept = stack.enter_context(contextlib.ExitStack())  # they join the kept ones after the target is there
        temporary = stack.enter_context(atomic_path(target))
        file = stack.enter_context(contextlib.closing(kind(temporary, score.schema, score.keys)))
        for part in rows.parts:
            kept = all_kept.enter_context(keeping(keep, part.path.name, score)) if keep else None
            for cells in part.tables(score.columns):
                table, rejected = score(cells)
                file.write(table)
                if kept:
                    kept.write(table)
                done, refused = done + cells.num_rows, refused + len(rejected)
                if on_progress:
                    on_progress(done, rows.rows)
    return Summary(done, refused, time.perf_counter() - started)


def _scorer(model: Model, path: Path, source: Source, batch: int) -> Scorer:
    try:
        return Scorer(model, source, batch)
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None
