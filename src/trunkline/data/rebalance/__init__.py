"""Rebalancing inside a task: rows of one task count more or less in that task's loss, and what that shifts is undone.

in      the training labels of one task, and the rule declared for it
out     a plan: plain JSON, one file per task, so that a change of one task touches one file

A rule is one file; it is named once in `Rule` below, and once more as a default for all tasks. No rule touches which
rows other tasks see: a row left out or repeated is so in one task's loss alone. `prior` is measured on the training
labels. Where a rule changes how often a class is seen, `prior_shift` holds what is taken off the logits again, so that
the head gives probabilities of the rows as they are before anything calibrates, scores or exports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from trunkline.data.rebalance.base import BaseRule, Plan
from trunkline.data.rebalance.class_weights import ClassWeights
from trunkline.data.rebalance.density import Density
from trunkline.data.rebalance.effective_number import EffectiveNumber
from trunkline.data.rebalance.equal import EqualDraws
from trunkline.data.rebalance.focal import Focal
from trunkline.data.rebalance.logit_adjustment import LogitAdjustment
from trunkline.data.rebalance.oversample import Oversample
from trunkline.data.rebalance.undersample import Undersample
from trunkline.declared import Declared

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa

    from trunkline.tasks import Task

Rule = Annotated[
    EqualDraws | ClassWeights | EffectiveNumber | LogitAdjustment | Focal | Undersample | Oversample | Density,
    Field(discriminator="kind"),
]


class RulesOfTasks(Declared):
    """The tasks for which another rule holds than for the rest."""

    tasks: dict[str, Rule] = Field(
        {}, description="Rules of single tasks, such as {rare: {kind: class_weights}}. The others follow `kind`."
    )


class EqualByDefault(RulesOfTasks, EqualDraws):
    """`EqualDraws` for the tasks without a rule of their own."""


class ClassWeightsByDefault(RulesOfTasks, ClassWeights):
    """`ClassWeights` for the tasks without a rule of their own."""


class EffectiveNumberByDefault(RulesOfTasks, EffectiveNumber):
    """`EffectiveNumber` for the tasks without a rule of their own."""


class LogitAdjustmentByDefault(RulesOfTasks, LogitAdjustment):
    """`LogitAdjustment` for the tasks without a rule of their own."""


class FocalByDefault(RulesOfTasks, Focal):
    """`Focal` for the tasks without a rule of their own."""


class UndersampleByDefault(RulesOfTasks, Undersample):
    """`Undersample` for the tasks without a rule of their own."""


class OversampleByDefault(RulesOfTasks, Oversample):
    """`Oversample` for the tasks without a rule of their own."""


class DensityByDefault(RulesOfTasks, Density):
    """`Density` for the tasks without a rule of their own."""


Rebalance = Annotated[
    EqualByDefault | ClassWeightsByDefault | EffectiveNumberByDefault | LogitAdjustmentByDefault | FocalByDefault
    | UndersampleByDefault | OversampleByDefault | DensityByDefault,
    Field(discriminator="kind"),
]  # fmt: skip


def rule_of(rebalance: Rebalance, task: str) -> Rule:
    """Return the rule that holds for a task: its own, else the one for all."""
    return rebalance.tasks.get(task, rebalance)


def kinds_for(task: Task) -> str:
    """Return the kinds of rule that suit a task, as a sentence lists them."""
    rules: tuple[type[BaseRule], ...] = get_args(get_args(Rule)[0])
    words = [get_args(rule.model_fields["kind"].annotation)[0] for rule in rules if rule.is_for(task.kind)]
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def plan(task: Task, *labels: pa.Array | pa.ChunkedArray, rule: Rule | None = None) -> Plan:
    """Plan how the rows of a task count.

    Args:
        task: The task's declaration.
        labels: Its label columns, training rows only, null = no label.
        rule: What is declared for it; None = every labelled row counts the same.

    Returns:
        rows: labelled training rows. classes: their count per class, in the order of the outputs ("false", "true" for
        a binary task; none for a number). prior: share of "true", shares by class, or mean and standard deviation
        in the target's unit; null without labels. draws: the rule's kind. class_weights: per class what a row counts
        in the mean over epochs, 1 in the mean over rows. prior_shift: per class what is taken off the logits. What
        else a rule writes stands in its file; labels that teach nothing (`encode` refuses them) get no more.

    Example:
        >>> from trunkline.tasks import BinaryTask
        >>> plan(BinaryTask(kind="binary", target="y"), pa.array([True, False, None, False, False]))["prior"]
        0.25
    """
    import polars as pl

    rule = rule or EqualDraws()
    columns = [pl.Series(column) for column in labels]
    rows, classes, prior = task.summary(*columns)
    measured = {
        "version": 1,
        "draws": rule.kind,
        "rows": rows,
        "classes": classes,
        "prior": prior,
        "class_weights": dict.fromkeys(classes, 1.0),
        "prior_shift": dict.fromkeys(classes, 0.0),
    }
    if rule.kind == "equal":
        return measured
    known = _known(columns[0])
    teaches = min(classes.values()) > 0 if classes else len(known) > 0 and known.min() < known.max()
    if not teaches:
        return measured
    return measured | {"rule": rule.model_dump(mode="json", exclude={"tasks"})} | rule.plan(task, classes, known)


def _known(labels: pl.Series) -> np.ndarray[Any, Any]:
    """Return the labels [labelled rows] of a kind that rules are for: they stand in one column."""
    known = labels.drop_nulls()
    return (known.filter(known.is_finite()) if known.dtype.is_float() else known).to_numpy()


__all__ = ["BaseRule", "EqualDraws", "Plan", "Rebalance", "Rule", "kinds_for", "plan", "rule_of"]
