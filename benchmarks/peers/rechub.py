"""torch-rechub's training of a form: its model, its data generator, its trainer. Runs in an environment that has it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.peers.forms import BATCH, EMBEDDING, EPOCHS, NUMBERS, WEIGHT_DECAY, WORDS, Form, Model, Rows


def training(form: Form, sides: dict[str, Rows]) -> Callable[[int, float], Model]:
    """Return what trains anew with a seed and a learning rate.

    Args:
        form: To be built.
        sides: The rows.
    """
    import torch
    from torch_rechub.trainers import MTLTrainer
    from torch_rechub.utils.data import DataGenerator

    tasks = sides["train"]["labels"].shape[1]
    columns = {side: _columns(rows) for side, rows in sides.items()}
    train, validation = sides["train"]["labels"], sides["validation"]["labels"]

    def train_anew(seed: int, rate: float) -> Model:
        torch.manual_seed(seed)
        generator = DataGenerator(columns["train"], train)
        loaders = generator.generate_dataloader(
            x_val=columns["validation"], y_val=validation, x_test=columns["test"], y_test=sides["test"]["labels"],
            batch_size=BATCH,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder, _silence():
            trainer = MTLTrainer(
                _model(form, tasks), ["classification"] * tasks, torch.optim.AdamW,
                {"lr": rate, "weight_decay": WEIGHT_DECAY},
                n_epoch=EPOCHS, earlystop_patience=EPOCHS + 1, model_path=folder,
            )  # fmt: skip
            trainer.fit(loaders[0], loaders[1])
        learned = sum(weight.numel() for weight in trainer.model.parameters())
        return Model(lambda side: _scores(trainer.model, columns[side]), learned)

    return train_anew


def _columns(rows: Rows) -> dict[str, Any]:
    numbers = {f"number_{place}": rows["features"][:, place].copy() for place in range(NUMBERS)}
    return numbers | {f"word_{place}": rows["codes"][:, place].copy() for place in range(len(WORDS))}


def _model(form: Form, tasks: int) -> Any:
    from torch_rechub.basic.features import DenseFeature, SparseFeature
    from torch_rechub.models.multi_task import MMOE, PLE

    features = [SparseFeature(f"word_{place}", words, EMBEDDING) for place, words in enumerate(WORDS)]
    features += [DenseFeature(f"number_{place}") for place in range(NUMBERS)]
    types, expert, towers = ["classification"] * tasks, {"dims": list(form.widths)}, [{"dims": []}] * tasks
    if form.kind == "mmoe":
        return MMOE(features, types, form.shared, expert, towers)
    return PLE(features, types, form.levels, form.own, form.shared, expert, towers)


@contextlib.contextmanager
def _silence() -> Any:
    """Keep its lines off the screen: it prints losses, and bars of progress."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _scores(model: Any, columns: dict[str, Any]) -> Any:
    import torch

    model.eval()
    with torch.inference_mode():
        return model({name: torch.from_numpy(values) for name, values in columns.items()}).numpy()
