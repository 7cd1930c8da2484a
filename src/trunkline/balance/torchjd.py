"""Any other weighting of TorchJD that reads a Gramian, by its name there.

in      Gramian of the tasks' gradients         (tasks, tasks)
out     a weight per gradient                   (tasks,)
source  https://torchjd.org, aggregation
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trunkline.balance.base import Array, GradientMethod, Seen
from trunkline.declared import did_you_mean

Setting = float | int | str

KNOWN: dict[str, dict[str, type]] = {
    "AlignedMTL": {"scale_mode": str},
    "FairGrad": {"alpha": float, "max_iters": int},
    "IMTLG": {},
    "MGDA": {"epsilon": float, "max_iters": int},
    "Mean": {},
    "PCGrad": {},
    "Sum": {},
}
"""TorchJD's weightings that work here, each with its settings."""

NEEDED = {"FairGrad": "alpha"}
REFUSED = {
    "CAGrad": "it needs packages that are not installed; kind: cagrad is ours",
    "CRMOGM": "its memory cannot be resumed",
    "ConFIG": "it reads the gradients themselves; kind: imtl_g goes the same way",
    "DualProj": "it needs packages that are not installed; see kind: upgrad",
    "ExcessMTL": "its memory cannot be resumed",
    "GradDrop": "it reads the gradients themselves",
    "GradVac": "its memory cannot be resumed",
    "Krum": "it fails on a batch in which too few tasks have labels",
    "MoDo": "it wants the gradients of two batches",
    "NashMTL": "it needs packages that are not installed; kind: nash is ours",
    "PCD": "its memory cannot be resumed",
    "Random": "kind: random is ours",
    "SDMGrad": "it wants the gradients of two batches",
    "TrimmedMean": "it reads the gradients themselves",
    "UPGrad": "it needs packages that are not installed; kind: upgrad is ours",
}
SCALE_MODES = ("min", "median", "rmse")


class TorchJD(GradientMethod):
    """A method of the library TorchJD as it is. The kinds of this list are to be preferred where there is one."""

    kind: Literal["torchjd"]
    name: str = Field(description=f"One of {', '.join(KNOWN)}.")
    settings: dict[str, float | int | str] = Field({}, description="Its settings, as TorchJD calls them.")
    weighted: ClassVar[bool] = False

    @model_validator(mode="after")
    def _known(self) -> TorchJD:
        if problem := _problem(self.name, self.settings):
            raise ValueError(problem)
        return self

    def solve(self, seen: Seen) -> Array:
        """Return the weights that TorchJD's weighting gives."""
        return weigh_with(self.name, self.settings, seen.gramian, seen.stream)


def _problem(name: str, settings: Mapping[str, Setting]) -> str | None:
    """Return what is wrong with a name or its settings, without importing TorchJD."""
    if name in REFUSED:
        return f"TorchJD's {name} cannot be had here: {REFUSED[name]}"
    if name not in KNOWN:
        hint = did_you_mean(name, KNOWN) or f"; choose one of {', '.join(KNOWN)}"
        return f"'{name}' is no weighting of TorchJD that reads a Gramian{hint}"
    for word, value in settings.items():
        if word not in KNOWN[name]:
            return f"'{word}' is no setting of TorchJD's {name}; it has {', '.join(KNOWN[name]) or 'none'}"
        wanted = KNOWN[name][word]
        if not isinstance(value, (int, float) if wanted is float else wanted):
            return f"TorchJD's {name}: {word} is {value!r}; expected {'a number' if wanted is not str else 'a word'}"
        if wanted is not str and float(value) <= 0:
            return f"TorchJD's {name}: {word} is {value!r}; expected a number above 0"
    if name in NEEDED and NEEDED[name] not in settings:
        return f"TorchJD's {name} needs settings.{NEEDED[name]}"
    if settings.get("scale_mode", "min") not in SCALE_MODES:
        return f"TorchJD's {name}: scale_mode is {settings['scale_mode']!r}; choose one of {', '.join(SCALE_MODES)}"
    return None


def weigh_with(name: str, settings: Mapping[str, Setting], gramian: Array, stream: int) -> Array:
    """Return the weights that TorchJD's weighting `name` gives a Gramian.

    Args:
        name: Of the weighting, without "Weighting".
        settings: Its settings.
        gramian: float64 [tasks, tasks].
        stream: Seed of its draws; torch's own generator is left as it was.
    """
    import torch
    import torchjd.aggregation

    weighting = getattr(torchjd.aggregation, f"{name}Weighting")(**settings)
    # TorchJD's thresholds are absolute: a mean diagonal of 1 makes them relative.
    scale = float(np.diag(gramian).mean())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(stream)
        found: Array = weighting(torch.from_numpy(gramian / scale)).numpy()
    return found
