"""A training that was killed goes on where its last epoch ended, and ends with the same bytes.

A checkpoint holds weights, optimiser and history. Chance needs no place in it: every stream is named by seed and
epoch. It lies under .trunkline/checkpoints/, in a folder named by a hash of everything that decides the result,
so that a changed input never resumes an old training.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import torch

import trunkline
from trunkline.files import to_json, write_bytes

FILE = "epoch.pt"
ROOMS = ("balance", "nets", "tasks", "training")


def source_hash() -> str:
    """Return a hash of the code that trains, so that a new version never resumes an old one's training."""
    digest = hashlib.sha256()
    root = Path(trunkline.__file__).parent
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def identity(facts: dict[str, object]) -> str:
    """Return the name of a training: a hash of everything that decides its result."""
    facts = {**facts, "torch": torch.__version__, "code": source_hash()}
    return hashlib.sha256(to_json(json.loads(to_json(facts))).encode()).hexdigest()[:32]


class Checkpoints:
    """Checkpoints of one training.

    Args:
        slot: Folder that one training at a time has: one per arm, and per trial of it.
        name: The training's identity; what other trainings left in the slot is of no use and removed.
    """

    def __init__(self, slot: Path, name: str) -> None:
        self.slot, self.folder = slot, slot / name
        for stale in slot.iterdir() if slot.exists() else ():
            if stale != self.folder:
                shutil.rmtree(stale, ignore_errors=True)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the last checkpoint by `state`, wholly or not at all."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        write_bytes(self.folder / FILE, hashlib.sha256(content).digest() + content)

    def load(self) -> dict[str, Any] | None:
        """Return the last checkpoint; None where there is none or its bytes were damaged."""
        path = self.folder / FILE
        if not path.exists():
            return None
        raw = path.read_bytes()
        if hashlib.sha256(raw[32:]).digest() != raw[:32]:
            return None
        return torch.load(io.BytesIO(raw[32:]), weights_only=True)  # type: ignore[no-any-return]
