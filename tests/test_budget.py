"""How long a training is, and how many rows its steps hold, where params.yaml leaves it to the data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import params, split_project

from trunkline import stages
from trunkline.errors import ParamsError
from trunkline.files import read_json, seal
from trunkline.project import parse_project
from trunkline.training.budget import EPOCHS, ROWS_OF_A_STEP
from trunkline.training.declarations import DeclaredTraining, EarlyStop, Training
from trunkline.training.sampling import LabelAware, Shuffle
from trunkline.training.tuning import ENOUGH, choose_epochs, tuned_recipe

LEFT = DeclaredTraining()


def test_numbers_that_are_declared_stay_whatever_the_rows() -> None:
    declared = DeclaredTraining(epochs=7, batch=300)
    assert [(it.epochs, it.batch) for it in (declared.sized(10), declared.sized(10**8))] == [(7, 300)] * 2
    assert isinstance(declared.sized(10), Training)


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_more_rows_never_make_smaller_steps_or_more_epochs(one: int, other: int) -> None:
    fewer, more = (LEFT.sized(rows) for rows in sorted((one, other)))
    assert ROWS_OF_A_STEP[0] <= fewer.batch <= more.batch <= ROWS_OF_A_STEP[1]
    assert EPOCHS[0] <= more.epochs <= fewer.epochs <= EPOCHS[1]


@given(st.integers(1_000, 10**9))
def test_no_training_is_a_handful_of_steps(rows: int) -> None:
    recipe = LEFT.sized(rows)
    assert recipe.epochs * (rows // recipe.batch) >= 70


def test_a_batch_left_to_the_data_holds_two_rows_of_every_part() -> None:
    assert DeclaredTraining(accumulate=200).sized(500).batch == 400


def test_a_batch_left_to_the_data_has_room_for_the_rows_that_label_aware_batches_hold() -> None:
    wants = LabelAware(kind="label_aware", min_labelled=40)
    assert LEFT.sized(2_000, wants.least_batch).batch == 640
    assert LEFT.sized(2_000, Shuffle().least_batch).batch == 128


@pytest.mark.parametrize("key", ["epochs", "batch"])
def test_what_is_neither_a_number_nor_auto_is_refused_in_one_sentence(key: str) -> None:
    content = params(training={key: "atuo"})
    with pytest.raises(ParamsError) as caught:
        parse_project(content)
    assert str(caught.value).count("\n") == 0
    assert f"training.{key}: found 'atuo'; expected a whole number" in str(caught.value)


def test_training_takes_twice_as_long_as_long_as_that_pays() -> None:
    rising = {3: 0.1, 6: 0.2, 12: 0.204, 24: 0.9}
    said: list[str] = []
    epochs, tried = choose_epochs(3, 50, rising.__getitem__, said.append)
    assert epochs == 6
    assert [trial["epochs"] for trial in tried] == [3, 6, 12]
    assert said == ["tries 3 epochs", "tries 6 epochs", "tries 12 epochs"]


def test_few_large_steps_are_no_reason_to_stop_before_anything_was_learned() -> None:
    slow = {8: 0.0, 16: 0.004, 32: 0.03, 64: 0.18, 128: 0.51, 256: 0.512}
    assert choose_epochs(8, 1, slow.__getitem__, print)[0] == 128


def test_nothing_longer_is_tried_once_there_are_steps_enough() -> None:
    always = {epochs: float(epochs) for epochs in (3, 6, 12, 24)}
    assert choose_epochs(3, ENOUGH, always.__getitem__, print) == (3, [])
    assert choose_epochs(3, ENOUGH // 8, always.__getitem__, print)[0] == 12


def test_a_composite_that_says_nothing_makes_no_training_longer() -> None:
    assert choose_epochs(3, 50, lambda epochs: math.nan, print)[0] == 3


@pytest.mark.parametrize("clean", [True, False])
def test_clean_labels_are_trained_on_for_longer_than_noise(tmp_path: Path, clean: bool) -> None:
    project = split_project(tmp_path, 800, training={"epochs": "auto", "batch": "auto", "learning_rate": 0.002})
    if not clean:
        path = tmp_path / "data" / "split" / "rows.parquet"
        table, generator = pq.read_table(path), np.random.default_rng(1)
        for name in ("churned", "plan_name", "spent"):
            mixed = table[name].take(pa.array(generator.permutation(len(table))))
            table = table.set_column(table.column_names.index(name), name, mixed)
        pq.write_table(table, path, row_group_size=700, write_page_checksum=True)
        seal(path.parent, ["rows.parquet"])
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    run = read_json(tmp_path / stages.SHARED / "run.json")
    begin = LEFT.sized(400)
    assert run["batch"] == begin.batch
    assert run["seeds"][0]["epochs"] == run["epochs"]
    assert run["lengths"][0]["epochs"] == begin.epochs
    assert (run["epochs"] > begin.epochs) == clean


def test_a_training_that_may_stop_early_is_said_to_train_at_most_so_long() -> None:
    for stop, words in ((EarlyStop(), "trains at most 8 epochs"), (None, "trains 8 epochs")):
        said: list[str] = []
        tuned_recipe(DeclaredTraining(early_stop=stop).sized(400), [], 10, lambda recipe, place: 0.0, said.append)
        assert said[-1].startswith(words)


def test_a_task_alone_chooses_its_own_length_and_numbers_try_nothing(tmp_path: Path) -> None:
    project = split_project(tmp_path, 800, training={"epochs": "auto", "batch": 64})
    stages.encode(tmp_path, project)
    stages.baseline(tmp_path, project, "spend")
    assert len(read_json(tmp_path / stages.ALONE / "spend" / "run.json")["lengths"]) >= 2
    fixed = parse_project(params(training={"epochs": 2}))
    stages.baseline(tmp_path, fixed, "spend")
    run = read_json(tmp_path / stages.ALONE / "spend" / "run.json")
    assert (run["epochs"], "lengths" in run) == (2, False)
