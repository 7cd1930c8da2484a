"""What the gates of a form do after each epoch, on a few of the validation rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from trunkline.nets.gates import gate_report
from trunkline.nets.network import Network
from trunkline.training.batches import Rows
from trunkline.training.monitoring.record import Record

ROWS = 4096  # that are looked at

Report = list[dict[str, Any]]


class GateWatch:
    """Keeps entropy and loads of every gate; nothing of a form without gates.

    Args:
        tasks: Names.
        seeds: Trainings side by side.
        selection: Validation rows that choose the epoch.
    """

    def __init__(self, tasks: Sequence[str], seeds: int, selection: Rows) -> None:
        self.tasks, self.seeds, self.record = tasks, seeds, Record()
        places = np.unique(np.linspace(0, len(selection.features) - 1, ROWS).astype(np.int64))
        self.sample = selection.features[places], selection.codes[places]
        self.named: list[list[Any]] = []  # per gate its level, task and experts

    def look(self, step: int, networks: Mapping[int, Network]) -> dict[int, Report]:
        """Return what the gates of each seed do.

        Args:
            step: The last of the epoch, from 0.
            networks: In evaluation mode, by seed.
        """
        reports = {seed: gate_report(network, *self.sample, self.tasks) for seed, network in networks.items()}
        first = next(iter(reports.values()), [])
        if first:
            self.named = [[gate["level"], gate["task"], list(gate["load"])] for gate in first]
            found = torch.full((self.seeds, len(first), 1 + len(first[0]["load"])), torch.nan, dtype=torch.float64)
            for seed, report in reports.items():
                rows = [[gate["entropy"], *gate["load"].values()] for gate in report]
                found[seed] = torch.from_numpy(np.array(rows, dtype=np.float64))  # an entropy of None is NaN
            self.record.add(step, found)
        return reports

    def rows(self, steps_per_epoch: int) -> Iterator[dict[str, Any]]:
        """Yield a row per stretch of epochs, seed, gate and expert."""
        for step, of_seeds in zip(self.record.steps, self.record.kept, strict=True):
            for seed, found in enumerate(of_seeds.tolist()):
                for (level, task, experts), (entropy, *loads) in zip(self.named, found, strict=True):
                    where = {"seed": seed, "epoch": (step + 1) / steps_per_epoch, "level": level, "task": task}
                    for expert, load in zip(experts, loads, strict=True):
                        if load == load:  # this seed had not stopped
                            yield {**where, "expert": expert, "load": load, "entropy": entropy}

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return {"record": self.record.state_dict(), "named": self.named}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.record.load_state_dict(state["record"])
        self.named = state["named"]
