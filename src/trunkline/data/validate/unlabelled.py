"""Labels that are not missing at random: an input tells which rows have one.

Training and scores see labelled rows only. Where an input decides which those are, the model is asked about rows that
are unlike all it was taught and judged by. Labels that are missing because of what they would say show through the
inputs that foretell them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trunkline.data.validate import words
from trunkline.data.validate.leaks import Coded, Hint, Target, hints_of

UNEVEN = 0.8  # ROC AUC of one input for which rows have a label, from which it is told
FEWEST_ROWS = 50  # with and without a label


def absences(targets: Sequence[Target], by_design: Sequence[str]) -> list[Target]:
    """Return, for each target of which some labels are missing, whether a row lacks one, as a target of its own.

    Args:
        targets: The columns of labels.
        by_design: Those whose labels are missing where another task has another value; they are left out.
    """
    found = []
    for target in targets:
        missing = (target.coded.codes < 0).astype(np.int64)
        if target.name not in by_design and min(missing.sum(), (1 - missing).sum()) >= FEWEST_ROWS:
            found.append(Target(target.name, Coded(missing, [0.0, 1.0], True), ("labelled", "missing")))
    return found


def strongest(name: str, coded: Coded, absent: Sequence[Target], before: Mapping[str, Hint]) -> dict[str, Hint]:
    """Return the strongest hint of each target so far, with those of one more input."""
    hints = [*before.values(), *(hint for target in absent for hint in hints_of(name, coded, target))]
    return {hint.target: hint for hint in sorted(hints, key=lambda hint: hint.score)}


def warnings_of(hints: Mapping[str, Hint]) -> Iterator[str]:
    """Yield a sentence for each target whose missing labels an input foretells."""
    for hint in hints.values():
        if hint.score >= UNEVEN:
            yield (
                f"target '{hint.target}': its labels are not missing at random: input '{hint.input}' alone tells which "
                f"rows have one (ROC AUC {hint.score:.2f} over {words.count(hint.rows)}); such rows alone teach and "
                f"judge the model, and nothing says how it does on the others"
            )
