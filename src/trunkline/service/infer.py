"""From the body of a request to the body of its answer."""

from __future__ import annotations

from typing import Any

from trunkline.errors import DataError
from trunkline.service.answer import Answer, wanted_outputs, write_answer
from trunkline.service.limits import Limits
from trunkline.service.metrics import Metrics
from trunkline.service.question import read_question
from trunkline.service.refusal import Refusal
from trunkline.service.shelf import Served
from trunkline.serving.feeds import Feeds, Rejected, build_feeds
from trunkline.serving.predict import BATCH

NAMED = 5  # rows that a refusal names


def infer(
    served: Served, body: bytes, json_length: int | None, limits: Limits, metrics: Metrics, options: Any = None
) -> Answer:
    """Answer one request, as `trunkline predict` would answer a file of its rows.

    Args:
        served: The model, this one from beginning to end.
        body: JSON, with binary tensor data behind it or not.
        json_length: Bytes of the JSON, where the client says so.
        limits: The most rows.
        metrics: Counts the cells of rows that are answered.
        options: `onnxruntime.RunOptions`.

    Raises:
        Refusal: 400 or 413, with the place of what is wrong.
    """
    question = read_question(body, json_length, limits)
    wanted = wanted_outputs(question, served)
    rows = question.table.num_rows
    feeds = _feeds(served, question.table)
    found = served.model.run_in_pieces(feeds, rows, BATCH, options)
    metrics.count_cells(served, feeds, rows)
    return write_answer(question, served, wanted, found)


def _feeds(served: Served, table: Any) -> Feeds:
    try:
        feeds, rejected = build_feeds(table, served.model.inputs)
    except DataError as fault:
        raise Refusal(400, str(fault)) from None
    if rejected:
        raise Refusal(400, _sentence(rejected))
    return feeds


def _sentence(rejected: Rejected) -> str:
    named = [f"row {row}: {reason}" for row, reason in list(rejected.items())[:NAMED]]
    more = [f"and {len(rejected) - NAMED} more rows"] if len(rejected) > NAMED else []
    return "; ".join(named + more)
