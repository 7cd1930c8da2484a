"""What to do about a verdict: a diagnosis, one or two sentences that name the setting, and the figures behind them.

An advice is something to try with the same seeds, not a promise. Gradients that oppose each other half of the time are
what unrelated tasks show: a conflict is read off the mean cosine and its t alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.evaluation import clues
from trunkline.evaluation.advice_case import Case, Recipe, Said, setting
from trunkline.evaluation.advice_hurt import about_hurt
from trunkline.evaluation.headline import MOST
from trunkline.evaluation.wording import count, known, percent, score, signed

MOST_SEEDS = 100  # that params.yaml takes
POWER = 2.8  # standard errors that a gain must have to be shown in 4 of 5 cases
REGRET = 0.005  # of the way from a constant prediction to a perfect one, as the default margin
NEAR_ZERO = 0.2  # score alone below which percentages of it are large by division


def advise(
    evaluation: Mapping[str, Any], analysis: Mapping[str, Any], history: Mapping[str, str], recipe: Recipe
) -> list[dict[str, Any]]:
    """Return what to do about the verdicts, the worst first.

    Args:
        evaluation: Content of reports/evaluation.json; what it says under "advice" is not read.
        analysis: Content of reports/analysis.json.
        history: Text of history.tsv of the shared arm, under "shared", and of each task's own arm, under its name.
        recipe: The declared settings.

    Returns:
        Of each advice its task (None where it is about all), verdict, `diagnosis`, `says` and `because`, the figures
        that led to it. A setting stands in `says` between backticks, as params.yaml takes it. Nothing for one task by
        itself, because there nothing is shared.
    """
    names = list(evaluation["tasks"])
    if len(names) == 1:
        return []
    cases = [Case(name, evaluation, analysis, history, recipe) for name in names]
    hurt = sorted((case for case in cases if case.transfer["verdict"] == "hurt"), key=_harm, reverse=True)
    found: list[tuple[Case | None, Said]] = [(case, about_hurt(case)) for case in hurt]
    found += [(case, said) for rule in (_undecided, _regret) for case in cases if (said := rule(case))]
    found += [(None, said) for said in _worst_regret(evaluation, history, recipe)]
    found += [(None, said) for said in _about_all(evaluation)]
    found += [(case, said) for case in cases if (said := _few_labels_helped(case))]
    return [_entry(case, said) for case, said in found]


def _entry(case: Case | None, said: Said) -> dict[str, Any]:
    task, verdict = (case.name, case.transfer["verdict"]) if case else (None, None)
    return {"task": task, "verdict": verdict, **said._asdict()}


def _harm(case: Case) -> float:
    """Return the loss in margins, in which tasks of different metrics compare."""
    gain, margin = case.transfer["gain"], case.transfer["margin"]
    return float(-gain / (margin or abs(gain)))


# --- open verdicts ---------------------------------------------------------------------------------------


def _undecided(case: Case) -> Said | None:
    transfer = case.transfer
    if transfer["verdict"] != "inconclusive":
        return None
    if transfer["needs"] == "rows":
        judged = transfer["interval"] is not None and known(transfer["margin"])
        return _more_rows(case) if judged else _no_score(case)
    needed = transfer["seeds_needed"]
    if needed is None or needed > MOST_SEEDS:
        return _too_many_seeds(case)
    return _no_interval(case, needed) if transfer["interval"] is None else _more_seeds(case, needed)


def _no_score(case: Case) -> Said:
    metric, rows = case.task["primary"], case.task["labelled"]["test"]
    return Said(
        "no_score",
        f"Nothing can be said about {case.name}: its {count(rows)} labelled test rows are too few, or too many of one "
        f"class, for {metric}. Give the test side more of them, under `split` in params.yaml.",
        case.figures(test_rows=rows),
    )


def _no_interval(case: Case, needed: int) -> Said:
    return Said(
        "no_interval",
        f"Nothing can be said about {case.name}: there is no interval with one training per side. Set "
        f"{setting('training.seeds', needed)}, and do not deploy on this evidence alone.",
        case.figures(seeds_needed=needed),
    )


def _more_seeds(case: Case, needed: int) -> Said:
    return Said(
        "more_seeds",
        f"{_open(case)} About {needed} trainings per side would decide it: set "
        f"{setting('training.seeds', needed)}, and do not deploy on this evidence alone.",
        case.figures(seeds_needed=needed),
    )


def _too_many_seeds(case: Case) -> Said:
    return Said(
        "too_many_seeds",
        f"{_open(case)} More than {MOST_SEEDS} trainings per side would be needed to decide it: what sharing does to "
        f"it is small beside the chance in a single training. Do not deploy on this evidence alone.",
        case.figures(seeds_needed=case.transfer["seeds_needed"]),
    )


def _more_rows(case: Case) -> Said:
    """Ask for as many test rows as would show a gain of the size seen, or of the margin where that is larger."""
    transfer, rows = case.transfer, case.task["labelled"]["test"]
    size = max(transfer["margin"], abs(transfer["gain"])) or transfer["row_deviation"]
    needed = _rounded(max(2 * rows, rows * (POWER * transfer["row_deviation"] / size) ** 2))
    return Said(
        "more_rows",
        f"{_open(case)} More trainings would not decide it: judge on more labelled test rows, some {count(needed)} in "
        f"place of {count(rows)}, and do not deploy on this evidence alone.",
        case.figures(test_rows=rows, test_rows_needed=needed),
    )


def _open(case: Case) -> str:
    transfer, metric = case.transfer, case.task["primary"]
    low, high = (signed(end) for end in transfer["interval"])
    return (
        f"Nothing can be said for certain about {case.name}: its gain lies between {low} and {high} {metric}, where "
        f"{score(transfer['margin'])} would matter."
    )


def _rounded(number: float) -> int:
    """Return a number to two digits, upwards.

    Example:
        >>> _rounded(123456.0)
        130000
    """
    unit = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return int(math.ceil(number / unit) * unit)


# --- what else is worth a word ---------------------------------------------------------------------------


def _few_labels_helped(case: Case) -> Said | None:
    if case.transfer["verdict"] != "helped" or not clues.few_labels(case.evaluation["tasks"], case.name):
        return None
    friend, labels = clues.ally(case.affinity, case.name), clues.labels(case.task)
    kin = f" More rows of {friend.name} may help it further: their gradients agree most." if friend else ""
    figures = {"ally": friend.name, "mean_cosine": friend.figure} if friend else {}
    return Said(
        "few_labels_helped",
        f"Sharing helped {case.name}, which has only {count(labels)} labels that teach it: keep it with the "
        f"others.{kin}",
        case.figures(labels=labels, **figures),
    )


def _regret(case: Case) -> Said | None:
    regret = (case.analysis["tasks"].get(case.name) or {}).get("checkpoint_regret")
    if not regret or not known(regret["skill"]) or regret["skill"] <= REGRET:
        return None
    repair = setting("training.keep", "best") if case.recipe.keep == "last" else case.quieter
    return Said(
        "checkpoint_regret",
        f"{case.name} gives up as much as {score(regret['skill'])} of skill because one epoch is kept for all tasks: "
        f"on validation rows it was best at another. Try {repair}.",
        {"regret": regret["skill"], "accepted": REGRET, "best_epochs": regret["best_epochs"]},
    )


def _worst_regret(evaluation: Mapping[str, Any], history: Mapping[str, str], recipe: Recipe) -> Iterator[Said]:
    """Say how to trade what some tasks win for what others lose, where a gate forbids the loss."""
    tasks = evaluation["tasks"]
    gates = [gate for gate in evaluation.get("gates") or [] if gate["rule"] == "max_regret" and not gate["passed"]]
    lost = [gate["task"] for gate in gates if tasks[gate["task"]]["transfer"]["verdict"] == "hurt"]
    helped = [name for name, task in tasks.items() if task["transfer"]["verdict"] == "helped"]
    reference = clues.validation_losses(history, list(tasks))
    if not lost or not helped or recipe.balance == "tchebycheff" or len(reference) < len(tasks):
        return
    if recipe.normalize == "off":
        return  # it compares losses, and the advice for the task that was hurt comes first
    losses = ", ".join(f"{name}: {loss:.3f}" for name, loss in reference.items())
    yield Said(
        "worst_regret",
        f"Sharing helped {' and '.join(helped)} and cost {' and '.join(lost)} more than evaluation.gates allows. To "
        f"make the largest loss by sharing small in place of the average one, set "
        f"`balance: {{kind: tchebycheff, reference: {{{losses}}}}}`, where each reference is a task's validation loss "
        f"alone.",
        {"failed": lost, "helped": helped, "gains": {name: tasks[name]["transfer"]["gain"] for name in lost}},
    )


def _about_all(evaluation: Mapping[str, Any]) -> Iterator[Said]:
    tasks, composite = evaluation["tasks"], evaluation["composite"]
    if said := _one_task(tasks, composite["delta_m_percent"]):
        yield said
    if composite["equivalent"] == len(tasks):
        yield Said(
            "all_equivalent",
            f"Sharing made no difference that matters to any of the {len(tasks)} tasks. What it gives is one "
            f"artefact and one latency in place of {len(tasks)}, not accuracy.",
            {"equivalent": len(tasks), "delta_m_percent": composite["delta_m_percent"]},
        )


def _one_task(tasks: Mapping[str, Mapping[str, Any]], delta: float | None) -> Said | None:
    """Say where the average over tasks is mostly one task's."""
    gains = {name: task["transfer"]["gain_percent"] for name, task in tasks.items()}
    sizes = {name: abs(gain) for name, gain in gains.items() if known(gain)}
    total = math.fsum(sizes.values())
    if len(sizes) < 3 or max(sizes.values()) <= MOST * total:
        return None
    name = max(sizes, key=lambda task: sizes[task])
    task, share = tasks[name], sizes[name] / total
    alone = task["alone"][task["primary"]]
    r2 = task["primary"] == "r2" and abs(alone) < NEAR_ZERO
    way = f", or set {setting(f'tasks.{name}.primary', 'mae')}, which has no such percentages" if r2 else ""
    return Said(
        "one_task_composite",
        f"The average over tasks is mostly that of {name} ({percent(gains[name])} of {score(alone)}): read the tasks "
        f"one by one{way}.",
        {"delta_m_percent": delta, "share": share, "gain_percent": gains[name], "alone": alone},
    )
