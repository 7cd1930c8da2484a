"""What the report advises: a world of figures for each diagnosis, and settings that params.yaml takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import REPOSITORY
from ruamel.yaml import YAML

from trunkline.errors import ParamsError
from trunkline.evaluation.advice import advise
from trunkline.evaluation.advice_case import Recipe
from trunkline.evaluation.advice_hurt import FEW_STEPS
from trunkline.evaluation.clues import train_loss
from trunkline.files import to_json
from trunkline.project import parse_project, read_yaml

SETTING = re.compile(r"`([\w.]+): ([^`]+)`")
TASKS = ("cancelled", "arr60", "air_time")
RECIPE = Recipe(
    normalize="constant",
    keep="last",
    epochs=3,
    weight_decay=0.001,
    width=256,
    dropout=0.2,
    balance="equal",
    batch=1024,
    sharing="hard",
    gate_dropout=None,
    every=20,
    weights=dict.fromkeys(TASKS, 1.0),
)
ROWS = {"train": 100_000, "validation": 20_000, "test": 20_000}


def task(verdict: str = "equivalent", gain: float | None = 0.001, **changes: Any) -> dict[str, Any]:
    """One task of evaluation.json: binary, with its transfer."""
    interval = None if gain is None else [gain - 0.004, gain + 0.004]
    transfer = {
        "gain": gain,
        "interval": interval,
        "gain_percent": None if gain is None else 1.0,
        "verdict": verdict,
        "seeds": 5,
        "margin": 0.0025,
        "needs": None,
        "seeds_needed": None,
        "row_deviation": 0.002,
    }
    return {
        "kind": "binary",
        "labelled": ROWS,
        "prevalence": changes.pop("prevalence", 0.4),
        "primary": changes.pop("primary", "roc_auc"),
        "alone": {"roc_auc": 0.8, "r2": 0.05},
        "transfer": transfer | changes,
    } | ({"kind": "regression"} if changes.pop("number", False) else {})


def evaluation(**tasks: dict[str, Any]) -> dict[str, Any]:
    """Content of evaluation.json; tasks that are not named made no difference."""
    held = {name: tasks.get(name) or task() for name in TASKS}
    verdicts = [each["transfer"]["verdict"] for each in held.values()]
    counts = {verdict: verdicts.count(verdict) for verdict in ("helped", "hurt", "equivalent", "inconclusive")}
    return {"tasks": held, "composite": {"delta_m_percent": 0.4, **counts}}


def affinity(cosine: float = 0.0, t: float = 0.0, norms: tuple[float, ...] = (1.0, 1.0, 1.0)) -> dict[str, Any]:
    """Section "affinity" of analysis.json: the first two tasks agree as given, the third with neither."""
    pair = {"tasks": ["cancelled", "arr60"], "cosine": cosine, "t": t, "conflict_rate": 0.5}
    return {
        "tasks": [*TASKS],
        "cosine": [[1, cosine, 0], [cosine, 1, 0], [0, 0, 1]],
        "norm": norms,
        "conflicts": [pair] if cosine < -0.1 and t < -3 else [],
    }


def history(gaps: Mapping[str, float], noise: float = 0.001) -> dict[str, str]:
    """Every arm's history.tsv of 5 seeds; a gap is what the shared model's loss on training rows lies above alone's."""

    def table(names: tuple[str, ...], gaps: Mapping[str, float]) -> str:
        parts = [f"{part}.{name}" for part in ("train", "validation") for name in names]
        lines = ["\t".join(["seed", "epoch", "composite", *parts])]
        for seed in range(5):
            for epoch in range(1, 4):
                own = [0.5 + 0.1 / epoch + noise * (seed % 3) * bool(gaps) + gaps.get(name, 0) for name in names]
                lines.append("\t".join(map(str, [seed, epoch, 0.5, *own, *[0.5] * len(names)])))
        return "\n".join(lines) + "\n"

    return {"shared": table(TASKS, gaps), **{name: table((name,), {}) for name in TASKS}}


def advice(
    of: dict[str, Any],
    recipe: Recipe = RECIPE,
    gaps: Mapping[str, float] | None = None,
    affinity: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    **tasks: Any,
) -> list[dict[str, Any]]:
    """Return the advice, as evaluation.json holds it."""
    analysis = {"tasks": tasks, "affinity": affinity, "training": training}
    return json.loads(to_json(advise(of, analysis, history(gaps or {}), recipe)))


def open_for_seeds(needed: int | None) -> dict[str, Any]:
    """What evaluation.json says of a task that so many trainings would decide."""
    return task("inconclusive", needs="seeds", seeds_needed=needed)


def seen(share: float = 1 / 3, alarms: tuple[str, ...] = (), collapsed: int = 0) -> dict[str, Any]:
    """Section "training" of analysis.json: of arr60 its share of the weights, alarms of these kinds, idle gates."""
    gate = {"level": 1, "load": {"own 1": 0.03, "shared 1": 0.97}, "busiest": "shared 1", "seeds": 5}
    return {
        "alarms": [{"kind": kind, "task": "arr60", "seen": "no row had a label"} for kind in alarms],
        "tasks": {"arr60": {"late": {"share": share}}},
        "gates": {"arr60": [gate | {"collapsed": collapsed}]},
    }


MMOE = replace(RECIPE, sharing="mmoe", gate_dropout=0.0)
FAILED = {"task": "arr60", "rule": "max_regret", "limit": 0.01, "value": 0.02, "bound": 0.02, "passed": False}
HURT = {"arr60": task("hurt", -0.02)}
FEW_ROWS = {name: task() | {"labelled": ROWS | {"train": 4_500}} for name in TASKS} | {
    "arr60": task("hurt", -0.02) | {"labelled": ROWS | {"train": 4_000}}
}
RARE = {"arr60": task("hurt", -0.02, prevalence=0.01)}
REGRET = {"checkpoint_regret": {"skill": 0.02, "best_epochs": [1, 1, 2, 1, 1]}}
WORLDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "not_normalised": ("training.normalize", HURT, {"recipe": replace(RECIPE, normalize="off")}),
    "drowned": ("balance.kind", HURT, {"affinity": affinity(norms=(1.0, 1.0, 45.0))}),
    "starved": ("balance.kind", HURT, {"recipe": replace(RECIPE, balance="mgda"), "training": seen(0.02)}),
    "without_labels": ("training.batch", HURT, {"training": seen(alarms=("unlabelled",))}),
    "idle_gate": ("sharing.gate_dropout", HURT, {"recipe": MMOE, "training": seen(collapsed=4)}),
    "too_few_steps": ("training.batch", FEW_ROWS, {"gaps": {"arr60": 0.03}, "affinity": affinity(-0.3, -6.0)}),
    "conflict": ("trunk.width", HURT, {"affinity": affinity(-0.3, -6.0)}),
    "too_little_room": ("trunk.width", HURT, {"gaps": {"arr60": 0.03}, "affinity": affinity()}),
    "outvoted": ("sharing.kind", RARE, {"gaps": {"arr60": 0.03}, "affinity": affinity()}),
    "overfit": ("tasks.arr60.weight", RARE, {"gaps": {"arr60": -0.03}}),
    "unexplained": ("training.epochs", HURT, {}),
    "no_score": ("", {"arr60": task("inconclusive", None, needs="rows")}, {}),
    "no_interval": (
        "training.seeds",
        {"arr60": task("inconclusive", interval=None, needs="seeds", seeds_needed=5)},
        {},
    ),
    "more_seeds": ("training.seeds", {"arr60": open_for_seeds(12)}, {}),
    "too_many_seeds": ("", {"arr60": open_for_seeds(400)}, {}),
    "more_rows": ("", {"arr60": task("inconclusive", needs="rows")}, {}),
    "checkpoint_regret": ("training.keep", {}, {"arr60": REGRET}),
    "one_task_composite": ("tasks.air_time.primary", {"air_time": task(gain_percent=40.0, primary="r2")}, {}),
    "few_labels_helped": ("", {"arr60": task("helped", 0.02, prevalence=0.01)}, {"affinity": affinity(0.3, 9.0)}),
    "all_equivalent": ("", {}, {}),
}
every_world = pytest.mark.parametrize("diagnosis", WORLDS)


def of_world(diagnosis: str) -> dict[str, Any]:
    """Return the one advice of a world that has its diagnosis."""
    _, tasks, settings = WORLDS[diagnosis]
    (found,) = [each for each in advice(evaluation(**tasks), **settings) if each["diagnosis"] == diagnosis]
    return found


# --- the table --------------------------------------------------------------------------------------------


@every_world
def test_each_diagnosis_is_reached_names_its_setting_and_shows_its_figures(diagnosis):
    found = of_world(diagnosis)
    first = SETTING.search(found["says"])
    assert (first[1] if first else "") == WORLDS[diagnosis][0]
    assert found["because"]
    assert 1 <= len(re.findall(r"\.(?= [A-Z]|$)", found["says"])) <= 3


@every_world
def test_every_setting_that_an_advice_names_is_one_that_params_takes(diagnosis):
    for key, value in SETTING.findall(of_world(diagnosis)["says"]):
        before, after = declared(diagnosis), with_setting(declared(diagnosis), key, value)
        assert parse_project(after) != parse_project(before), "nothing would change"


def test_more_epochs_are_not_advised_where_early_stop_ended_the_training_before_them():
    (found,) = advice(evaluation(**HURT), recipe=replace(RECIPE, keep="best", epochs=64, patience=3))
    assert "`training.early_stop.patience: 6`" in found["says"]
    assert "training.epochs" not in found["says"]
    assert parse_project(with_setting(declared("unexplained"), "training.early_stop.patience", "6"))


def test_a_setting_that_does_not_exist_would_be_noticed():
    with pytest.raises(ParamsError):
        parse_project(with_setting(declared("drowned"), "balance.kind", "no-such-kind"))
    with pytest.raises(ParamsError):
        parse_project(with_setting(declared("conflict"), "trunk.breadth", "512"))


def declared(diagnosis: str) -> dict[str, Any]:
    """Return params.yaml with the recipe of a world."""
    recipe = WORLDS[diagnosis][2].get("recipe", RECIPE)
    params = read_yaml(REPOSITORY / "params.yaml")
    names = ("normalize", "keep", "epochs", "weight_decay")
    params["training"] |= {"seeds": 1} | {name: getattr(recipe, name) for name in names}
    params["trunk"] |= {"width": recipe.width, "dropout": recipe.dropout}
    params["balance"], params["monitor"] = {"kind": recipe.balance}, {"every": recipe.every}
    params["sharing"] = {"kind": recipe.sharing}
    return params


def with_setting(params: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    """Return the params with one setting changed, the value read as YAML."""
    section = params
    *sections, last = key.split(".")
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = YAML(typ="safe").load(value)
    return params


def test_the_worst_comes_first_then_the_doubtful_then_what_may_stay():
    found = advice(
        evaluation(
            cancelled=open_for_seeds(9),
            arr60=task("hurt", -0.02),
            air_time=task("hurt", -0.4, margin=0.005),
        ),
        cancelled=REGRET,
    )
    assert [(each["task"], each["verdict"]) for each in found[:3]] == [
        ("air_time", "hurt"),
        ("arr60", "hurt"),
        ("cancelled", "inconclusive"),
    ]
    assert found[3]["diagnosis"] == "checkpoint_regret"


@pytest.mark.parametrize(
    "training", [seen(0.2), seen(collapsed=2), seen(alarms=("rising",)), {}, {"alarms": [], "tasks": {}, "gates": {}}]
)
def test_what_was_seen_of_a_training_counts_only_where_it_is_evidence(training):
    (found,) = advice(evaluation(**HURT), recipe=MMOE, training=training)
    assert found["diagnosis"] == "unexplained"
    quiet = advice(evaluation(), recipe=MMOE, training=seen(0.001, ("unlabelled",), collapsed=5))
    assert [each["diagnosis"] for each in quiet] == ["all_equivalent"], "nothing was hurt"


def test_a_weight_that_was_declared_small_is_not_starved():
    recipe = replace(RECIPE, weights=RECIPE.weights | {"arr60": 0.05})
    (found,) = advice(evaluation(**HURT), recipe=recipe, training=seen(0.05 / 2.05))
    assert found["diagnosis"] == "unexplained"
    (found,) = advice(evaluation(**HURT), recipe=replace(RECIPE, balance="log"), training=seen(0.01))
    assert (found["diagnosis"], found["because"]["say"]) == ("starved", pytest.approx(0.03))
    assert "Set `balance.kind: equal`" in found["says"]


@pytest.mark.parametrize(("sharing", "form"), [("hard", "cgc"), ("cgc", "ple"), ("ple", None)])
def test_tasks_at_odds_that_do_not_fit_their_training_rows_are_offered_layers_of_their_own(sharing, form):
    (found,) = advice(
        evaluation(**HURT),
        recipe=replace(RECIPE, sharing=sharing),
        gaps={"arr60": 0.03},
        affinity=affinity(-0.3, -6.0),
    )
    assert found["diagnosis"] == "conflict"
    settings = dict(SETTING.findall(found["says"]))
    assert settings.get("sharing.kind") == form
    assert found["because"]["train_loss_shared"] > found["because"]["train_loss_alone"]


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "repair"),
    [
        (4_500, 1024, 12, {"batch": 256}),  # 48 steps become 204
        (4_500, 256, 6, {"batch": 128}),
        (4_500, 256, 8, {}),  # 136 steps are enough
        (100_000, 1024, 1, {"batch": 512}),
        (300, 1024, 3, {"batch": 32, "epochs": 14}),  # 9 steps of 32 rows an epoch
        (10, 32, 3, {"epochs": 120}),
    ],
)
def test_few_steps_are_mended_by_smaller_steps_and_where_those_are_small_by_more_epochs(rows, batch, epochs, repair):
    tasks = {name: task() | {"labelled": ROWS | {"train": rows}} for name in TASKS}
    tasks["arr60"] = task("hurt", -0.02) | {"labelled": ROWS | {"train": rows // 2}}
    recipe = replace(RECIPE, batch=batch, epochs=epochs)
    (found,) = advice(evaluation(**tasks), recipe=recipe)
    assert found["diagnosis"] == ("too_few_steps" if repair else "unexplained")
    if repair:
        said = {key: int(value) for key, value in SETTING.findall(found["says"])}
        assert said == {f"training.{name}": value for name, value in repair.items()}
        mended = replace(recipe, **repair)
        assert max(1, rows // mended.batch) * mended.epochs >= FEW_STEPS > max(1, rows // batch) * epochs


def test_a_task_that_fits_its_training_rows_better_than_alone_did_not_lack_steps():
    (found,) = advice(evaluation(**FEW_ROWS), gaps={"arr60": -0.03})
    assert found["diagnosis"] == "overfit"


def test_a_rare_task_is_outvoted_only_where_it_fits_worse_and_has_no_layers_of_its_own():
    (found,) = advice(evaluation(**RARE), gaps={"arr60": 0.03})
    assert dict(SETTING.findall(found["says"])) == {"sharing.kind": "stem", "tasks.arr60.weight": "3"}
    assert found["because"]["labels"] == 1000
    (found,) = advice(evaluation(**HURT), gaps={"arr60": 0.03})
    assert found["diagnosis"] == "too_little_room", "it has as many labels as the others"
    (found,) = advice(evaluation(**RARE), gaps={"arr60": 0.03}, recipe=replace(RECIPE, sharing="stem"))
    assert found["diagnosis"] == "too_little_room", "it has layers of its own already"


def test_a_gate_on_regret_that_failed_while_others_gain_asks_for_the_worst_task_first():
    tasks = HURT | {"cancelled": task("helped", 0.02)}
    of = evaluation(**tasks) | {"gates": [FAILED]}

    def found(of: dict[str, Any], **recipe: Any) -> list[dict[str, Any]]:
        said = advice(of, recipe=replace(RECIPE, **recipe))
        return [each for each in said if each["diagnosis"] == "worst_regret"]

    (said,) = found(of)
    (key, value), *rest = SETTING.findall(said["says"])
    assert (key, rest) == ("balance", [])
    project = parse_project(with_setting(declared("conflict"), key, value))
    assert project.balance.kind == "tchebycheff"
    assert project.balance.reference == pytest.approx(dict.fromkeys(TASKS, 0.5), abs=0.001)
    assert (said["because"]["failed"], said["because"]["helped"]) == (["arr60"], ["cancelled"])
    assert found(evaluation(**tasks)) == []
    assert found(evaluation(**HURT) | {"gates": [FAILED]}) == [], "nobody has won what could be given"
    assert found(of, balance="tchebycheff") == []
    assert found(of, normalize="off") == []


def test_one_task_by_itself_shares_nothing_and_gets_no_advice():
    of = evaluation(arr60=task("hurt", -0.02))
    of["tasks"] = {"arr60": of["tasks"]["arr60"]}
    assert advice(of) == []


# --- hurt -------------------------------------------------------------------------------------------------


def test_normalisation_comes_before_whatever_the_distorted_figures_say():
    (found,) = advice(
        evaluation(**HURT),
        recipe=replace(RECIPE, normalize="off"),
        gaps={"arr60": 0.3},
        affinity=affinity(-0.3, -6.0, norms=(1.0, 0.1, 500.0)),
    )
    assert found["diagnosis"] == "not_normalised"
    assert "First set `training.normalize: constant`" in found["says"]
    assert found["because"]["gradient_norm_ratio"] == pytest.approx(5000)


@pytest.mark.parametrize(("cosine", "t"), [(-0.3, -2.0), (-0.05, -9.0), (0.0, 0.0), (0.4, 12.0)])
def test_gradients_that_oppose_half_of_the_time_or_by_chance_are_no_conflict(cosine, t):
    (found,) = advice(evaluation(**HURT), affinity=affinity(cosine, t))
    assert found["diagnosis"] == "unexplained"
    assert "50" not in found["says"] and "interfer" not in found["says"]


def test_a_conflict_between_other_tasks_explains_nothing():
    (found,) = advice(evaluation(air_time=task("hurt", -0.02)), affinity=affinity(-0.3, -6.0))
    assert found["diagnosis"] == "unexplained"


def test_a_training_loss_that_seeds_do_not_tell_from_alones_is_no_sign():
    quiet, loud = history({"arr60": 0.002}, noise=0.0), history({"arr60": 0.002}, noise=0.01)
    assert train_loss(quiet, "arr60").gap == pytest.approx(0.002)
    assert train_loss(loud, "arr60").gap == pytest.approx(0.01, abs=0.003)  # all seeds lie above, so it is told
    assert train_loss(history({"arr60": -0.009}, noise=0.01), "arr60").gap == 0
    assert train_loss(history({"arr60": 0.0002}, noise=0.0), "arr60").gap == 0


def test_a_task_that_over_fits_with_many_labels_keeps_its_weight():
    (found,) = advice(evaluation(**HURT), gaps={"arr60": -0.03})
    assert found["diagnosis"] == "overfit"
    assert [key for key, _ in SETTING.findall(found["says"])] == ["training.weight_decay", "trunk.dropout"]


def test_where_the_variances_are_learned_already_a_drowned_task_gets_more_weight():
    (found,) = advice(
        evaluation(**HURT), recipe=replace(RECIPE, balance="uncertainty"), affinity=affinity(norms=(1.0, 1.0, 45.0))
    )
    assert "`tasks.arr60.weight: 2`" in found["says"]


def test_without_measured_gradients_nothing_is_said_of_them():
    blind, seeing = (
        advice(evaluation(**HURT), gaps={"arr60": 0.03}, affinity=measured)[0]["says"]
        for measured in (None, affinity())
    )
    assert "gradient" not in blind and "gradient" in seeing
    assert "groups --confirm" not in blind and "groups --confirm" in seeing
    (found,) = advice(evaluation(**HURT), recipe=replace(RECIPE, every=0))
    assert SETTING.findall(found["says"])[0] == ("monitor.every", "20")


# --- the other verdicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("open_task", "diagnosis"),
    [
        (open_for_seeds(6), "more_seeds"),
        (open_for_seeds(100), "more_seeds"),
        (open_for_seeds(101), "too_many_seeds"),
        (open_for_seeds(None), "too_many_seeds"),
        (task("inconclusive", needs="rows"), "more_rows"),
        (task("inconclusive", gain=0.0, margin=0.0, needs="rows"), "more_rows"),
    ],
)
def test_an_open_verdict_asks_for_what_would_decide_it(open_task, diagnosis):
    (found,) = advice(evaluation(arr60=open_task))
    assert found["diagnosis"] == diagnosis
    assert "o not deploy on this evidence alone" in found["says"]


def test_the_rows_asked_for_would_show_a_gain_of_the_margin():
    (found,) = advice(evaluation(arr60=task("inconclusive", gain=0.0, row_deviation=0.005, needs="rows")))
    needed = found["because"]["test_rows_needed"]
    error = 0.005 * (ROWS["test"] / needed) ** 0.5  # a standard error falls with the root of the rows
    assert 0.0025 / error == pytest.approx(2.8, rel=0.03)  # 2.8 of them are found in 80 % of the cases


def test_an_average_that_several_tasks_make_is_left_alone():
    assert [each["diagnosis"] for each in advice(evaluation())] == ["all_equivalent"]
    assert advice(evaluation(arr60=task("helped", 0.02))) == []


def test_a_small_regret_is_not_mentioned():
    small = {"checkpoint_regret": {"skill": 0.004, "best_epochs": [2]}}
    assert [each["diagnosis"] for each in advice(evaluation(), arr60=small)] == ["all_equivalent"]


def test_a_helped_task_of_few_labels_learns_who_helped():
    of = evaluation(arr60=task("helped", 0.02, prevalence=0.01))
    (lonely,), (kin,) = (advice(of, affinity=measured) for measured in (None, affinity(0.3, 9.0)))
    assert (lonely["because"]["labels"], "ally" in lonely["because"]) == (1000, False)
    assert kin["because"]["ally"] == "cancelled" and "More rows of cancelled" in kin["says"]
