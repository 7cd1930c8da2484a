"""Confidences that are too large are put right, and intervals and sets hold what they promise."""

from __future__ import annotations

import numpy as np

from benchmarks.experiments.finding import Finding
from trunkline.tasks import TaskState
from trunkline.tasks._modules import Correction
from trunkline.tasks.binary import calibration_error
from trunkline.training.calibrate import fit_correction
from trunkline.training.conformal import fit_region, region_arrays

ROWS, FRESH, REPETITIONS, ASKED = 2000, 5000, 10, 0.9


def boasting(seed: int = 1) -> list[Finding]:
    """Return what the slope does to logits three times too large."""
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(seed)
    true = draw.normal(size=(4 * ROWS, 1))
    labels = (draw.random((4 * ROWS, 1)) < _sigmoid(true)).astype(float)
    state: TaskState = {"kind": "binary", "bias": [0.0], "outputs": 1, "prevalence": 0.5}
    fitted, fresh = slice(None, 2 * ROWS), slice(2 * ROWS, None)
    correction = fit_correction(state, (3 * true[fitted]).astype(np.float32), labels[fitted, 0], "slope")
    before, after = _sigmoid(3 * true[fresh]), _sigmoid(_corrected(3 * true[fresh], correction))
    errors = [calibration_error(each[:, 0], labels[fresh, 0]) for each in (before, after)]
    moved = roc_auc_score(labels[fresh], after) - roc_auc_score(labels[fresh], before)
    return [
        Finding("logits times 3: calibration error after, as a share of before", errors[1] / errors[0], 0, 1 / 3),
        Finding("change of ROC AUC", float(moved), -1e-9, 1e-9),
    ]


def held() -> list[Finding]:
    """Return the coverage of intervals and sets on fresh rows, mean over repetitions."""
    covered: dict[str, list[float]] = {"regression": [], "binary": []}
    for seed in range(REPETITIONS):
        draw = np.random.default_rng(seed)
        output = draw.normal(size=(ROWS + FRESH, 1)).astype(np.float32)
        number = output[:, 0] + draw.standard_t(3, ROWS + FRESH)
        state = {"kind": "regression", "spread": 1.0, "center": 0.0, "bias": [0.0], "outputs": 1}
        region = fit_region(state, Correction(), output[:ROWS], number[:ROWS], ASKED)
        lower, upper = region_arrays(state, region, output[ROWS:])
        covered["regression"].append(float(((lower[:, 0] <= number[ROWS:]) & (number[ROWS:] <= upper[:, 0])).mean()))
        label = (draw.random(ROWS + FRESH) < _sigmoid(output[:, 0] - 1)).astype(float)
        state = {"kind": "binary", "bias": [-1.0], "outputs": 1, "prevalence": 0.3}
        region = fit_region(state, Correction(), output[:ROWS], label[:ROWS], ASKED)
        sets = region_arrays(state, region, _sigmoid(output[ROWS:]))[0]
        covered["binary"].append(float(sets[np.arange(FRESH), label[ROWS:].astype(int)].mean()))
    return [
        Finding(f"{kind}: share held on {FRESH} fresh rows, 90 % asked", float(np.mean(shares)), 0.885, 0.915)
        for kind, shares in covered.items()
    ]


def _sigmoid(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return (1 / (1 + np.exp(-values))).astype(values.dtype)  # type: ignore[no-any-return]


def _corrected(logits: np.ndarray, correction: Correction) -> np.ndarray:  # type: ignore[type-arg]
    return correction.slope * logits + np.asarray(correction.shift)  # type: ignore[no-any-return]


def run() -> list[Finding]:
    """Do both."""
    return [*boasting(), *held()]
