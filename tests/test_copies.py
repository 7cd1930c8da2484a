"""What copies of a network predict together is the mean of what each predicts, whatever the kind of task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trunkline.tasks._copies import mean_prediction
from trunkline.tasks._modules import Correction, Predict
from trunkline.tasks._quantile import apart, in_order

LINE: dict[str, Any] = {"center": 3.0, "spread": 2.0, "clip": None}
STATES: dict[str, dict[str, Any]] = {
    "binary": {"outputs": 1},
    "multiclass": {"outputs": 3, "classes": ["a", "b", "c"]},
    "regression": {"outputs": 1, **LINE},
    "count": {"outputs": 1},
    "ordinal": {"outputs": 2, "classes": ["a", "b", "c"]},
    "quantile": {"outputs": 3, "quantiles": [0.1, 0.5, 0.9], "middle": 1, **LINE},
    "multilabel": {"outputs": 2, "labels": ["a", "b"]},
    "survival": {"outputs": 3, "cuts": [1.0, 2.0, 3.0]},
}


@pytest.mark.parametrize("kind", STATES)
def test_copies_predict_the_mean_of_their_predictions(kind: str) -> None:
    state = {"kind": kind, "bias": [0.0] * STATES[kind]["outputs"], **STATES[kind]}
    outputs = 3 * torch.randn(5, 40, state["outputs"], generator=torch.Generator().manual_seed(1))
    predict = Predict([state], [Correction()])
    each = torch.stack([predict(copy)[0] for copy in outputs])
    together = predict(mean_prediction([state], outputs))[0]
    torch.testing.assert_close(together, each.mean(dim=0), rtol=1e-4, atol=1e-5)
    stacked = mean_prediction([state], torch.stack([outputs, outputs + 1]))
    torch.testing.assert_close(stacked[0], mean_prediction([state], outputs))


def test_quantiles_are_taken_apart_as_they_were_put_together() -> None:
    outputs = 4 * torch.randn(100, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(apart(in_order(outputs, 2), 2), outputs)
