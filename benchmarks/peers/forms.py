"""What both sides build and train: forms of experts, the recipe, and made-up rows. Needs NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH, EPOCHS = 1024, 3
RATES, WEIGHT_DECAY = (1e-3, 2e-3, 5e-3, 1e-2), 1e-3
EMBEDDING = 8
NUMBERS = 6
WORDS = (1200, 600, 300, 200, 150, 100, 80, 60, 50, 40, 30, 24, 20, 16, 12, 10, 7, 5, 3, 2)  # 26 features with NUMBERS
TASKS = 4
TRAIN, VALIDATION, TEST = 39 * BATCH, 4_000, 20_000  # no step is smaller than the others

Rows = dict[str, np.ndarray[Any, Any]]
"""features float32 [rows, NUMBERS], codes int32 [rows, columns], labels float32 [rows, TASKS]."""


class Model(NamedTuple):
    """A model that was trained."""

    scores: Callable[[str], np.ndarray[Any, Any]]
    """Gives those of a side's rows, [rows, tasks]; the larger, the likelier a yes."""

    learned: int
    """Numbers that it learned."""


class Form(NamedTuple):
    """Experts with a linear head per task."""

    kind: str
    """mmoe or ple; cgc is ple of one level."""

    shared: int
    own: int = 0
    """Experts of each task, per level; mmoe has none."""

    levels: int = 1
    widths: tuple[int, ...] = (64, 64)
    """Units of an expert's layers."""


FORMS = {
    "MMoE, 8 experts": Form("mmoe", 8),
    "CGC, 4 shared experts, 1 per task": Form("ple", 4, 1),
    "PLE, 2 levels of 2 shared, 1 per task": Form("ple", 2, 1, 2, (64,)),
}


def write_rows(path: Path, sizes: tuple[int, int, int] = (TRAIN, VALIDATION, TEST)) -> None:
    """Write the rows of all sides to an .npz.

    The tasks share most of what decides them, one number is at odds between them, and a fifth to a half is yes.

    Args:
        path: Of the file.
        sizes: Rows of train, validation and test.
    """
    chance, count = np.random.default_rng(1), sum(sizes)
    features = chance.normal(size=(count, NUMBERS)).astype(np.float32)
    codes = np.stack([(chance.zipf(1.3, count) - 1) % words for words in WORDS], axis=1).astype(np.int32)
    effects = [chance.normal(size=(words, TASKS)) + chance.normal(size=(words, 1)) for words in WORDS]
    of_words = sum(effect[codes[:, place]] for place, effect in enumerate(effects)) / np.sqrt(2 * len(WORDS))
    of_numbers = features @ chance.normal(size=(NUMBERS, 1)) / 2 + np.outer(features[:, 0] * features[:, 1], _signs())
    logits = 1.5 * (of_words + of_numbers) - np.linspace(0, 2, TASKS)
    labels = (chance.random((count, TASKS)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    ends = np.cumsum([0, *sizes])
    sides = zip(("train", "validation", "test"), ends[:-1], ends[1:], strict=True)
    parts = {"features": features, "codes": codes, "labels": labels}
    np.savez(path, **{f"{side}.{name}": part[a:b] for side, a, b in sides for name, part in parts.items()})


def _signs() -> np.ndarray[Any, Any]:
    return np.where(np.arange(TASKS) % 2, -1.0, 1.0)


def read_rows(path: Path) -> dict[str, Rows]:
    """Return the rows of each side."""
    with np.load(path) as held:
        return {
            side: {name: held[f"{side}.{name}"] for name in ("features", "codes", "labels")}
            for side in ("train", "validation", "test")
        }


def auc(scores: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Return the area under the ROC curve, mean over the tasks; ties, of which floats have few, count as they fall."""
    ranks = scores.argsort(axis=0).argsort(axis=0)
    yes = labels.sum(axis=0, dtype=np.float64)
    below = (ranks * labels).sum(axis=0, dtype=np.float64) - yes * (yes - 1) / 2
    return float((below / (yes * (len(labels) - yes))).mean())
