"""Columns: what is learned of them and how they enter the trunk."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trunkline.columns import CategoricalColumn, NumericColumn, TimestampColumn
from trunkline.columns._modules import PrepareNumeric, PrepareTimestamp
from trunkline.columns.encoder import Encoder, code_name
from trunkline.columns.timestamp import MISSING_TIME

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


def numeric(values: list[float], **settings: Any) -> dict[str, Any]:
    return NumericColumn(kind="numeric", **settings).fit(np.array(values, dtype=np.float64))


def prepared(state: dict[str, Any], values: list[float]) -> np.ndarray[Any, Any]:
    module = PrepareNumeric([state])
    return module(torch.tensor(values, dtype=torch.float64)[:, None]).numpy()


def test_a_number_is_standardised_and_missing_is_zero_with_a_flag() -> None:
    state = numeric([1.0, 3.0, math.nan])
    assert prepared(state, [1.0, 3.0, 2.0, math.nan]).tolist() == [[-1, 0], [1, 0], [0, 0], [0, 1]]


def test_a_column_that_was_never_missing_in_training_has_no_flag() -> None:
    assert prepared(numeric([1.0, 3.0]), [math.nan]).tolist() == [[0]]


def test_numbers_beyond_the_training_range_count_as_its_ends() -> None:
    state = numeric([1.0, 3.0])
    assert prepared(state, [-1e300, 1e300, 5.0]).tolist() == [[-1], [1], [1]]


@pytest.mark.parametrize("held", [[], [math.nan], [math.inf, -math.inf], [7.0, 7.0], [0.1 + 0.2, 0.3]])
def test_a_column_without_two_values_gives_finite_features(held: list[float]) -> None:
    assert np.isfinite(prepared(numeric(held), [math.nan, 7.0, -1e308, math.inf])).all()


@given(fitted=st.lists(FLOATS, max_size=40), asked=st.lists(FLOATS, min_size=1, max_size=20), quantile=st.booleans())
def test_features_are_finite_and_bounded_whatever_comes(
    fitted: list[float], asked: list[float], quantile: bool
) -> None:
    features = prepared(numeric(fitted, scale="quantile" if quantile else "standard"), asked)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 20


def test_a_quantile_scale_is_scikit_learns_normal_transform_within_its_limits() -> None:
    from sklearn.preprocessing import QuantileTransformer

    drawn = np.random.default_rng(0).exponential(size=5000)
    reference = QuantileTransformer(n_quantiles=129, output_distribution="normal", subsample=None)
    reference.fit(drawn[:, None])
    asked = np.quantile(drawn, np.linspace(0.01, 0.99, 99))
    found = prepared(numeric(drawn.tolist(), scale="quantile"), asked.tolist())[:, 0]
    assert np.abs(found - reference.transform(asked[:, None])[:, 0]).max() < 0.03


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_a_quantile_scale_never_turns_the_order_round(values: list[float]) -> None:
    state = numeric(values, scale="quantile")
    features = prepared(state, sorted(values))[:, 0]
    assert (np.diff(features) >= -1e-6).all()


def test_several_columns_keep_their_order_whatever_their_scales() -> None:
    states = [numeric([0.0, 2.0]), numeric([0.0, 1.0, 2.0, 3.0], scale="quantile"), numeric([10.0, 30.0])]
    found = PrepareNumeric(states)(torch.tensor([[2.0, 3.0, 10.0]], dtype=torch.float64))
    assert found.tolist() == [[1.0, 3.0, -1.0]]


def test_words_get_codes_and_missing_and_unseen_have_their_own() -> None:
    words = np.array(["b", "a", "", "b", "rare"], dtype=object)
    state = CategoricalColumn(kind="categorical", min_count=1).fit(words)
    assert state["vocabulary"] == ["a", "b", "rare"]
    assert CategoricalColumn(kind="categorical", min_count=2).fit(words)["vocabulary"] == ["b"]


def codes(state: dict[str, Any], words: list[str]) -> list[int]:
    import onnxruntime

    front = Encoder({"city": state}).front().SerializeToString()
    session = onnxruntime.InferenceSession(front, providers=["CPUExecutionProvider"])
    found = session.run([code_name("city")], {"city": np.array(words, dtype=object)[:, None]})
    return [int(code) for code in found[0][:, 0]]


def test_the_front_graph_gives_the_codes() -> None:
    state = {"kind": "categorical", "vocabulary": ["Zürich", "a b", "漢"]}
    assert codes(state, ["", "Zürich", "a b", "漢", "zürich", " ", "None"]) == [1, 2, 3, 4, 0, 0, 0]


@given(
    words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), min_size=1)
)
def test_a_training_word_is_never_unseen(words: list[str]) -> None:
    state = CategoricalColumn(kind="categorical").fit(np.array(words, dtype=object))
    assert 0 not in codes(state, words)


def moments(values: list[int], **settings: Any) -> np.ndarray[Any, Any]:
    state = TimestampColumn(kind="timestamp", **settings).fit(np.array(values, dtype=np.int64))
    return PrepareTimestamp([state])(torch.tensor(values)[:, None]).numpy()


@given(moment=st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_the_place_in_the_day_is_exact_in_every_year(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400 + moment.hour * 3600
    seconds += moment.minute * 60 + moment.second
    sine, cosine = moments([seconds], cycles=["day"])[0]
    angle = 2 * math.pi * (moment.hour * 3600 + moment.minute * 60 + moment.second) / 86_400
    assert abs(sine - math.sin(angle)) < 1e-6
    assert abs(cosine - math.cos(angle)) < 1e-6


def test_a_missing_moment_is_zero_with_a_flag() -> None:
    features = moments([0, 86_400, MISSING_TIME], cycles=["day"], age=True)
    assert features[2].tolist() == [0, 0, 0, 1]
    assert features[:2, 2].tolist() == [-1, 1]


def test_an_encoder_survives_its_own_json() -> None:
    states = {"age": numeric([1.0, math.nan]), "city": {"kind": "categorical", "vocabulary": ["x"]}}
    encoder = Encoder.from_json(Encoder(states).to_json())
    assert (encoder.features, encoder.vocabulary_sizes, encoder.inputs) == (
        2,
        [3],
        [("age", "numeric"), ("city", "categorical")],
    )
