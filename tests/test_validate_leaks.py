from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import drops
import numpy as np
import pyarrow as pa
import pytest
from drops import lay, take_in

from benchmarks.replay.spoil import put
from trunkline.columns import CategoricalColumn, Column, NumericColumn
from trunkline.data.declarations import Leaks
from trunkline.data.validate.leaks import Coded, Hint, Leak, Target, look, looks_like_identifier
from trunkline.data.validate.raw import coded, target_of
from trunkline.data.validate.unlabelled import absences, strongest, warnings_of
from trunkline.errors import DataError
from trunkline.project import parse_project
from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask

ROWS = 4000
CHANCE = np.random.default_rng(7)
YES = CHANCE.random(ROWS) < 0.05
SIZE = CHANCE.normal(0, 10, ROWS)
KIND = CHANCE.choice(["red", "green", "blue"], ROWS, p=[0.7, 0.2, 0.1])
GROUP = CHANCE.choice(["north", "south"], ROWS)


def code(values: Any, kept: Any = None) -> Coded:
    array = pa.array(values, from_pandas=True)
    array = array.cast(pa.string() if pa.types.is_large_string(array.type) else array.type)
    return coded(pa.chunked_array([array]), np.ones(ROWS, bool) if kept is None else kept)


def targets(unlabelled: float = 0.0) -> list[Target]:
    mask = np.random.default_rng(1).random(ROWS) < unlabelled
    tasks = {
        "yes": (BinaryTask(kind="binary", target="yes"), pa.array(YES, mask=mask)),
        "kind": (
            MulticlassTask(kind="multiclass", target="kind"),
            pa.array(KIND.astype(object), pa.string(), mask=mask),
        ),
        "size": (RegressionTask(kind="regression", target="size"), pa.array(SIZE, mask=mask)),
    }
    return [
        target_of(name, task.label_columns[name], pa.chunked_array([values]), np.ones(ROWS, bool))
        for name, (task, values) in tasks.items()
    ]


def leaks_of(values: Any, **settings: Any) -> list[Leak]:
    return look("x", code(values), targets(), {"group": code(GROUP.astype(object))}, Leaks(**settings))[0]


def told(values: Any, **settings: Any) -> list[tuple[str, str]]:
    return [(leak.target, leak.how) for leak in leaks_of(values, **settings)]


def holes(missing: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.where(missing, np.nan, np.random.default_rng(2).normal(0, 1, ROWS))


# --- missing ----------------------------------------------------------------------------------------------


def test_missing_only_for_one_class_is_a_leak() -> None:
    assert told(holes(YES)) == [("yes", "missing values")]
    (leak,) = leaks_of(holes(YES & (np.arange(ROWS) % 2 == 0)))
    assert leak.said.startswith(f"input 'x': where it is missing ({leak.rows} rows), 'yes' is true in 100 % of rows (")
    assert leak.said.endswith("elsewhere); whether it is known depends on the answer")


def test_known_only_for_one_class_is_a_leak() -> None:
    assert told(holes(~YES)) == [("yes", "missing values")]
    assert told(holes(KIND != "blue"))[0] == ("kind", "known values")


def test_missing_of_one_class_within_a_group_is_a_leak() -> None:
    south = GROUP == "south"
    hidden = np.where(south, YES, np.random.default_rng(3).random(ROWS) < 0.3)
    (leak,) = leaks_of(holes(hidden.astype(bool)))
    assert leak.target == "yes" and "missing and 'group' is 'south'" in leak.said


def test_missing_by_chance_is_no_leak_however_much_is_missing() -> None:
    for share in (0.01, 0.5, 0.8, 0.97):
        assert told(holes(np.random.default_rng(4).random(ROWS) < share)) == []


def test_missing_in_a_class_that_is_common_anyway_is_no_leak() -> None:
    assert told(holes(~YES & (np.random.default_rng(5).random(ROWS) < 0.5))) == []


def test_few_rows_show_nothing() -> None:
    few = YES & (np.cumsum(YES) <= 40)
    assert told(holes(few)) == []
    assert told(holes(few), min_rows=40) == [("yes", "missing values")]


def test_a_label_that_is_missing_with_the_input_is_no_leak() -> None:
    mask = np.random.default_rng(1).random(ROWS) < 0.2
    found, _ = look("x", code(holes(mask)), targets(unlabelled=0.2), {}, Leaks())
    assert found == []


# --- value ------------------------------------------------------------------------------------------------

NOISE = np.random.default_rng(6).normal(0, 1, ROWS)


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (YES + 0.01 * NOISE, "yes"),
        (0.01 * NOISE - YES, "yes"),
        (YES.astype(float), "yes"),
        (SIZE * 60, "size"),
        (-(SIZE**3), "size"),
        (np.select([KIND == "red", KIND == "green"], [1.0, 2.0], 3.0), "kind"),
        (np.where(YES, "paid", np.where(NOISE > 0, "open", "new")).astype(object), "yes"),
        (KIND.astype(object), "kind"),
        ([f"{number:.0f}" for number in np.round(SIZE / 2)], None),
        (SIZE + 5 * NOISE, None),
        (YES + 2 * NOISE, None),
        (NOISE, None),
        (np.full(ROWS, 3.0), None),
        (GROUP.astype(object), None),
        ([f"row {row}" for row in range(ROWS)], None),
    ],
)
def test_a_value_that_tells_the_label_is_a_leak(values: Any, target: str | None) -> None:
    assert told(values) == ([(target, "values")] if target else [])


def test_an_input_equal_to_a_target_is_called_so() -> None:
    (leak,) = leaks_of(SIZE)
    assert leak.said == "input 'x': it holds the same values as target 'size' (4,000 rows)"


def test_the_limits_are_settings() -> None:
    assert told(SIZE + NOISE) == []
    assert told(SIZE + NOISE, correlation=0.98) == [("size", "values")]
    assert told(YES + 0.5 * NOISE, auc=0.9) == [("yes", "values")]


def test_the_area_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    values = np.round(YES + NOISE, 1)
    _, hint = look("x", code(values), targets()[:1], {}, Leaks())
    assert hint is not None and hint.rows == ROWS
    assert hint.score == pytest.approx(roc_auc_score(YES, values))


def test_the_rank_correlation_is_that_of_scipy() -> None:
    from scipy.stats import spearmanr

    values = np.round(SIZE + 5 * NOISE)
    known = np.random.default_rng(8).random(ROWS) < 0.7
    _, hint = look("x", code(np.where(known, values, np.nan)), targets()[2:], {}, Leaks())
    assert hint is not None
    assert hint.score == pytest.approx(spearmanr(values[known], SIZE[known]).statistic)


def test_a_word_for_nearly_every_row_looks_like_an_identifier() -> None:
    assert looks_like_identifier(code([f"row {row}" for row in range(ROWS)]))
    assert not looks_like_identifier(code(GROUP.astype(object)))
    assert not looks_like_identifier(code(NOISE))


def test_moments_are_looked_at_as_numbers() -> None:
    moments = pa.array(np.where(YES, 10**15, 0) + np.arange(ROWS), pa.timestamp("us", "UTC"))
    assert told(moments) == [("yes", "values")]


# --- the real flights -------------------------------------------------------------------------------------


def project(columns: dict[str, Any], **validation: Any) -> Any:
    content = drops.params(**validation)
    content["columns"] |= columns
    return parse_project(content)


LEAKY = {"tailnum": {"kind": "categorical"}, "plane_year": {"kind": "numeric"}}


def test_tail_numbers_and_what_is_joined_on_them_are_refused_and_nothing_else(tmp_path: Path) -> None:
    both = [drops.months()[f"flights-2013-{month}.parquet"] for month in ("02", "07")]
    lay(tmp_path, {"flights.parquet": pa.concat_tables(both)})
    with pytest.raises(DataError) as caught:
        take_in(tmp_path, project(LEAKY))
    said = str(caught.value)
    assert re.search(
        r"input 'tailnum': where it is missing \(\d+ rows\), 'cancelled' is true in 100 % of rows \(\d", said
    )
    assert "input 'plane_year': where it is missing and 'carrier' is '9E'" in said
    assert said.count("\n- input") == 2
    assert "remove plane_year, tailnum from columns, or list it under validation.leaks.allow" in said


def test_leaks_that_were_looked_at_are_allowed_and_reported(tmp_path: Path) -> None:
    lay(tmp_path, {"flights-2013-07.parquet": drops.months()["flights-2013-07.parquet"]})
    take_in(tmp_path, project(LEAKY, leaks={"allow": ["tailnum", "plane_year"]}))
    assert "accepted by validation.leaks.allow" in (tmp_path / "reports/validation.json").read_text()


def test_labels_that_an_input_foretells_to_be_missing_are_told_and_those_missing_at_random_are_not() -> None:
    """The higher a label, the higher the input: labels that are missing for being high show through it."""
    size = pa.array(SIZE, mask=SIZE > 5)
    high = target_of("size", RegressionTask(kind="regression", target="size").label_columns["size"],
                     pa.chunked_array([size]), np.ones(ROWS, bool))  # fmt: skip
    absent = absences([high, *targets(0.3)[:2], *targets()[2:]], [])
    assert [target.name for target in absent] == ["size", "yes", "kind"]
    assert absences([high], ["size"]) == []  # missing by design: the task is given another
    proxy, noise = SIZE + CHANCE.normal(0, 4, ROWS), CHANCE.normal(0, 1, ROWS)
    found: dict[str, Hint] = {}
    for name, values in {"noise": noise, "proxy": proxy, "more": np.round(noise)}.items():
        found = strongest(name, code(values), absent, found)
    (warning,) = warnings_of(found)
    assert warning.startswith("target 'size': its labels are not missing at random: input 'proxy' alone tells which")


def test_an_identifier_is_worth_a_warning(tmp_path: Path) -> None:
    table = drops.sample(1, 2000)
    content = drops.params(min_class_rows=5)
    columns: dict[str, Column] = {"dest": CategoricalColumn(kind="categorical"), "temp": NumericColumn(kind="numeric")}
    content["columns"] = {name: column.model_dump() for name, column in columns.items()}
    content["validation"]["expectations"] = []
    lay(tmp_path, {"a.parquet": put(table, "dest", pa.array([f"row {row}" for row in range(2000)]))})
    take_in(tmp_path, parse_project(content))
    (warning,) = json.loads((tmp_path / "reports/validation.json").read_text())["warnings"]
    assert warning.startswith("input 'dest' has 2,000 different words in 2,000 rows")
