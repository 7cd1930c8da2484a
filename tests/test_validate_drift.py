from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trunkline.columns import CategoricalColumn, Column, NumericColumn
from trunkline.data.declarations import Drift
from trunkline.data.validate.drift import checks_of_drift
from trunkline.data.validate.judge import Judge
from trunkline.data.validate.profile import profile
from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask, Task

ROWS = 4000
COLUMNS: Mapping[str, Column] = {"x": NumericColumn(kind="numeric"), "word": CategoricalColumn(kind="categorical")}
TASKS: Mapping[str, Task] = {
    "yes": BinaryTask(kind="binary", target="yes"),
    "kind": MulticlassTask(kind="multiclass", target="kind"),
    "size": RegressionTask(kind="regression", target="size"),
}


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def drop(seed: int, rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    """A drop of one stable world; a column given as a function of the generator replaces the world's."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": chance.normal(10, 2, rows),
            "word": pd.array(chance.choice(["a", "b", "c"], rows), dtype="str"),
            "yes": (chance.random(rows) < 0.05).astype(float),
            "kind": pd.array(chance.choice(["red", "green", "blue"], rows, p=[0.9, 0.08, 0.02]), dtype="str"),
            "size": chance.normal(0, 100, rows),
        }
    )
    return frame.assign(**{name: make(chance) for name, make in columns.items()})


def broken(judge: Judge, earlier: list[pd.DataFrame], now: pd.DataFrame, **drift: Any) -> set[str]:
    """Return what drift finds: columns and the setting that asked."""
    before = [profile(frame, COLUMNS, TASKS) for frame in earlier]
    checks = checks_of_drift(before, profile(now, COLUMNS, TASKS), COLUMNS, TASKS, Drift(**drift))
    answers = judge.ask(now, checks)
    assert not [answer.problem for answer in answers if answer.problem]
    return {
        f"{check.column} {check.setting.split('.')[-1]}"
        for check, answer in zip(checks, answers, strict=True)
        if not answer.passed
    }


def test_drops_of_one_world_resemble_each_other_whatever_the_seed(judge: Judge) -> None:
    for seed in range(20):
        earlier = [drop(100 * seed + at, 1000) for at in range(1 + seed % 3)]
        assert broken(judge, earlier, drop(100 * seed + 50, 1000)) == set()


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"x": lambda chance: 1000 * chance.normal(10, 2, ROWS)}, {"x spreads"}),
        ({"x": lambda chance: chance.normal(-10, 2, ROWS)}, {"x spreads"}),
        ({"x": lambda chance: np.where(chance.random(ROWS) < 0.5, np.nan, 10.0)}, {"x missing"}),
        ({"size": lambda chance: 60 * chance.normal(0, 100, ROWS)}, {"size spreads"}),
        ({"size": lambda chance: np.full(ROWS, np.nan)}, {"size missing"}),
        ({"yes": lambda chance: (chance.random(ROWS) < 0.4).astype(float)}, {"yes odds"}),
        ({"kind": lambda chance: chance.choice(["red", "blue"], ROWS)}, {"kind odds"}),
        ({"kind": lambda chance: chance.choice(["red", "new"], ROWS)}, {"kind odds"}),
        ({"word": lambda chance: chance.choice(["A", "B", "C", "a"], ROWS)}, {"word unseen"}),
    ],
)
def test_a_drop_of_another_world_is_told_by_column_and_setting(
    judge: Judge, columns: dict[str, Any], found: set[str]
) -> None:
    assert broken(judge, [drop(1), drop(2), drop(3)], drop(4, **columns)) == found


def test_a_flag_that_is_seldom_up_may_be_up_somewhat_more_often(judge: Judge) -> None:
    def flag(share: float) -> dict[str, Any]:
        return {"x": lambda chance: (chance.random(ROWS) < share).astype(float)}

    earlier = [drop(1, **flag(0.04)), drop(2, **flag(0.04))]
    assert broken(judge, earlier, drop(3, **flag(0.06))) == set()
    assert broken(judge, [drop(1, **flag(0.001))], drop(3, **flag(0.2))) == {"x spreads"}


def test_a_column_that_is_nearly_always_zero_is_compared_by_its_mean(judge: Judge) -> None:
    def rain(factor: float) -> dict[str, Any]:
        return {"x": lambda chance: factor * np.where(chance.random(ROWS) < 0.01, chance.exponential(1, ROWS), 0.0)}

    assert broken(judge, [drop(1, **rain(1))], drop(2, **rain(1))) == set()
    assert broken(judge, [drop(1, **rain(1))], drop(2, **rain(1000))) == {"x spreads"}


def test_a_constant_column_is_not_compared(judge: Judge) -> None:
    constant = {"x": lambda chance: np.full(ROWS, 0.1)}
    assert broken(judge, [drop(1, **constant)], drop(2)) == set()


def test_a_column_that_names_rows_may_bring_new_words(judge: Judge) -> None:
    def names(chance: np.random.Generator) -> Any:
        return [f"row {number}" for number in chance.integers(0, 10**9, ROWS)]

    assert broken(judge, [drop(1, word=names)], drop(2, word=names)) == set()


def test_after_few_drops_more_is_accepted(judge: Judge) -> None:
    moved = drop(9, x=lambda chance: chance.normal(29, 2, ROWS))
    assert broken(judge, [drop(1)], moved) == set()
    assert broken(judge, [drop(seed) for seed in range(1, 8)], moved) == {"x spreads"}


def test_settings_say_how_far_is_too_far(judge: Judge) -> None:
    shifted = drop(9, x=lambda chance: chance.normal(14, 2, ROWS))
    assert broken(judge, [drop(1)], shifted) == set()
    assert broken(judge, [drop(1)], shifted, spreads=0.1) == {"x spreads"}
    assert broken(judge, [drop(1)], drop(2), min_rows=ROWS + 1, spreads=1e-9, odds=1.0001) == set()


def test_a_rare_class_may_vary_by_chance(judge: Judge) -> None:
    def rare(rows: int) -> dict[str, Any]:
        return {"yes": lambda chance: (np.arange(ROWS) < rows).astype(float)}

    assert broken(judge, [drop(1, **rare(0)), drop(2, **rare(1))], drop(3, **rare(8))) == set()
    assert broken(judge, [drop(1, **rare(0)), drop(2, **rare(1))], drop(3, **rare(200))) == {"yes odds"}
