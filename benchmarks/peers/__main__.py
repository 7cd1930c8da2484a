"""`python -m benchmarks.peers`, which `make bench-peers` runs: experts of torch-rechub beside ours.

Both sides build the same forms of experts over the same embeddings and train them on the same rows with AdamW, batches
of 1,024 and one thread, each by its own trainer: ours is `trunkline.training.fit.fit` without the monitor, of which
torch-rechub has none; torch-rechub's is `MTLTrainer` over its `DataGenerator`, given NumPy columns (with torch tensors
it takes three times as long). Each side has the learning rate that is best for it on the validation rows. What
torch-rechub's experts have besides, batch normalisation, stays: it cannot be turned off.

Every round trains each side once from new weights, the validation rows of each epoch included, in processes that are
ready before the clock starts; a figure is the median over the rounds of the ratios of CPU seconds. As that says little
of a side that learns less, the AUC on test rows stands beside, with a bar of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environment import ROOT, environment
from benchmarks.measure import Spent, rate, times_faster
from benchmarks.peers.forms import EPOCHS, FORMS, TRAIN, write_rows

FASTER = 2.0
NO_WORSE = -0.005  # AUC
ROUNDS = 5


class Trained(NamedTuple):
    """What one training of one side took, and what came of it."""

    spent: Spent
    auc: float
    """On the test rows, mean over the tasks."""

    learned: int
    """Numbers that it has."""


class Side:
    """A process that trains when it is told to."""

    def __init__(self, python: Path, side: str, rows: Path, form: str) -> None:
        command = [python, "-m", "benchmarks.peers.side", side, rows, form]
        here = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=here, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.rate: float = self._read()["rate"]

    def train(self, seed: int) -> Trained:
        """Train once."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        found = self._read()
        return Trained(Spent(*found["spent"]), found["auc"], found["learned"])

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return dict(json.loads(line))
        raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended; see above")  # type: ignore[arg-type]


@contextlib.contextmanager
def prepared(python: Path, side: str, rows: Path, form: str) -> Iterator[Side]:
    """Give a side that is ready, and end it whatever happens."""
    one = Side(python, side, rows, form)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()


class Line(NamedTuple):
    """One form, trained by both sides in turns."""

    form: str
    ours: list[Trained]
    theirs: list[Trained]
    rates: tuple[float, float]

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours was in each round, by CPU seconds."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [times_faster([one.spent], [other.spent]).cpu for one, other in pairs]

    @property
    def gained(self) -> float:
        """AUC of ours less theirs, mean over the rounds."""
        return _auc(self.ours) - _auc(self.theirs)

    @property
    def missed(self) -> bool:
        """Whether a bar is missed."""
        return not (statistics.median(self.ratios) >= FASTER and self.gained >= NO_WORSE)


def _auc(trained: list[Trained]) -> float:
    return statistics.mean(each.auc for each in trained)


def _speed(trained: list[Trained]) -> float:
    return rate(EPOCHS * TRAIN, [each.spent for each in trained]).cpu


def measure(form: str, rows: Path, python: Path, rounds: int) -> Line:
    """Train a form in turns; `python` is one that has torch-rechub."""
    with (
        prepared(Path(sys.executable), "ours", rows, form) as ours,
        prepared(python, "rechub", rows, form) as theirs,
    ):
        turns = [(ours.train(seed), theirs.train(seed)) for seed in range(1, rounds + 1)]
        return Line(form, [one for one, _ in turns], [other for _, other in turns], (ours.rate, theirs.rate))


def report(lines: Iterable[Line]) -> int:
    """Print the table, each line as soon as it is measured; return 1 where a bar is missed, else 0."""
    width = max(map(len, FORMS))
    print(f"{'rows per CPU second':<{width}}  {'ours':>8}  torch-rechub  {'times faster':<18}  AUC, ours less theirs")
    seen = []
    for line in lines:
        low, middle, high = min(line.ratios), statistics.median(line.ratios), max(line.ratios)
        times = f"{middle:.2f} ({low:.2f} - {high:.2f})"
        speeds = f"{_speed(line.ours):>8,.0f}  {_speed(line.theirs):>12,.0f}"
        missed = "  MISSED" if line.missed else ""
        print(f"{line.form:<{width}}  {speeds}  {times:<18}  {line.gained:+.4f}{missed}", flush=True)
        seen.append(line)
    print(f"bars: {FASTER:g} times faster, AUC at most {-NO_WORSE:g} less")
    for line in seen:
        for side, trained, best in zip(("ours", "torch-rechub"), (line.ours, line.theirs), line.rates, strict=True):
            print(
                f"{line.form}, {side}: {trained[0].learned:,} weights, learning rate {best:g}, AUC {_auc(trained):.4f}"
            )
    return int(any(line.missed for line in seen))


def main() -> int:
    """Measure and print a table.

    Returns:
        1 where a bar is missed, else 0.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="in which each side trains each form once")
    parser.add_argument("--peers", type=Path, help="a Python that has peers.txt; else one is made in .trunkline/")
    chosen = parser.parse_args()
    python = chosen.peers or environment("peers", Path(__file__).parent / "peers.txt", sees_torch=True)
    with tempfile.TemporaryDirectory() as folder:
        write_rows(rows := Path(folder) / "rows.npz")
        return report(measure(form, rows, python, chosen.rounds) for form in FORMS)


if __name__ == "__main__":
    sys.exit(main())
