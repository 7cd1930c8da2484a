"""`trunkline stage`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def stage(
    name: Annotated[
        str,
        typer.Argument(
            metavar="STAGE", help="ingest, validate, split, rebalance, encode, train, baseline, evaluate or export."
        ),
    ],
    task: Annotated[str | None, typer.Option(metavar="TASK", help="For baseline: the task to fit alone.")] = None,
) -> int:
    """Run one stage whatever its state, as dvc.yaml does. `trunkline run` runs what is stale, and records it.

    Several processes train one model with `torchrun --nproc-per-node 2 -m trunkline stage train` (or baseline).
    """
    from trunkline.pipeline.stage import run_stage

    return run_stage(Path(), name, task)
