"""Great Expectations, asked quietly: no project folder, no progress bar, no call home, no warning of its own.

in      a pandas frame and the checks to make on it
out     one answer per check, in the order of the checks
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.data.validate.checks import Answer, Check

if TYPE_CHECKING:
    import pandas as pd

NO_ROWS: np.ndarray[Any, Any] = np.empty(0, dtype=np.int64)
VERDICT = {"result_format": "BOOLEAN_ONLY"}
ROWS = {"result_format": "COMPLETE", "partial_unexpected_count": 0, "return_unexpected_index_query": False}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the library's own warnings off the screen; they concern its authors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def great_expectations() -> ModuleType:
    """Import the library (4 CPU seconds) with its usage reports off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with quietly():
        import great_expectations as library
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return library  # type: ignore[no-any-return]


class Judge:
    """Puts checks to Great Expectations, one frame at a time."""

    def __init__(self) -> None:
        self._library = great_expectations()
        with quietly():
            context = self._library.get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}
            asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
            self._batches = asset.add_batch_definition_whole_dataframe("rows")

    def ask(self, frame: pd.DataFrame, checks: Sequence[Check]) -> list[Answer]:
        """Return the answer to each check.

        Args:
            frame: The rows, indexed 0, 1, 2...
            checks: What is asked; each column they read is in `frame`.
        """
        with quietly():
            helpers = {name: column for check in checks for name, column in check.helpers(frame).items()}
            batch = self._batches.get_batch({"dataframe": frame.assign(**helpers)})
            answers = self._validate(batch, dict(enumerate(checks)), VERDICT)
            failed = {place: checks[place] for place, answer in answers.items() if not answer.passed}
            answers |= self._validate(batch, failed, ROWS) if failed else {}
        return [answers[place] for place in range(len(checks))]

    def _validate(self, batch: Any, checks: Mapping[int, Check], form: Mapping[str, Any]) -> dict[int, Answer]:
        asked = [self._expectation(check, place) for place, check in checks.items()]
        suite = self._library.ExpectationSuite(name="rows", expectations=asked)
        results = batch.validate(suite, result_format=form).results
        # Results come back grouped by kind, so each expectation carries its place.
        return {result.expectation_config.meta["place"]: _answer(result) for result in results}

    def _expectation(self, check: Check, place: int) -> Any:
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        wish = ExpectationConfiguration(type=check.expectation, kwargs=dict(check.kwargs), meta={"place": place})
        return wish.to_domain_obj()


def _answer(result: Any) -> Answer:
    found = result.result
    rows = np.asarray(found.get("unexpected_index_list") or NO_ROWS, dtype=np.int64)
    problem = _problem(result.exception_info or {})
    broken = int(found.get("unexpected_count") or 0)
    return Answer(bool(result.success), broken, rows, found.get("observed_value"), problem)


def _problem(info: Mapping[str, Any]) -> str:
    """Find what stopped an expectation from running; the library nests it one level deep, or not."""
    nested = [part for part in info.values() if isinstance(part, Mapping)]
    for part in [info, *nested]:
        if part.get("raised_exception"):
            return " ".join(str(part.get("exception_message")).split())
    return ""
