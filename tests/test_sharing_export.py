"""Every form of sharing learns a planted world, and the exported file says what torch says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_nets import FORMS, HARD_TRUNKS, TRUNKS, kinds
from world import split_project

from trunkline import stages
from trunkline.data.encode import read_encoder
from trunkline.export.graph import Model, build_graph
from trunkline.export.parity import boundary_feeds, check_parity
from trunkline.files import read_json
from trunkline.nets.numbers import Numbers
from trunkline.training.arm import load_arm

NUMBERS = [{"numbers": kind} for kind in kinds(Numbers)[1:]]
CASES = [(form, TRUNKS[0]) for form in FORMS] + [(FORMS[0], trunk) for trunk in TRUNKS[1:] + HARD_TRUNKS + NUMBERS]


@pytest.mark.parametrize(("form", "trunk"), CASES, ids=lambda part: "-".join(map(str, part.values())))
def test_a_form_learns_and_its_file_says_what_torch_says(
    tmp_path: Path, form: dict[str, object], trunk: dict[str, object]
) -> None:
    project = split_project(tmp_path, 1200, sharing=form, trunk={"width": None, "size": "small", **trunk})
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    run = read_json(tmp_path / "models" / "shared" / "run.json")
    assert run["seeds"][0]["composite"] > 0.3  # 0 = constant predictions
    encoder = read_encoder(tmp_path / "data" / "encoded")
    arm = load_arm(tmp_path / "models" / "shared", encoder)
    states, corrections = list(arm.states.values()), [arm.corrections[0][name] for name in arm.states]
    model = Model(encoder, arm.networks[0], states, corrections).eval()
    graph = build_graph(model, encoder, arm.states, {})
    real = boundary_feeds(encoder, np.random.default_rng(5), 64)
    check_parity(model, graph, encoder, arm.states, real, 0, 1)
