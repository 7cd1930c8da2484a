"""The exported file must say what torch says: on real rows, at the edges of every column, alone and in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trunkline.columns import KINDS
from trunkline.columns.encoder import Encoder
from trunkline.errors import GateError
from trunkline.export.graph import Model, conditional_outputs, derived_outputs, main_output, region_outputs
from trunkline.serving.session import start_session
from trunkline.tasks import TaskState, kind_of
from trunkline.tasks._modules import Region, head_of

TOLERANCE = 1e-5  # on probabilities; on values 1e-5 of the value plus 1e-5 of the target's standard deviation

Feeds = dict[str, np.ndarray[Any, Any]]


def boundary_feeds(encoder: Encoder, generator: np.random.Generator, rows: int = 512) -> Feeds:
    """Return rows made of every column's edge values: each edge at least once, then mixed at random.

    Missing values, infinities, unseen words, ends of days and the ends of the int64 range are among them.
    """
    feeds: Feeds = {}
    for name, state in encoder.states.items():
        kind = KINDS[state["kind"]]
        types: dict[str, Any] = {"float64": np.float64, "string": object, "int64": np.int64}
        edges = np.array(kind.boundary(state), dtype=types[kind.raw_type])
        extra = edges[generator.integers(0, len(edges), max(0, rows - len(edges)))]
        feeds[name] = np.concatenate([edges, extra])[:rows, None]
    return feeds


def torch_predictions(model: Model, encoder: Encoder, feeds: Feeds) -> list[np.ndarray[Any, Any]]:
    """Return torch's predictions and regions for raw feeds; words become codes by the fitted vocabulary, in Python."""
    raw = []
    for name, state in encoder.states.items():
        value = feeds[name]
        if state["kind"] == "categorical":
            place = {word: code for code, word in enumerate(state["vocabulary"], start=2)} | {"": 1}
            value = np.array([[place.get(str(word), 0)] for word in value[:, 0]], dtype=np.int64).reshape(-1, 1)
        raw.append(torch.from_numpy(np.array(value)))
    with torch.inference_mode():
        return [prediction.numpy() for prediction in model(*raw)]


def check_parity(
    model: Model, graph: bytes, encoder: Encoder, tasks: dict[str, TaskState], real: Feeds, seed: int, threads: int
) -> dict[str, Any]:
    """Compare the file with torch.

    Args:
        model: The torch side, in evaluation mode.
        graph: Bytes of the ONNX file.
        encoder: The fitted columns.
        tasks: The tasks' states by name.
        real: Raw feeds of real rows.
        seed: Draws the mixed boundary rows.
        threads: CPU threads of onnxruntime.

    Returns:
        Rows compared and the largest difference per task, for the card.

    Raises:
        GateError: They differ by more than the tolerance, or differ between one row and many; or a set differs where
            no probability is within the tolerance of its bound.
    """
    session = start_session(graph, threads)
    edges = boundary_feeds(encoder, np.random.default_rng(seed))
    regions = dict(zip(tasks, model.regions.regions, strict=True))
    largest = dict.fromkeys(tasks, 0.0)
    for feeds in (real, edges):
        expected = torch_predictions(model, encoder, feeds)
        _compare(session, tasks, regions, feeds, expected, "in one batch", largest)
    one, none = ({name: value[:rows] for name, value in edges.items()} for rows in (1, 0))
    expected = [part[:1] for part in torch_predictions(model, encoder, edges)]
    _compare(session, tasks, regions, one, expected, "alone", largest)
    _compare(session, tasks, regions, none, [part[:0] for part in expected], "of none", largest)
    count = len(next(iter(real.values())))
    return {"real_rows": count, "boundary_rows": len(next(iter(edges.values()))), "largest_difference": largest}


def _compare(
    session: Any,
    tasks: dict[str, TaskState],
    regions: dict[str, Region | None],
    feeds: Feeds,
    expected: list[np.ndarray[Any, Any]],
    batch: str,
    largest: dict[str, float],
) -> None:
    main = [main_output(name, state) for name, state in tasks.items()]
    parts = [*main, *derived_outputs(tasks), *conditional_outputs(tasks), *region_outputs(tasks, regions)]
    predictions = dict(zip(tasks, expected, strict=False))
    for part, found, wanted in zip(parts, session.run(parts, feeds), expected, strict=True):
        name, _, kind = part.partition(".")
        if not len(wanted):
            continue
        difference = np.abs(found.astype(np.float64) - wanted)
        region = regions[name]
        if kind == "set":
            assert region is not None
            allowed = _near_bounds(tasks[name], predictions[name], region).astype(np.float64)
        else:
            allowed = _allowed(tasks[name], kind, wanted)
            largest[name] = max(largest[name], float(difference.max()))
        if not (difference <= allowed).all():  # also refuses NaN
            row = int(np.argmax(np.where(np.isnan(difference), np.inf, difference - allowed).max(axis=1)))
            raw = {column: value[row, 0] for column, value in feeds.items()}
            raise GateError(
                f"export: task '{name}': the ONNX file gives {found[row].tolist()} where torch gives "
                f"{wanted[row].tolist()} as {kind} (row {row}, rows {batch}), more than {TOLERANCE:g} apart.\n"
                f"  Input: {raw}\n  The file was not published; please report this row"
            )


def _allowed(state: TaskState, kind: str, wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    spreads = {part.name: part.facts.get("spread") for part in kind_of(state).parts(state)}
    spread = spreads.get(kind, state.get("spread"))
    if spread is None:
        return np.full(wanted.shape, TOLERANCE)
    return np.asarray(TOLERANCE * np.abs(wanted.astype(np.float64)) + TOLERANCE * spread)


def _near_bounds(state: TaskState, prediction: np.ndarray[Any, Any], region: Region) -> np.ndarray[Any, Any]:
    """Return where a class may be in the set or not because its probability lies on the bound, bool [rows, classes]."""
    probability = head_of(state).chances(torch.from_numpy(prediction)).numpy()
    return np.asarray(np.abs(probability - np.array(region.bounds)) <= TOLERANCE)
