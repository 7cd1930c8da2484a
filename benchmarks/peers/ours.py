"""Our training of a form: `fit` as the train stage calls it, with one seed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.forms import BATCH, EMBEDDING, EPOCHS, NUMBERS, WEIGHT_DECAY, WORDS, Form, Model
from benchmarks.peers.forms import Rows as Plain

if TYPE_CHECKING:
    from trunkline.training.batches import Rows
    from trunkline.training.fit import Arm


def training(form: Form, sides: dict[str, Plain]) -> Callable[[int, float], Model]:
    """Return what trains anew with a seed and a learning rate.

    Args:
        form: To be built.
        sides: The rows.
    """
    from trunkline.training.checkpoint import Checkpoints
    from trunkline.training.fit import fit

    arm = _arm(form, sides["train"])
    train, validation = (_rows(sides[side]) for side in ("train", "validation"))

    def train_anew(seed: int, rate: float) -> Model:
        recipe = arm.training.model_copy(update={"learning_rate": rate})
        with tempfile.TemporaryDirectory() as folder:
            nowhere = Checkpoints(Path(folder), "peers")
            network = fit(replace(arm, training=recipe), train, validation, [seed], nowhere, lambda line: None)[
                0
            ].network
        learned = sum(weight.numel() for weight in network.parameters())
        return Model(lambda side: _scores(network, sides[side]), learned)

    return train_anew


def _arm(form: Form, train: Plain) -> Arm:
    from trunkline.balance import EqualWeights
    from trunkline.nets.declarations import MLPTrunk, read_sharing
    from trunkline.training.declarations import Training
    from trunkline.training.fit import Arm

    shares = train["labels"].mean(axis=0, dtype=np.float64)
    states = {f"t{place}": _state(float(share)) for place, share in enumerate(shares)}
    width, depth = form.widths[0], len(form.widths) * form.levels
    trunk = MLPTrunk(width=width, depth=depth, embedding=EMBEDDING, dropout=0)
    measures = {"width": width, "depth": depth}
    of_experts = {"kind": "mmoe", "experts": form.shared} if form.kind == "mmoe" else _ple(form)
    recipe = Training(epochs=EPOCHS, batch=BATCH, device="cpu", weight_decay=WEIGHT_DECAY)
    weights, sharing = dict.fromkeys(states, 1.0), read_sharing(of_experts | measures)
    return Arm("shared", states, weights, NUMBERS, list(WORDS), trunk, EqualWeights(), recipe, sharing=sharing)


def _ple(form: Form) -> dict[str, Any]:
    kind = {"kind": "cgc"} if form.levels == 1 else {"kind": "ple", "levels": form.levels}
    return {**kind, "shared_experts": form.shared, "own_experts": form.own}


def _state(share: float) -> dict[str, Any]:
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    return {"kind": "binary", "outputs": 1, "bias": [float(np.log(share / (1 - share)))], "constant_loss": entropy}


def _rows(side: Plain) -> Rows:
    import torch

    from trunkline.training.batches import Rows

    count = len(side["labels"])
    groups, weights = torch.zeros(count, 0, dtype=torch.int32), torch.zeros(count, 0)
    return Rows(side["features"], side["codes"], torch.from_numpy(side["labels"]), groups, weights)


def _scores(network: Any, side: Plain) -> Any:
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(side["features"]), torch.from_numpy(side["codes"])).numpy()
