"""Balance: first laws over every method, known answers, planted conflicts, missing labels, and an exact resume."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torchjd.aggregation
from pydantic import TypeAdapter
from torch import Tensor
from world import params

from trunkline.balance import Balance, EqualWeights, LossMethod, Moment
from trunkline.balance.base import LEAST_LOSS, Seen
from trunkline.balance.mgda import shortest_mean
from trunkline.balance.torchjd import KNOWN, REFUSED
from trunkline.chance import stream_seed
from trunkline.errors import ParamsError
from trunkline.nets.declarations import MLPTrunk
from trunkline.project import parse_project
from trunkline.training.arm_files import weight_bytes
from trunkline.training.batches import Batch, Rows
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training
from trunkline.training.engine import gradients
from trunkline.training.fit import Arm, Fitted, _Trainer, fit

pytestmark = pytest.mark.usefixtures("one_thread")

READ = TypeAdapter(Balance)
METHODS = get_args(get_args(Balance)[0])
NEEDED: dict[str, dict[str, Any]] = {"torchjd": {"name": "FairGrad", "settings": {"alpha": 1.0}}}
KINDS = [get_args(method.model_fields["kind"].annotation)[0] for method in METHODS]
BY_LOSSES = [kind for kind, method in zip(KINDS, METHODS, strict=True) if issubclass(method, LossMethod)]
BY_GRADIENTS = [kind for kind in KINDS if kind not in BY_LOSSES]
SURGERIES = [kind for kind in BY_GRADIENTS if kind != "gradnorm"]  # which weighs what it has seen, not directions


def made(kind: str, **settings: Any) -> Any:
    return READ.validate_python({"kind": kind, **NEEDED.get(kind, {}), **settings})


def weights_of(method: Any, rows: np.ndarray, priorities: Tensor | None = None, stream: int = 0) -> np.ndarray:
    """The weights of gradients, one per row, as the engine gets them: through the module, from their Gramian."""
    tasks = len(rows)
    module = method.build([str(task) for task in range(tasks)], torch.ones(tasks) if priorities is None else priorities)
    module.used.zero_()
    gramian = torch.from_numpy(rows @ rows.T)
    module.find(gramian, torch.ones(tasks), torch.ones(tasks, dtype=torch.bool), Moment(0, [stream]))
    return module.used.double().numpy()


def step_of(method: Any, rows: np.ndarray, **more: Any) -> np.ndarray:
    return weights_of(method, rows, **more) @ rows


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def drawn(count: int = 12) -> Iterator[np.ndarray]:
    chance = np.random.default_rng(0)
    for _ in range(count):
        tasks = int(chance.integers(2, 11))
        yield chance.normal(size=(tasks, 20)) + 0.3 * chance.normal(size=20)


# --- first laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BY_GRADIENTS)
def test_a_single_gradient_is_left_as_it_is(kind: str) -> None:
    row = np.array([[3.0, -4.0, 0.5]])
    np.testing.assert_allclose(step_of(made(kind), row), row[0] * _single_scale(kind, row), rtol=1e-5)


def _single_scale(kind: str, row: np.ndarray) -> float:
    return weights_of(made(kind), row)[0] if kind == "torchjd" else 1.0  # TorchJD's FairGrad has a length of its own


@pytest.mark.parametrize("kind", BY_GRADIENTS)
def test_weights_are_finite_for_parallel_opposite_and_dependent_gradients(kind: str) -> None:
    base = next(drawn())
    for rows in (np.vstack([base, base]), np.vstack([base, -base]), np.ones((4, 3)), np.diag([1.0, 1e-4, 1e4]),
                 np.vstack([base[0], -base[0]]), np.vstack([base, 1e-7 * base[:1] + base[:1]])):  # fmt: skip
        assert np.isfinite(weights_of(made(kind), rows)).all()


@pytest.mark.parametrize("kind", [kind for kind in BY_GRADIENTS if kind != "pcgrad"])
def test_gradients_that_are_the_same_up_to_rounding_count_as_one_direction(kind: str) -> None:
    """float32 gradients of tasks that agree differ in the last bit; that difference is no direction to follow."""
    rows = next(drawn())[:1].repeat(2, axis=0)
    rows[1] *= 1 + 1e-7 * np.random.default_rng(0).normal(size=rows.shape[1])
    assert cosine(step_of(made(kind), rows), rows[0]) > 0.999


@pytest.mark.parametrize("kind", BY_GRADIENTS)
def test_a_task_without_gradient_is_as_if_it_were_not_there(kind: str) -> None:
    for rows in drawn(4):
        with_zero = weights_of(made(kind), np.insert(rows, 1, 0.0, axis=0))
        assert with_zero[1] == 0
        expected = weights_of(made(kind), rows)
        np.testing.assert_allclose(np.delete(with_zero, 1) @ rows, expected @ rows * _scale(with_zero, expected, rows))


def _scale(one: np.ndarray, other: np.ndarray, rows: np.ndarray) -> float:
    """Length may differ, direction not: declared weights count over all tasks."""
    return float(np.linalg.norm(np.delete(one, 1) @ rows) / np.linalg.norm(other @ rows))


@pytest.mark.parametrize("kind", BY_GRADIENTS)
def test_the_unit_of_all_losses_does_not_turn_the_step(kind: str) -> None:
    for rows in drawn(4):
        plain = step_of(made(kind), rows)
        for scale in (1e-6, 1e6):
            assert cosine(plain, step_of(made(kind), scale * rows)) > 0.999


@pytest.mark.parametrize("kind", [kind for kind in BY_GRADIENTS if kind != "pcgrad"])
def test_the_order_of_the_tasks_is_of_no_consequence(kind: str) -> None:
    for rows in drawn(4):
        order = np.random.default_rng(1).permutation(len(rows))
        found = weights_of(made(kind), rows[order])
        np.testing.assert_allclose(found, weights_of(made(kind), rows)[order], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["upgrad", "imtl_g", "nash"])
def test_the_length_of_one_gradient_does_not_turn_the_step(kind: str) -> None:
    for rows in drawn(6):
        scaled = rows * np.geomspace(1, 1000, len(rows))[:, None]
        assert cosine(step_of(made(kind), rows), step_of(made(kind), scaled)) > 0.999


def test_upgrad_hurts_no_task_where_the_plain_sum_does() -> None:
    plain = []
    for rows in drawn(40):
        scaled = rows * np.geomspace(1e4, 1, len(rows))[:, None]
        step = step_of(made("upgrad"), scaled)
        assert min(cosine(step, row) for row in scaled) >= -1e-3
        plain.append(min(cosine(scaled.mean(axis=0), row) for row in scaled))
    assert min(plain) < -0.1  # these worlds can fail


# --- known answers of the gradient methods ------------------------------------------------------------------------


def test_pcgrad_of_two_is_its_closed_form_and_its_order_follows_seed_and_step() -> None:
    a, b = np.array([1.0, 0.0]), np.array([-0.5, 1.0])
    expected = (a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a) / 2
    np.testing.assert_allclose(step_of(made("pcgrad"), np.vstack([a, b])), expected, rtol=1e-6)
    rows = np.random.default_rng(3).normal(size=(6, 5))
    first = step_of(made("pcgrad"), rows, stream=1)
    torch.manual_seed(5)  # torch's own generator has no say
    np.testing.assert_array_equal(first, step_of(made("pcgrad"), rows, stream=1))
    assert not np.allclose(first, step_of(made("pcgrad"), rows, stream=2))


def test_pcgrad_is_torchjds_in_the_same_order() -> None:
    for rows in drawn():
        with torch.random.fork_rng():
            torch.manual_seed(stream_seed(9, "balance", 0))
            theirs = torchjd.aggregation.PCGradWeighting()(torch.from_numpy(rows @ rows.T)).numpy()
        np.testing.assert_allclose(weights_of(made("pcgrad"), rows, stream=9), theirs / len(rows), rtol=1e-5, atol=1e-6)


def test_imtl_g_has_one_projection_on_every_gradient_where_torchjds_may_point_uphill() -> None:
    for rows in drawn():
        step = step_of(made("imtl_g"), rows)
        projections = rows @ step / np.linalg.norm(rows, axis=1)
        np.testing.assert_allclose(projections, projections.mean(), rtol=1e-4)
    near = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.1], [9e-4, 9e-4, 3e-4]])
    theirs = torchjd.aggregation.IMTLGWeighting()(torch.from_numpy(near @ near.T)).numpy()
    assert (near @ (theirs @ near) < 0).all()
    assert (near @ step_of(made("imtl_g"), near) > 0).all()


def test_nash_gives_each_task_the_inverse_of_its_weight_and_agrees_with_torchjds_fairgrad() -> None:
    for rows in drawn():
        for scales in (1.0, np.geomspace(1, 1000, len(rows))[:, None]):
            weights, gramian = weights_of(made("nash"), rows * scales), (rows * scales) @ (rows * scales).T
            bargain = weights * (gramian @ weights)
            assert np.abs(bargain / bargain.mean() - 1).max() < 1e-2
        theirs = torchjd.aggregation.FairGradWeighting(alpha=1.0)(torch.from_numpy(rows @ rows.T)).numpy()
        assert cosine(weights_of(made("nash"), rows) @ rows, theirs @ rows) > 0.9999


def test_aligned_mtl_is_torchjds_where_the_gradients_are_independent() -> None:
    for rows in drawn():
        theirs = torchjd.aggregation.AlignedMTLWeighting(scale_mode="rmse")(torch.from_numpy(rows @ rows.T)).numpy()
        np.testing.assert_allclose(weights_of(made("aligned_mtl"), rows), theirs, rtol=1e-4, atol=1e-6)


def test_mgda_is_the_shortest_mean_and_not_longer_than_torchjds() -> None:
    for rows in drawn():
        gramian = rows @ rows.T
        weights = shortest_mean(gramian)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
        # At the shortest point no gradient projects on it less than the point's own length squared.
        assert (gramian @ weights).min() >= weights @ gramian @ weights - 1e-8
        theirs = torchjd.aggregation.MGDAWeighting()(torch.from_numpy(gramian)).numpy()
        assert weights @ gramian @ weights <= theirs @ gramian @ theirs + 1e-9


def test_upgrad_is_the_mean_of_the_projections() -> None:
    """Each unit gradient's projection satisfies the conditions that name it: dual feasible, and complementary."""
    from scipy.optimize import minimize

    rows = np.random.default_rng(2).normal(size=(3, 3)) + np.array([0.3, 0.0, 0.0])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def projected(row: np.ndarray) -> np.ndarray:
        limits = [{"type": "ineq", "fun": lambda d, u=u: u @ d} for u in unit]
        options = {"ftol": 1e-14, "maxiter": 500}
        return minimize(lambda d: ((d - row) ** 2).sum(), row, constraints=limits, options=options).x

    expected = np.mean([projected(row) for row in unit], axis=0)
    assert cosine(expected, unit.mean(axis=0)) < 0.999  # something is projected
    assert cosine(step_of(made("upgrad"), rows), expected) > 1 - 1e-6


def test_cagrad_helps_the_worst_off_task_most_within_its_ball() -> None:
    from scipy.optimize import minimize

    for rows in drawn(6):
        mean, radius = rows.mean(axis=0), 0.4
        found = step_of(made("cagrad", radius=radius), rows)
        offsets = [found * scale - mean for scale in np.linspace(0.5, 5, 20_000)]
        inside = [mean + each for each in offsets if np.linalg.norm(each) <= radius * np.linalg.norm(mean) * 1.0001]
        ours = max(min(rows @ each) for each in inside)
        limits = [
            {"type": "ineq", "fun": lambda z, rows=rows: rows @ z[:-1] - z[-1]},
            {"type": "ineq", "fun": lambda z, m=mean: 0.16 * m @ m - ((z[:-1] - m) ** 2).sum()},
        ]
        start = np.append(mean, min(rows @ mean))
        best = -minimize(lambda z: -z[-1], start, constraints=limits, options={"maxiter": 500}).fun
        assert ours == pytest.approx(best, rel=2e-3, abs=2e-3)
    np.testing.assert_allclose(weights_of(made("cagrad", radius=0.0), rows), 1 / len(rows), rtol=1e-5)


def test_gradnorm_evens_out_the_lengths_and_lengthens_the_slow() -> None:
    rows = np.diag([1.0, 10.0, 100.0])
    for asymmetry, slower in ((0.0, 1.0), (1.0, 3.0)):
        kept = {"log_weights": np.zeros(3)}
        method, losses = made("gradnorm", asymmetry=asymmetry), np.array([3.0, 1.0, 1.0])
        for _ in range(100):
            lengths = method.solve(Seen(rows @ rows.T, np.ones(3), losses, kept, 0)) * np.diag(rows)
        np.testing.assert_allclose(lengths / lengths[1], [slower, 1, 1], rtol=1e-2)


@pytest.mark.parametrize("kind", ["imtl_g", "nash", "pcgrad", "upgrad", "aligned_mtl", "cagrad", "gradnorm"])
def test_a_declared_weight_turns_the_step_towards_its_task(kind: str) -> None:
    rows = np.eye(3)
    step = step_of(made(kind), rows, priorities=torch.tensor([4.0, 1.0, 1.0]))
    assert step[0] > 1.5 * step[1] == pytest.approx(1.5 * step[2])


# --- known answers of the loss methods ----------------------------------------------------------------------------


def pulls(method: Any, losses: list[float], known: list[bool] | None = None, weights: list[float] | None = None,
          module: Any = None, step: int = 0) -> np.ndarray:  # fmt: skip
    """The derivative of the one loss by each task's loss."""
    count = len(losses)
    if module is None:
        module = method.build([f"t{place}" for place in range(count)], torch.tensor(weights or [1.0] * count))
    of_tasks = torch.tensor(losses, requires_grad=True)
    seen = torch.tensor(known or [True] * count)
    module(of_tasks, seen, Moment(step, [7])).backward()
    assert of_tasks.grad is not None
    return of_tasks.grad.numpy()


def test_log_makes_a_percent_of_any_loss_worth_the_same_and_a_loss_of_0_bounded() -> None:
    found = pulls(made("log"), [1.0, 0.1, 0.0])
    np.testing.assert_allclose(found, [1 / 3 / (1 + LEAST_LOSS), 1 / 3 / (0.1 + LEAST_LOSS), 1 / 3 / LEAST_LOSS], 1e-5)


def test_equal_weights_with_declared_weights_are_manual_ones() -> None:
    np.testing.assert_allclose(pulls(made("equal"), [1.0, 0.5], weights=[3.0, 1.0]), [0.75, 0.25])


def test_tchebycheff_serves_the_task_that_is_worst_against_its_reference() -> None:
    assert pulls(made("tchebycheff"), [1.0, 0.2])[0] > 0.99
    found = pulls(made("tchebycheff", reference={"t0": 0.9}), [1.0, 0.6])
    assert found[1] > 0.99
    np.testing.assert_allclose(pulls(made("tchebycheff"), [0.7, 0.7]), 0.5)


def test_dwa_weighs_up_the_task_that_learned_least() -> None:
    method = made("dwa", every=2, temperature=1.0)
    module = method.build(["a", "b"], torch.ones(2))
    for step, losses in enumerate([[1.0, 1.0]] * 2 + [[1.0, 0.5]] * 2):
        np.testing.assert_allclose(pulls(method, losses, module=module, step=step), [0.5, 0.5])
    found = pulls(method, [1.0, 0.5], module=module, step=4)
    ratio = np.array([1.0, 0.5]) / (1 + LEAST_LOSS)
    np.testing.assert_allclose(found, np.exp(ratio) / np.exp(ratio).sum(), rtol=1e-5)


def test_famo_lowers_the_say_of_the_task_that_improved_most() -> None:
    method = made("famo")
    module = method.build(["a", "b"], torch.ones(2))
    np.testing.assert_allclose(pulls(method, [1.0, 1.0], module=module), [0.5, 0.5], rtol=1e-5)
    assert torch.equal(module.preferences.grad, torch.zeros(2))
    found = pulls(method, [0.9, 0.5], module=module, step=1)
    np.testing.assert_allclose(found[0] * (0.9 + LEAST_LOSS), found[1] * (0.5 + LEAST_LOSS), rtol=1e-5)  # log losses
    assert found.sum() == pytest.approx(1)
    slope = module.preferences.grad
    assert slope[1] > 0 > slope[0]  # descent takes from the second, which fell by half
    gains = np.log(np.array([1 + LEAST_LOSS] * 2)) - np.log(np.array([0.9, 0.5]) + LEAST_LOSS)
    np.testing.assert_allclose(slope, [0.25 * (gains[0] - gains[1]), 0.25 * (gains[1] - gains[0])], rtol=1e-4)


def test_random_weights_differ_by_step_and_seed_and_are_those_of_the_member_in_a_stack() -> None:
    module = made("random").build(["a", "b"], torch.ones(2))
    seen, losses = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    whole = module(losses, seen, Moment(3, [1, 2]))
    assert torch.equal(whole[1], module(losses[1], seen[1], Moment(3, [2])))
    others = [module(losses[0], seen[0], Moment(step, [seed])) for step, seed in ((3, 1), (4, 1), (3, 2))]
    assert len({float(other) for other in others}) == 3


@pytest.mark.parametrize("kind", BY_LOSSES)
def test_a_task_without_labels_moves_nothing_of_a_loss_method(kind: str) -> None:
    """Neither its weight nor what is learned or remembered about it; a batch without any label is harmless."""
    method = made(kind)
    module = method.build(["a", "b", "c"], torch.ones(3))
    pulls(method, [1.0, 0.8, 0.9], module=module, step=0)
    module.zero_grad()
    before = copy.deepcopy(module.state_dict())
    found = pulls(method, [1.0, 0.0, 0.9], [True, False, True], module=module, step=1)
    assert found[0] > 0 and np.isfinite(found).all()
    for name, value in module.state_dict().items():
        if name in dict(module.named_parameters()):
            assert module.get_parameter(name).grad[1] == 0
        elif kind != "famo":  # which forgets what it cannot compare
            torch.testing.assert_close(value[1], before[name][1], rtol=0, atol=0, equal_nan=True)
    assert np.isfinite(pulls(method, [0.0] * 3, [False] * 3, module=module, step=2)).all()


# --- declarations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_is_read_from_params(kind: str) -> None:
    assert parse_project(params(balance={"kind": kind, **NEEDED.get(kind, {})})).balance.kind == kind


def test_reading_every_method_imports_no_torch() -> None:
    program = "import sys, trunkline.project; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("balance", "said"),
    [
        ({"kind": "torchjd", "name": "IMTLL"}, "'IMTLL' is no weighting of TorchJD .* did you mean 'IMTLG'"),
        ({"kind": "torchjd", "name": "UPGrad"}, "kind: upgrad is ours"),
        ({"kind": "torchjd", "name": "FairGrad"}, "needs settings.alpha"),
        ({"kind": "torchjd", "name": "MGDA", "settings": {"c": 1}}, "'c' is no setting of TorchJD's MGDA"),
        ({"kind": "torchjd", "name": "MGDA", "settings": {"epsilon": "x"}}, "expected a number"),
        ({"kind": "torchjd", "name": "AlignedMTL", "settings": {"scale_mode": "max"}}, "choose one of min, median"),
        ({"kind": "tchebycheff", "reference": {"chrun": 0.5}}, "'chrun' is no task; did you mean 'churn'"),
        ({"kind": "pcgrad", "level": "first"}, "balance.level: 'first' is unknown"),
    ],
)
def test_what_cannot_be_had_is_refused_when_params_are_read(balance: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        parse_project(params(balance=balance))


def test_settings_that_would_say_nothing_are_refused() -> None:
    weighty = params(balance={"kind": "mgda"})
    weighty["tasks"]["churn"]["weight"] = 2.0
    with pytest.raises(ParamsError, match=r"tasks\.churn\.weight: says nothing under balance\.kind: mgda"):
        parse_project(weighty)
    with pytest.raises(ParamsError, match=r"set training\.normalize: constant"):
        parse_project(params(balance={"kind": "tchebycheff"}, training={"normalize": "off"}))


def test_the_list_of_torchjds_weightings_is_whole() -> None:
    theirs = {name.removesuffix("Weighting") for name in dir(torchjd.aggregation) if name.endswith("Weighting")}
    assert theirs - {"", "Constant"} <= KNOWN.keys() | REFUSED.keys()
    for name in KNOWN:
        found = weights_of(made("torchjd", name=name, settings={"alpha": 1.0} if name == "FairGrad" else {}), np.eye(3))
        assert np.isfinite(found).all()


# --- in the training ----------------------------------------------------------------------------------------------


def regression(count: int) -> dict[str, Any]:
    state = {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "loss": "squared"}
    return {f"t{place}": {**state, "spread": 1.0, "center": 0.0, "clip": None} for place in range(count)}


def arm_of(balance: Any, tasks: int, width: int, trunk: MLPTrunk, **recipe: Any) -> Arm:
    training = Training(**{"seeds": 1, "epochs": 4, "batch": 64, "learning_rate": 0.01, "device": "cpu", **recipe})
    return Arm("shared", regression(tasks), {f"t{place}": 1.0 for place in range(tasks)}, width, [], trunk, balance,
               training)  # fmt: skip


def rows_of(inputs: np.ndarray, targets: np.ndarray) -> Rows:
    count = len(inputs)
    nothing = torch.zeros(count, 0, dtype=torch.int32)
    return Rows(
        inputs.astype(np.float32), nothing.numpy(), torch.from_numpy(targets).float(), nothing, torch.zeros(count, 0)
    )


def trained(arm: Arm, train: Rows, folder: Path, seeds: tuple[int, ...] = (5,)) -> list[Fitted]:
    return fit(arm, train, train, seeds, Checkpoints(folder, "x"), lambda line: None)


def related(tasks: int = 4, count: int = 640, missing: float = 0.0) -> Rows:
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(count, 6))
    targets = np.tanh(inputs @ chance.normal(size=(6, tasks))) * 1.4 + 0.3 * chance.normal(size=(count, tasks))
    targets = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    targets[chance.random(targets.shape) < missing] = np.nan
    return rows_of(inputs, targets)


SMALL = MLPTrunk(width=16, depth=2, dropout=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_resumes_with_the_bytes_of_an_undisturbed_training(kind: str, tmp_path: Path) -> None:
    """Three seeds together also end as each by itself."""
    rows = related()
    settings = {"every": 3, "rows": 16} if kind in BY_GRADIENTS else {"every": 3} if kind == "dwa" else {}
    arm = arm_of(made(kind, **settings), 4, 6, SMALL, epochs=3)
    whole = [weight_bytes(each.network) for each in trained(arm, rows, tmp_path / "whole", (5, 6, 7))]
    single = trained(arm, rows, tmp_path / "single", (6,))
    assert weight_bytes(single[0].network) == whole[1]
    folder = Checkpoints(tmp_path / "cut", "x")
    cut = _Trainer(arm, rows, rows, (5, 6, 7), folder, lambda line: None, None)
    cut._end_epoch(cut._train_epoch())
    folder.save(cut._state())
    lines: list[str] = []
    resumed = fit(arm, rows, rows, (5, 6, 7), folder, lines.append)
    assert lines[0].startswith("resumes after epoch 1")
    assert [weight_bytes(each.network) for each in resumed] == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_stack_steps_as_its_members_do(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a GPU, here on the CPU, for a few steps: later, rounding may turn a projection on or off."""
    rows = related(count=256)
    settings: dict[str, Any] = {"every": 2, "rows": None} if kind in BY_GRADIENTS else {}
    arm = arm_of(made(kind, **settings), 4, 6, SMALL, epochs=1)
    members = trained(arm, rows, tmp_path / "a", (5, 6))
    monkeypatch.setattr("trunkline.training.fit.runs_whole", lambda device: True)
    whole = trained(arm, rows, tmp_path / "b", (5, 6))
    for one, other in zip(members, whole, strict=True):
        for name, value in one.network.state_dict().items():
            torch.testing.assert_close(other.network.state_dict()[name], value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", BY_GRADIENTS)
def test_all_shared_parameters_may_be_looked_at(kind: str, tmp_path: Path) -> None:
    arm = arm_of(made(kind, level="all", every=2), 4, 6, SMALL, epochs=1)
    fitted = trained(arm, related(count=256), tmp_path)[0]
    assert fitted.composite > 0


def one_step(balance: Any, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], Any]:
    """The gradients of a single step, those of each task's loss, and the trainer."""
    rows = related()
    trainer = _Trainer(arm_of(balance, 4, 6, MLPTrunk(width=16, depth=2, dropout=0.0)), rows, rows, (5,),
                       Checkpoints(folder, "x"), lambda line: None, None)  # fmt: skip
    batch = Batch(*(part[None, :64] for part in rows.take(torch.arange(64), torch.device("cpu"))))
    network = trainer.members[0].network
    parameters = dict(network.named_parameters())
    losses = trainer.losses(network(batch.of(0).features, batch.of(0).codes), batch.of(0).targets)
    found = dict(zip(parameters, gradients(losses, list(parameters.values())), strict=True))
    trainer.recipe = trainer.recipe.model_copy(update={"clip": 1e9})
    trainer._step(batch, [True], 0)
    return {name: weight.grad for name, weight in parameters.items()}, found, trainer


@pytest.mark.parametrize(("level", "rows"), [("last", None), ("last", 32), ("all", None)])
def test_a_step_weighs_the_shared_layers_and_leaves_each_head_its_own(
    level: str, rows: int | None, tmp_path: Path
) -> None:
    stepped, of_tasks, trainer = one_step(made("nash", level=level, rows=rows), tmp_path)
    used = trainer.members[0].balance.used
    assert used.std() > 0.01
    for name, gradient in stepped.items():
        weights = torch.full((4,), 0.25) if name.startswith("heads") else used
        torch.testing.assert_close(gradient.flatten(), weights @ of_tasks[name], atol=1e-6, rtol=1e-4)


def test_weights_follow_from_the_last_shared_layer_or_from_all(tmp_path: Path) -> None:
    for level in ("last", "all"):
        _, of_tasks, trainer = one_step(made("nash", level=level, rows=None), tmp_path / level)
        chosen = [name for name in of_tasks if not name.startswith("heads")]
        chosen = chosen if level == "all" else chosen[-2:]
        rows = torch.cat([of_tasks[name] for name in chosen], dim=1).double().numpy()
        expected = weights_of(made("nash"), rows, stream=5)
        np.testing.assert_allclose(trainer.members[0].balance.used.numpy(), expected, rtol=1e-3)


class RankOne(torch.nn.Module):
    """One number, a linear one, is all that two tasks share."""

    def __init__(self, generator: torch.Generator) -> None:
        from trunkline.nets.stack import Linear

        super().__init__()
        self.trunk, self.heads = Linear(10, 1), Linear(1, 2)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        with torch.no_grad():
            self.heads.weight.mul_(0.3)
            self.heads.bias.zero_()

    @property
    def last_shared(self) -> torch.nn.Module:
        return self.trunk

    @property
    def own_weights(self) -> list[torch.nn.Parameter]:
        return list(self.heads.parameters())

    def look_at(self, features: Any) -> None:
        pass

    def combined(self, outputs: Tensor, as_trained: bool = False) -> Tensor:
        return outputs

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        outputs: Tensor = self.heads(self.trunk(features))
        return outputs


def conflict() -> Rows:
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(2048, 10))
    second = np.sqrt(0.8) * inputs[:, 1] + np.sqrt(0.2) * chance.normal(size=2048)
    return rows_of(inputs, np.stack([inputs[:, 0], second], axis=1))


@pytest.mark.parametrize(
    ("balance", "low", "high"),
    [
        ({"kind": "equal"}, -1.0, 0.1),
        ({"kind": "tchebycheff"}, 0.35, 1.0),
        *[({"kind": kind, "level": level, "every": 1, "rows": None}, 0.15, 1.0)
          for kind, level in itertools.product(("pcgrad", "upgrad", "imtl_g"), ("last", "all"))],
    ],
)  # fmt: skip
def test_two_tasks_that_need_one_number_each(
    balance: dict[str, Any], low: float, high: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharing one number, equal weights give one task everything; what looks after both does not."""
    monkeypatch.setattr("trunkline.training.fit.Network", lambda *parts: RankOne(parts[4]))
    arm = arm_of(made(**balance), 2, 10, MLPTrunk(), epochs=16, batch=128, learning_rate=0.02, weight_decay=0.0)
    fitted = trained(arm, conflict(), tmp_path)[0]
    worst = min(1 - fitted.history[-1][f"validation.t{task}"] for task in range(2))
    assert low <= worst <= high


@pytest.mark.parametrize("kind", KINDS)
def test_twelve_tasks_with_few_labels_train_on_without_a_stall(kind: str, tmp_path: Path) -> None:
    """Nine in ten labels are missing, some batches have none of a task, some rows have a single one."""
    rows = related(tasks=12, count=512, missing=0.9)
    assert (rows.targets[:8].isnan().all(dim=0)).any()
    settings = {"rows": 8, "every": 2} if kind in BY_GRADIENTS else {}
    arm = arm_of(made(kind, **settings), 12, 6, SMALL, epochs=6, batch=16)
    fitted = trained(arm, rows, tmp_path)[0]
    assert all(np.isfinite(value) for row in fitted.history for value in row.values())
    assert fitted.history[-1]["composite"] > max(0.02, fitted.history[0]["composite"])


def test_rows_without_labels_leave_the_losses_as_they_are(tmp_path: Path) -> None:
    rows = related(count=128)
    targets = torch.cat([rows.targets, torch.full_like(rows.targets, torch.nan)])
    more = Rows(
        *(np.vstack([part, part]) for part in rows[:2]), targets, rows.groups.repeat(2, 1), rows.weights.repeat(2, 1)
    )
    trainer = _Trainer(arm_of(EqualWeights(), 4, 6, SMALL), rows, rows, (5,), Checkpoints(tmp_path, "x"),
                       lambda line: None, None)  # fmt: skip
    network = trainer.members[0].network.eval()
    found = []
    for each in (rows, more):
        batch = each.take(torch.arange(len(each.features)), torch.device("cpu"))
        losses = trainer.losses(network(batch.features, batch.codes), batch.targets)
        found.append([losses, *gradients(losses, list(network.parameters()))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
