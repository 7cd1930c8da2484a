"""The torch side of the column kinds: raw tensors in, prepared tensors out, all float64 until the last step.

Columns of one kind are prepared together, so that the graph does not grow with their number. Only operations
whose export is exact are used: `//` and `%` on int64, never `torch.div(rounding_mode=...)`, which goes through
float32; `isfinite`, never `isnan` alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.columns.base import ColumnState
from trunkline.columns.timestamp import CYCLE_SECONDS, MISSING_TIME

FEATURE_LIMIT = 20.0
SHORTEST_RUN = 1e-290  # between two knots; a slope over less does not fit a float64


class PrepareNumeric(nn.Module):
    """Put numeric columns on their scale.

    Args:
        states: The columns' states, in their order.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    spread: Tensor
    flagged: Tensor
    quantile: Tensor
    standard: Tensor
    restore: Tensor

    def __init__(self, states: list[ColumnState]) -> None:
        super().__init__()

        def column(key: str) -> Tensor:
            return torch.tensor([float(state[key]) for state in states], dtype=torch.float64)

        self.register_buffer("low", column("low"))
        self.register_buffer("high", column("high"))
        self.register_buffer("center", column("center"))
        self.register_buffer("spread", column("spread"))
        flagged = [place for place, state in enumerate(states) if state["flag"]]
        self.register_buffer("flagged", torch.tensor(flagged, dtype=torch.int64))
        quantile = [place for place, state in enumerate(states) if state["scale"] == "quantile"]
        self.register_buffer("quantile", torch.tensor(quantile, dtype=torch.int64))
        self.table = _NormalTable([states[place] for place in quantile]) if quantile else None
        order = [place for place in range(len(states)) if place not in set(quantile)] + quantile
        self.register_buffer("standard", torch.tensor(order[: len(states) - len(quantile)], dtype=torch.int64))
        self.register_buffer("restore", torch.tensor(np.argsort(order), dtype=torch.int64))
        self.width = len(states) + len(flagged)

    def forward(self, raw: Tensor) -> Tensor:
        """Return float32 features [rows, width] for raw float64 [rows, columns]."""
        finite = torch.isfinite(raw)
        known = torch.where(finite, raw, self.center)
        clipped = torch.minimum(torch.maximum(known, self.low), self.high)
        scaled = (clipped - self.center) / self.spread
        if self.table is not None:
            normal = self.table(clipped[:, self.quantile])
            scaled = torch.cat([scaled[:, self.standard], normal], dim=1)[:, self.restore]
        scaled = torch.where(finite, scaled.clamp(-FEATURE_LIMIT, FEATURE_LIMIT), 0.0)
        features = scaled.to(torch.float32)
        if len(self.flagged):
            features = torch.cat([features, (~finite[:, self.flagged]).to(torch.float32)], dim=1)
        return features


class _NormalTable(nn.Module):
    """Piecewise-linear maps, one per column, found by a branchless binary search in one flat table.

    `searchsorted` does not export; gathers and comparisons do, and treat all columns at once.
    """

    search: Tensor
    start: Tensor
    value: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, states: list[ColumnState]) -> None:
        super().__init__()
        longest = max(len(state["knots"]) for state in states)
        self.steps = [1 << power for power in reversed(range(max(1, math.ceil(math.log2(longest)))))]
        size = 2 * self.steps[0]
        knots = np.full((len(states), size + 1), np.inf)
        normal = np.zeros((len(states), size + 1))
        for place, state in enumerate(states):
            count = len(state["knots"])
            knots[place, :count], normal[place, :count] = state["knots"], state["normal"]
            normal[place, count:] = state["normal"][-1]
        rise = np.diff(normal, axis=1)
        with np.errstate(invalid="ignore"):
            run = np.diff(knots, axis=1)
        rising = np.isfinite(run) & (run > SHORTEST_RUN)
        slope = np.where(rising, rise / np.where(rising, run, 1.0), 0.0)
        finite = np.where(np.isfinite(knots), knots, 0.0)
        self.register_buffer("search", torch.from_numpy(knots[:, :-1].reshape(-1)))
        self.register_buffer("start", torch.from_numpy(finite[:, :-1].reshape(-1)))
        self.register_buffer("value", torch.from_numpy(normal[:, :-1].reshape(-1)))
        self.register_buffer("slope", torch.from_numpy(slope.reshape(-1)))
        self.register_buffer("offset", torch.arange(len(states), dtype=torch.int64) * size)

    def forward(self, clipped: Tensor) -> Tensor:
        """Return float64 normal scores for float64 values that lie within the table."""
        place = self.offset.expand(clipped.shape)
        for step in self.steps:
            further = place + step
            place = torch.where(self.search[further] <= clipped, further, place)
        return self.value[place] + (clipped - self.start[place]) * self.slope[place]


class PrepareTimestamp(nn.Module):
    """Turn moments into cycles and ages.

    Every constant is a float64 buffer: the exporter rounds Python numbers to float32, which moves a moment by a minute.

    Args:
        states: The columns' states, in their order.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    spread: Tensor
    radians: Tensor

    def __init__(self, states: list[ColumnState]) -> None:
        super().__init__()
        self.states = states
        self.width = sum(2 * len(state["cycles"]) + int(state["age"]) + int(state["flag"]) for state in states)
        for key in ("low", "high", "center", "spread"):
            values = [float(state[key]) for state in states]
            self.register_buffer(key, torch.tensor(values, dtype=torch.float64))
        per_second = [2 * math.pi / seconds for seconds in CYCLE_SECONDS.values()]
        self.register_buffer("radians", torch.tensor(per_second, dtype=torch.float64))

    def forward(self, raw: Tensor) -> Tensor:
        """Return float32 features [rows, width] for raw int64 seconds [rows, columns]."""
        features = [part for place in range(len(self.states)) for part in self._column(raw, place)]
        return torch.cat(features, dim=1).to(torch.float32) if features else raw[:, :0].to(torch.float32)

    def _column(self, raw: Tensor, place: int) -> list[Tensor]:
        state, moment = self.states[place], raw[:, place : place + 1]
        known = moment != MISSING_TIME
        moment = torch.where(known, moment, 0)
        features = []
        for cycle, (name, seconds) in enumerate(CYCLE_SECONDS.items()):
            if name in state["cycles"]:
                angle = (moment % seconds).to(torch.float64) * self.radians[cycle]
                features += [torch.where(known, torch.sin(angle), 0.0), torch.where(known, torch.cos(angle), 0.0)]
        if state["age"]:
            clipped = torch.minimum(torch.maximum(moment.to(torch.float64), self.low[place]), self.high[place])
            age = (clipped - self.center[place]) / self.spread[place]
            features.append(torch.where(known, age.clamp(-FEATURE_LIMIT, FEATURE_LIMIT), 0.0))
        if state["flag"]:
            features.append((~known).to(torch.float64))
        return features


class Prepare(nn.Module):
    """All inputs together: raw numbers, moments and codes in, what the trunk reads out.

    Args:
        states: State of each column by name, in the order of the raw inputs.
    """

    def __init__(self, states: dict[str, ColumnState]) -> None:
        super().__init__()
        self.places = {kind: _places(states, kind) for kind in ("numeric", "timestamp", "categorical")}
        self.numeric = PrepareNumeric(_of_kind(states, "numeric")) if self.places["numeric"] else None
        self.timestamp = PrepareTimestamp(_of_kind(states, "timestamp")) if self.places["timestamp"] else None

    def forward(self, raw: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return features float32 [rows, width] and codes int64 [rows, categorical columns].

        Args:
            raw: One tensor [rows, 1] per column: float64, int64 seconds, or int64 codes from the front graph.
        """
        features = []
        if self.numeric is not None:
            features.append(self.numeric(torch.cat([raw[place] for place in self.places["numeric"]], dim=1)))
        if self.timestamp is not None:
            features.append(self.timestamp(torch.cat([raw[place] for place in self.places["timestamp"]], dim=1)))
        codes = [raw[place] for place in self.places["categorical"]]
        none = raw[0][:, :0]
        return (
            torch.cat(features, dim=1) if features else none.to(torch.float32),
            torch.cat(codes, dim=1) if codes else none.to(torch.int64),
        )


def _places(states: dict[str, ColumnState], kind: str) -> list[int]:
    return [place for place, state in enumerate(states.values()) if state["kind"] == kind]


def _of_kind(states: dict[str, ColumnState], kind: str) -> list[ColumnState]:
    return [state for state in states.values() if state["kind"] == kind]
