"""One side in a process of its own: trains a form whenever it is told a seed, and says what that took.

    python -m benchmarks.peers.side ours|rechub ROWS FORM     prints a line of JSON when it is ready, and per seed read

Ready means: modules are loaded, rows are in memory, and the learning rate is the one of `RATES` that is best on the
validation rows, so that no side is judged at a rate that suits the other.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.measure import Stopwatch
from benchmarks.peers.forms import FORMS, RATES, auc, read_rows


def main(side: str, path: str, form: str) -> None:
    """Prepare, then train for each seed on standard input until it ends."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(side == "ours")  # as the train stage does
    sides = read_rows(Path(path))
    train = importlib.import_module(f"benchmarks.peers.{side}").training(FORMS[form], sides)
    known = {name: rows["labels"] for name, rows in sides.items()}
    scores = {rate: auc(train(0, rate).scores("validation"), known["validation"]) for rate in RATES}
    rate = max(scores, key=lambda each: scores[each])
    print(json.dumps({"rate": rate}), flush=True)
    for line in sys.stdin:
        watch = Stopwatch()
        trained = train(int(line), rate)
        spent = watch.lap()
        found = {"spent": spent, "auc": auc(trained.scores("test"), known["test"]), "learned": trained.learned}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
