"""A stage without work under the real runner of stages. CHEAP_TRAIN says how it behaves."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from trunkline import errors, files, stages
from trunkline.pipeline.stage import run_stage
from trunkline.project import Project


def train(root: Path, project: Project) -> None:
    """Behave as the test asks."""
    behaviour, _, word = os.environ.get("CHEAP_TRAIN", "").partition(":")
    print("epoch 1", flush=True)
    if behaviour == "fail":
        raise getattr(errors, word)(f"train: {word} was asked for")
    if behaviour == "bug":
        raise KeyError("of ours")
    if behaviour == "exit":
        os._exit(int(word))
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    with files.atomic_path(root / "models/shared/weights") as temporary:
        temporary.write_text(f"epochs {project.training.epochs}")
        if behaviour == "slow":
            (root / ".trunkline/training").touch()
            time.sleep(60)


stages.STAGES["train"] = train
sys.exit(run_stage(Path(), sys.argv[1]))
