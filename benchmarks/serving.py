"""The exported file in turns with torch eager and with the files of the alone models, on the same raw rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from benchmarks.figures import BULKS, Measured
from benchmarks.measure import apiece, in_turns, rate, times_faster
from benchmarks.world import Size, World
from trunkline import stages
from trunkline.columns.encoder import Encoder
from trunkline.export.graph import Model, build_graph
from trunkline.serving.feeds import Feeds, Input, build_feeds
from trunkline.serving.session import open_model, start_session
from trunkline.tasks import TaskState
from trunkline.training.arm import load_arm

CALLS = 100  # in a row, where one takes a tenth of a millisecond
MILLISECOND = 1e-3


def measure_serving(world: World, size: Size) -> dict[str, Measured]:
    """Return figures for one row and in bulk."""
    torch.set_num_threads(1)
    encoder = world.encoded().encoder
    eager, _ = _torch_model(world, stages.SHARED, encoder)
    sessions = [start_session(_alone_graph(world, task, encoder)) for task in world.project.tasks]
    shared, front = open_model(world.root / stages.EXPORT / "model.onnx").session, start_session(_front(encoder))
    raw = _raw_rows(world, encoder, max(BULKS))

    def works(rows: int, calls: int) -> dict[str, Callable[[], object]]:
        feeds = {name: value[:rows] for name, value in raw.items()}
        coded = _coded(encoder, front, feeds)
        return {
            "shared": lambda: [shared.run(None, feeds) for _ in range(calls)],
            "torch": lambda: [_run_eager(eager, coded) for _ in range(calls)],
            "alone": lambda: [session.run(None, feeds) for _ in range(calls) for session in sessions],
        }

    one = in_turns(works(1, CALLS), size.serving_rounds)
    figures = {
        "serving.row": Measured.of(apiece(CALLS, one["shared"]), MILLISECOND),
        "serving.row.torch": Measured.of(times_faster(one["shared"], one["torch"])),
    }
    for rows in BULKS:
        bulk = in_turns(works(rows, 1), size.serving_rounds)
        figures |= {
            f"serving.{rows}.rate": Measured.of(rate(rows, bulk["shared"])),
            f"serving.{rows}.torch": Measured.of(times_faster(bulk["shared"], bulk["torch"])),
            f"serving.{rows}.alone": Measured.of(times_faster(bulk["shared"], bulk["alone"])),
        }
    return figures


def _torch_model(world: World, folder: Path, encoder: Encoder) -> tuple[Model, dict[str, TaskState]]:
    arm = load_arm(world.root / folder, encoder)
    corrections = [arm.corrections[arm.best_seed][name] for name in arm.states]
    return Model(encoder, arm.networks[arm.best_seed], list(arm.states.values()), corrections).eval(), arm.states


def _alone_graph(world: World, task: str, encoder: Encoder) -> bytes:
    model, states = _torch_model(world, stages.ALONE / task, encoder)
    return build_graph(model, encoder, states, {})


def _front(encoder: Encoder) -> bytes:
    return bytes(encoder.front().SerializeToString(deterministic=True))


def _raw_rows(world: World, encoder: Encoder, rows: int) -> Feeds:
    table = pq.read_table(world.root / stages.SPLIT / "rows.parquet")
    test = table.filter(pc.equal(table["side"], "test")).slice(0, rows)
    return build_feeds(test, [Input(name, kind) for name, kind in encoder.inputs])[0]


def _coded(encoder: Encoder, front: Any, feeds: Feeds) -> list[torch.Tensor]:
    """Return the raw rows as torch can take them: words are codes already, which spares torch that work."""
    words = encoder.of_kind("categorical")
    codes = dict(zip(words, front.run(None, {name: feeds[name] for name in words}), strict=True))
    return [torch.from_numpy(np.array(codes.get(name, feeds[name]))) for name, _ in encoder.inputs]


def _run_eager(model: Model, raw: list[torch.Tensor]) -> object:
    with torch.inference_mode():
        return model(*raw)
