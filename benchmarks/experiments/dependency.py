"""A purchase takes a click: the file must never say otherwise, and its second factor must be the true one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import Values, World, declared, prepare, quiet
from trunkline import stages
from trunkline.data.encode import read_encoder
from trunkline.export.graph import Model, build_graph
from trunkline.serving.session import start_session
from trunkline.training.arm import load_arm

INPUTS, ROWS = 8, (8000, 2000, 8000)


class Clicks(NamedTuple):
    """The world, and the true chance of a purchase after a click in each of its rows."""

    world: World
    after_click: Values


def clicks(seed: int = 1) -> Clicks:
    """Return clicks that follow from the inputs, and purchases that follow from others of them where there is one."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(sum(ROWS), INPUTS))
    tempted = inputs[:, :5] @ draw.normal(size=5) / 2
    wealthy = 3 * np.tanh(inputs[:, 3:] @ draw.normal(size=5) / 2)
    click = draw.random(len(inputs)) < _chance(tempted)
    after_click = _chance(wealthy)
    buy = click & (draw.random(len(inputs)) < after_click)
    return Clicks(World(inputs, {"click": click.astype(float), "buy": buy.astype(float)}, ROWS), after_click)


def _chance(logit: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-logit)))


def outputs(world: World, **buy: Any) -> dict[str, Values]:
    """Train both tasks together and return what the ONNX file gives for the test rows.

    Args:
        world: The rows.
        buy: Further settings of task buy.
    """
    tasks = {
        "click": {"kind": "binary", "target": "click"},
        "buy": {"kind": "binary", "target": "buy", **buy},
    }
    recipe = {"training": {"epochs": 8, "seeds": 1}, "calibration": {"kind": "none"}}
    project = declared(world, {}, tasks=tasks, **recipe)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepare(root, world, project)
        with quiet():
            stages.train(root, project)
        encoder = read_encoder(root / stages.ENCODED)
        arm = load_arm(root / stages.SHARED, encoder)
        states, corrections = list(arm.states.values()), [arm.corrections[0][task] for task in arm.states]
        graph = build_graph(Model(encoder, arm.networks[0], states, corrections).eval(), encoder, arm.states, {})
    session = start_session(graph, 1)
    feeds = {f"x{place}": values[-ROWS[2] :, None] for place, values in enumerate(world.inputs.T)}
    names = [output.name for output in session.get_outputs()]
    found = zip(names, session.run(names, feeds), strict=True)
    return {name: np.asarray(values)[:, 0] for name, values in found}


def impossible(found: dict[str, Values]) -> float:
    """Return the rows in which a purchase is likelier than the click that it takes."""
    return float((found["buy.probability"] > found["click.probability"]).sum())


def divergence(true: Values, found: Values) -> float:
    """Return the mean Kullback-Leibler divergence of found chances from the true ones."""
    found = np.clip(found.astype(np.float64), 1e-12, 1 - 1e-12)
    return float(np.mean(true * np.log(true / found) + (1 - true) * np.log((1 - true) / (1 - found))))


def run() -> list[Finding]:
    """Learn both forms of the conditional head, and heads that know nothing of each other as the control."""
    from sklearn.metrics import roc_auc_score

    world, after_click = clicks()
    clicked, bought = (world.targets[task][-ROWS[2] :] for task in ("click", "buy"))
    true = after_click[-ROWS[2] :]
    apart = impossible(outputs(world))
    found = [Finding("control, heads apart: share of rows with buy above click", apart / ROWS[2], low=0.005)]
    for form, furthest, least in (("masked", 0.04, 0.88), ("entire_space", 0.06, 0.86)):
        given = outputs(world, given={"click": True}, conditional=form)
        conditional = given["buy.conditional"]
        auc = float(roc_auc_score(bought[clicked == 1], conditional[clicked == 1]))
        found += [
            Finding(f"{form}: rows with buy above click", impossible(given), 0, 0),
            Finding(f"{form}: divergence of the chance after a click from the true one", divergence(true, conditional),
                    0, furthest),
            Finding(f"{form}: AUC of the chance after a click", auc, least),
        ]  # fmt: skip
    return found
