"""Predictions kept with their keys, until the labels arrive: Parquet files in a folder per drop.

    <folder>/drop=<name of the scored file>/<first digits of the content's sha256>.parquet

A file appears whole or not at all and is never changed. The same rows scored again by the same model are the same
file; other rows, or another model, are another one. The model's sha256 stands in the file's metadata.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pyarrow.parquet as pq

from trunkline.errors import DataError
from trunkline.files import atomic_path, sha256
from trunkline.serving.scoring import SHA256_KEY, Scorer
from trunkline.serving.sources.base import refusing
from trunkline.serving.targets import ParquetTarget

DROP = "drop="
DIGITS = 16  # of the hash in a file's name


class Kept(NamedTuple):
    """One file of kept predictions."""

    drop: str
    model_sha256: str
    path: Path


@contextlib.contextmanager
def keeping(folder: Path, drop: str, score: Scorer) -> Iterator[ParquetTarget]:
    """Give a target for one file's predictions; it joins the kept ones when all went well.

    Args:
        folder: Where predictions are kept.
        drop: Name of the scored file.
        score: The scorer whose tables come.

    Raises:
        DataError: The scored file lacks a column of the key, without which no label finds its prediction.
    """
    lacking = [name for name in score.model.key if name not in score.keys]
    if lacking or not score.keys:
        named = f"column '{lacking[0]}' is missing" if lacking else "the model's card names no key"
        raise DataError(f"{drop}: {named}; kept predictions need the whole key, so that labels find them later")
    place = folder / f"{DROP}{quote(drop, safe=' ')}"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".") as scratch:
        written = Path(scratch) / "rows.parquet"
        with contextlib.closing(ParquetTarget(written, score.schema, [])) as target:
            yield target
        with atomic_path(place / f"{sha256(written)[:DIGITS]}.parquet") as temporary:
            written.replace(temporary)


def find_kept(folder: Path) -> list[Kept]:
    """Return the files of kept predictions, by drop and name.

    Raises:
        DataError: There is none, or one is no file of kept predictions.
    """
    found = []
    for path in sorted(folder.glob(f"{DROP}*/[!.]*.parquet")):
        with refusing(path):
            metadata: Any = pq.read_schema(path).metadata or {}
        if SHA256_KEY.encode() not in metadata:
            raise DataError(f"{path}: names no model, so it was not kept by `trunkline predict --keep`; take it away")
        name = unquote(path.parent.name.removeprefix(DROP))
        found.append(Kept(name, metadata[SHA256_KEY.encode()].decode(), path))
    if not found:
        raise DataError(f"{folder}: holds no kept predictions; make them with `trunkline predict --keep {folder}`")
    return sorted(found, key=lambda kept: (kept.drop, kept.model_sha256, kept.path))
