"""The nine stages: each reads files, calls one room and writes files, whole and sealed.

    ingest -> validate -> split -> rebalance -> encode -> train -> baseline (one per task) -> evaluate -> export

dvc.yaml calls them as `python -m trunkline stage NAME`; the order and what depends on what stand there alone.
Each function imports its room when it is called, so that a stage pays only for the libraries it uses.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trunkline.project import Project

INCOMING = Path("data/incoming")
RAW = Path("data/raw")
VALIDATED = Path("data/validated")
SPLIT = Path("data/split")
REBALANCE = Path("data/rebalance")
ENCODED = Path("data/encoded")
SHARED = Path("models/shared")
ALONE = Path("models/alone")
EXPORT = Path("models/export")
REPORTS = Path("reports")


def ingest(root: Path, project: Project) -> None:
    """Read every drop of data/incoming/ into data/raw/rows.parquet."""
    raise NotImplementedError


def validate(root: Path, project: Project) -> None:
    """Judge data/raw/rows.parquet; pass the good rows on to data/validated/."""
    raise NotImplementedError


def split(root: Path, project: Project) -> None:
    """Give every row of data/validated/ a side: train, validation or test."""
    raise NotImplementedError


def rebalance(root: Path, project: Project) -> None:
    """Write per task how its rows are drawn, and the prior shift to undo later."""
    raise NotImplementedError


def encode(root: Path, project: Project) -> None:
    """Fit the columns on training rows and write memory-mappable arrays."""
    raise NotImplementedError


def train(root: Path, project: Project) -> None:
    """Fit the shared model."""
    raise NotImplementedError


def baseline(root: Path, project: Project, task: str) -> None:
    """Fit one task alone, by the same recipe."""
    raise NotImplementedError


def evaluate(root: Path, project: Project) -> None:
    """Score shared and alone on the test rows and write the report."""
    raise NotImplementedError


def export(root: Path, project: Project) -> None:
    """Write the ONNX file, and refuse it unless it agrees with torch."""
    raise NotImplementedError


STAGES: dict[str, Callable[..., None]] = {
    stage.__name__: stage
    for stage in (ingest, validate, split, rebalance, encode, train, baseline, evaluate, export)
}
"""The nine stages in their order; the key is the word used everywhere."""
