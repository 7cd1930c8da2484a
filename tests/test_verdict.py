"""The verdict: planted effects are found, chance is not, and what cannot be told is not claimed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated import evidence

from trunkline.evaluation.bootstrap import Spread
from trunkline.evaluation.composite import Part, compose
from trunkline.evaluation.declarations import Evaluation
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.evaluation.score import evaluate_evidence, measure, score_task
from trunkline.evaluation.verdict import Gain, decide, holm, lacking, paired_p
from trunkline.files import to_json

DRAWS = Evaluation(draws=200)


def judged(*tasks: Evidence, evaluation: Evaluation = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Content of evaluation.json, as it reads once it went through the file."""
    rows = TestRows(np.arange(len(tasks[0].labels)))
    labelled = {task.name: {"train": 0, "validation": 0, "test": int(task.known.sum())} for task in tasks}
    return json.loads(to_json(evaluate_evidence(tasks, rows, evaluation, seed, labelled, None)))


def verdicts(content: dict[str, Any]) -> list[str]:
    return [task["transfer"]["verdict"] for task in content["tasks"].values()]


def gain(of_seeds: Sequence[float], margin: float = 0.01, row_noise: float = 0.0) -> Gain:
    """A gain of the given pairs, whose rows alone move it by a normal noise."""
    values = np.array(of_seeds, dtype=np.float64)
    generator = np.random.default_rng(0)
    rows = values.mean() + generator.normal(size=2000) * row_noise
    drawn = rows + values[generator.integers(0, len(values), (2000, len(values)))].mean(axis=1) - values.mean()
    return Gain(values, Spread(rows, drawn, len(values)), margin)


def around(mean: float, deviation: float, seeds: int = 5) -> list[float]:
    """Pairs with exactly this mean and standard deviation."""
    shape = np.linspace(-1, 1, seeds)
    return (mean + deviation * shape / shape.std(ddof=1)).tolist()


# --- worlds -----------------------------------------------------------------------------------------------


def test_two_trainings_of_one_recipe_are_seldom_told_apart() -> None:
    """Shared and alone differ by chance only; the row bootstrap alone would call them different every other time."""
    found: list[str] = []
    apart_by_rows = 0
    for repetition in range(40):
        content = judged(evidence(rows=1500, noise=0.1, seed=repetition), seed=repetition)
        found += verdicts(content)
        one = evidence(rows=1500, noise=0.1, seeds=1, seed=repetition)
        spread = measure(one, TestRows(np.arange(1500)), DRAWS, repetition).gain.spread
        low, high = (spread and spread.interval()) or (0.0, 0.0)
        apart_by_rows += low * high > 0
    assert sum(verdict in ("helped", "hurt") for verdict in found) <= 4
    assert apart_by_rows > 12, "the world cannot fail"


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, "helped"), (-0.4, "hurt")])
def test_what_sharing_brings_or_costs_is_found_with_five_trainings(shift: float, verdict: str) -> None:
    """The planted gain is about 3 standard deviations of the pairs."""
    found: list[str] = []
    sizes = []
    for repetition in range(15):
        content = judged(evidence(rows=3000, shift=shift, noise=0.06, seed=repetition), seed=repetition)
        found += verdicts(content)
        transfer = content["tasks"]["task"]["transfer"]
        sizes.append(abs(transfer["gain"]) / np.std(transfer["gains"], ddof=1))
        low, high = transfer["interval"]
        assert low < transfer["gain"] < high
    assert 2 < np.median(sizes) < 4
    assert found.count(verdict) >= 12
    assert set(found) <= {verdict, "inconclusive"}


def test_the_unit_of_a_metric_that_should_be_low_does_not_turn_the_verdict() -> None:
    for primary in ("r2", "mae", "rmse"):
        assert verdicts(judged(evidence(rows=3000, shift=0.5, primary=primary))) == ["helped"]
    for primary in ("roc_auc", "log_loss", "brier", "average_precision"):
        assert verdicts(judged(evidence("binary", rows=4000, shift=0.9, primary=primary))) == ["helped"]


def test_arms_that_hardly_differ_are_equivalent() -> None:
    assert verdicts(judged(evidence(rows=2000, noise=0.001))) == ["equivalent"]
    known = evidence(rows=500)
    same = judged(replace(known, alone=known.shared))["tasks"]["task"]["transfer"]
    assert same["verdict"] == "equivalent"
    assert same["gain"] == 0 and same["interval"] == [0, 0] and same["p"] == 1


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_fewer_than_five_trainings_claim_nothing_however_large_the_gain(seeds: int) -> None:
    task = judged(evidence(rows=1000, shift=0.9, noise=0.01, seeds=seeds))["tasks"]["task"]
    transfer = task["transfer"]
    assert transfer["verdict"] == "inconclusive"
    assert (transfer["interval"] is None) == (transfer["p"] is None) == (seeds == 1)
    assert (transfer["needs"], transfer["seeds_needed"]) == ("seeds", 5)
    assert task["intervals"]["exported"]["r2"] is not None
    assert len(transfer["gains"]) == transfer["seeds"] == seeds


def test_a_task_without_test_labels_or_with_one_class_has_no_verdict_and_spoils_no_other() -> None:
    good = evidence(name="good", rows=1000, shift=0.5)
    empty = replace(evidence("binary", name="empty", rows=1000), labels=np.full(1000, np.nan))
    calm = replace(evidence("binary", name="calm", rows=1000), labels=np.zeros(1000))
    content = judged(good, empty, calm)
    assert verdicts(content) == ["helped", "inconclusive", "inconclusive"]
    for name in ("empty", "calm"):
        transfer = content["tasks"][name]["transfer"]
        assert transfer["gain"] is transfer["interval"] is transfer["p_adjusted"] is transfer["margin"] is None
        assert (transfer["needs"], transfer["seeds_needed"]) == ("rows", None)
    assert content["tasks"]["calm"]["shared"]["brier"] is not None
    assert content["tasks"]["good"]["transfer"]["p_adjusted"] == content["tasks"]["good"]["transfer"]["p"]
    assert content["composite"]["delta_m_percent"] is None
    assert content["composite"]["worst_task"] == "good"


def test_a_row_without_a_label_is_no_row_of_the_task() -> None:
    known = evidence("binary", rows=600)
    more = replace(
        known,
        labels=np.concatenate([known.labels, np.full(50, np.nan)]),
        shared=np.concatenate([known.shared, known.shared[:, :50]], axis=1),
        alone=np.concatenate([known.alone, known.alone[:, :50]], axis=1),
    )
    fewer, whole = (judged(task)["tasks"]["task"] for task in (known, more))
    assert fewer["shared"] == whole["shared"] and fewer["transfer"]["gains"] == whole["transfer"]["gains"]


def test_the_same_seed_gives_the_same_bytes_and_another_other_draws() -> None:
    tasks = evidence("binary", name="a", rows=300), evidence(name="b", rows=300)
    first, again, other = (judged(*tasks, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["tasks"]["a"]["transfer"]["interval"] != other["tasks"]["a"]["transfer"]["interval"]
    assert first["tasks"]["a"]["transfer"]["gain"] == other["tasks"]["a"]["transfer"]["gain"]


# --- margin, skill ----------------------------------------------------------------------------------------


def test_the_margin_is_half_a_percent_of_the_way_from_constant_to_perfect_or_as_declared() -> None:
    tasks = evidence("binary", name="a", rows=500), evidence(name="b", rows=500), evidence("multiclass", "c", rows=500)
    margins = [task["transfer"]["margin"] for task in judged(*tasks)["tasks"].values()]
    commonest = np.bincount(tasks[2].labels.astype(int)).max() / 500
    assert margins == pytest.approx([0.0025, 0.005, 0.005 * (1 - commonest)], abs=1e-4)
    declared = judged(*tasks, evaluation=Evaluation(draws=200, margins={"b": 0.3}))
    assert declared["tasks"]["b"]["transfer"]["margin"] == 0.3


def test_skill_is_the_share_of_the_constant_predictions_loss_that_is_gone() -> None:
    known = evidence(rows=2000, shift=0.5, noise=0.01, loss="huber")
    skill = judged(known)["tasks"]["task"]["skill"]
    error = np.mean((known.labels - known.shared[0, :, 0]) ** 2)
    assert skill["exported"] == pytest.approx(1 - error / known.labels.var(), abs=1e-3)
    assert skill["gain"] == pytest.approx(skill["shared"] - skill["alone"])
    assert skill["interval"][0] < skill["gain"] < skill["interval"][1]
    constant = evidence("binary", rows=1000)
    level = np.full((5, 1000, 1), constant.state["prevalence"], dtype=np.float32)
    flat = judged(replace(constant, shared=level, alone=level))["tasks"]["task"]["skill"]
    assert flat["shared"] == pytest.approx(0, abs=1e-6)


def test_no_interval_of_a_score_reaches_beyond_perfect() -> None:
    task = judged(evidence("binary", rows=60, seeds=2, noise=2.0))["tasks"]["task"]
    for side in task["intervals"].values():
        assert side["roc_auc"][0] < side["roc_auc"][1] <= 1 and 0 <= side["brier"][0] < side["brier"][1]


def test_scores_without_labels_are_missing() -> None:
    known = evidence(rows=10)
    scores = score_task(known.task, known.state, np.full(10, np.nan), known.shared[0])
    assert list(scores) == list(known.task.metrics) and all(map(math.isnan, scores.values()))


# --- the rules --------------------------------------------------------------------------------------------


def test_holms_correction_knows_its_numbers() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    lost = holm({"a": 0.01, "b": math.nan})
    assert lost["a"] == 0.01 and math.isnan(lost["b"])


def test_p_is_that_of_the_paired_t_test() -> None:
    pairs = [0.01, 0.03, -0.01, 0.02, 0.04]
    assert paired_p(gain(pairs)) == pytest.approx(stats.ttest_1samp(pairs, 0).pvalue)
    assert paired_p(gain([0.25] * 5)) == 0 and paired_p(gain([0.0] * 5)) == 1
    assert math.isnan(paired_p(gain([0.02]))) and math.isnan(paired_p(gain([math.nan] * 5)))


RULES = [
    (gain(around(0.05, 0.01)), 0.001, "helped"),
    (gain(around(-0.05, 0.01)), 0.001, "hurt"),
    (gain(around(0.05, 0.01)), 0.06, "inconclusive"),  # the correction over tasks takes it back
    (gain(around(0.05, 0.01), row_noise=0.04), 0.001, "inconclusive"),  # other rows could turn it
    (gain(around(0.008, 0.001)), 0.001, "equivalent"),  # real, and too small to matter
    (gain(around(0.009, 0.002)), 0.001, "inconclusive"),  # may be larger than the margin
    (gain(around(0.0, 0.005)), 1.0, "equivalent"),
    (gain(around(0.0, 0.005), row_noise=0.01), 1.0, "inconclusive"),
    (gain(around(0.0, 0.02)), 1.0, "inconclusive"),
    (gain([0.0] * 5, margin=0.0), 1.0, "inconclusive"),
    (gain([0.25] * 5, margin=0.0), 0.0, "helped"),
]


@pytest.mark.parametrize(("known", "p_adjusted", "verdict"), RULES)
def test_a_verdict_needs_both_tests_and_the_margin(known: Gain, p_adjusted: float, verdict: str) -> None:
    assert decide(known, p_adjusted) == verdict


def test_the_number_of_trainings_that_is_named_decides_in_about_four_of_five_cases() -> None:
    for mean, deviation in [(0.02, 0.02), (0.0, 0.012)]:
        needs, seeds = lacking(gain(around(mean, deviation)), tasks=1)
        assert needs == "seeds" and seeds is not None and seeds > 5
        generator = np.random.default_rng(0)
        decided = 0
        for _ in range(300):
            repeated = gain(generator.normal(mean, deviation, seeds).tolist())
            decided += decide(repeated, paired_p(repeated)) != "inconclusive"
        assert 0.65 < decided / 300 < 0.95


def test_more_tasks_need_more_trainings_and_row_noise_cannot_be_trained_away() -> None:
    known = gain(around(0.02, 0.02))
    (_, alone), (_, among) = lacking(known, tasks=1), lacking(known, tasks=10)
    assert alone is not None and among is not None and alone < among
    (_, noisy) = lacking(gain(around(0.02, 0.02), row_noise=0.009), tasks=1)
    assert noisy is not None and alone < noisy
    assert lacking(gain(around(0.02, 0.02), row_noise=0.012), tasks=1) == ("rows", None)
    assert lacking(gain(around(0.0, 0.02), row_noise=0.012), tasks=1) == ("rows", None)
    assert lacking(gain(around(0.0099999, 0.02)), tasks=1) == ("seeds", None)  # on the margin: no number will do


# --- all tasks together -----------------------------------------------------------------------------------


def test_the_composite_averages_tasks_and_names_the_worst_by_its_share_of_the_way_to_perfect() -> None:
    content = judged(
        evidence("binary", name="auc", rows=2000, shift=0.5, weight=3.0),
        evidence(name="error", rows=2000, shift=-0.3, primary="mae"),
        evidence(name="same", rows=2000, noise=0.001),
    )
    tasks, composite = content["tasks"], content["composite"]
    percents = [task["transfer"]["gain_percent"] for task in tasks.values()]
    assert composite["delta_m_percent"] == pytest.approx(np.mean(percents))
    assert composite["interval"][0] < composite["delta_m_percent"] < composite["interval"][1]
    assert composite["worst_task"] == "error"
    assert composite["worst_gain"] == tasks["error"]["transfer"]["gain"] < 0
    assert composite["worst_interval"] == pytest.approx(tasks["error"]["transfer"]["interval"], rel=1e-6)
    skills = [task["skill"]["exported"] for task in tasks.values()]
    assert composite["utility"] == pytest.approx(np.average(skills, weights=[3, 1, 1]))
    counts = {name: composite[name] for name in ("helped", "hurt", "equivalent", "inconclusive")}
    assert counts == {word: verdicts(content).count(word) for word in counts}
    assert content["test_reads"] == {"selection": 0, "evaluate": 1, "export": 1}


def test_the_composites_interval_is_joint() -> None:
    """Two tasks of opposite luck: each is uncertain, their mean is not."""
    generator = np.random.default_rng(0)
    luck = generator.normal(size=2000)

    def part(sign: float) -> Part:
        values = 0.02 + sign * luck * 0.01
        pairs = 0.02 + sign * np.array([-1.0, 1, 0, 2, -2]) * 0.01
        return Part(Gain(pairs, Spread(values, values, 5), 0.01), 1.0, 1.0, 1.0, 0.5, "helped")

    alike, opposite = (compose({"a": part(1.0), "b": part(sign)})["interval"] for sign in (1.0, -1.0))
    assert opposite == pytest.approx([2.0, 2.0])
    assert alike[1] - alike[0] == pytest.approx(100 * 2 * 1.96 * 0.01, rel=0.1)


def test_the_worst_interval_is_of_whichever_task_is_the_worst_in_a_draw() -> None:
    generator = np.random.default_rng(0)
    draws = [0.02 + generator.normal(size=4000) * 0.01 for _ in range(3)]
    pairs = np.full(5, 0.02)
    parts = {
        str(place): Part(Gain(pairs, Spread(values, values, 5), 0.01), 1.0, 2.0, 1.0, 0.5, "helped")
        for place, values in enumerate(draws)
    }
    low, high = compose(parts)["worst_interval"]
    assert [low, high] == pytest.approx(np.quantile(np.min(draws, axis=0), [0.025, 0.975]).tolist())
