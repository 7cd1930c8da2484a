"""Why sharing hurt a task: the first diagnosis that its figures fit, what distorts the other figures before those."""

from __future__ import annotations

import math
from collections.abc import Callable

from trunkline.evaluation import clues
from trunkline.evaluation.advice_case import Case, Recipe, Said, setting
from trunkline.evaluation.wording import count, score, share, signed

STARVED = 0.1  # of its declared say, below which a balance method starves a task
NORM_RATIO = 30.0  # times that another task's gradient is longer, from which on a task is drowned
FEW_STEPS = 120  # of a training, below which a rare task lags behind its own model; docs/log.md has what was measured
LEAST_BATCH = 32
RARE_SAY = 3.0  # times its weight, with which a task of few labels kept up with its own model; see docs/log.md
MOST_GATE_DROPOUT = 0.5
PARTS = {"hard": "cgc", "cgc": "ple"}  # the form to try where a form has too little room for tasks at odds


def about_hurt(case: Case) -> Said:
    """Return what to do about a task that sharing hurt."""
    return next(said for rule in HURT if (said := rule(case)))


def _not_normalised(case: Case) -> Said | None:
    """Judge the scale of the losses first, because it distorts gradients and training losses too."""
    if case.recipe.normalize != "off":
        return None
    louder = clues.louder(case.affinity, case.name)
    far = f"; {_longer_gradient(louder)}" if louder and louder.figure > NORM_RATIO else ""
    return Said(
        "not_normalised",
        f"Sharing hurt {case.name} while each loss counts in its target's own unit, so that a task with large numbers "
        f"drowns the others{far}. First set {setting('training.normalize', 'constant')}, and judge all tasks again "
        f"before anything else is changed.",
        case.figures(normalize="off", **({"gradient_norm_ratio": louder.figure} if louder else {})),
    )


def _longer_gradient(louder: clues.Other) -> str:
    return f"the gradient of {louder.name} is {count(round(louder.figure))} times as long as its own"


def _starved(case: Case) -> Said | None:
    say = clues.say(case.training, case.name, case.recipe.weights)
    if say is None or say >= STARVED:
        return None
    method = case.recipe.balance
    other = setting("balance.kind", "equal" if method == "log" else "log")
    return Said(
        "starved",
        f"Sharing hurt {case.name}, to which the balance, {method}, left only {share(say)} of its declared say in the "
        f"second half of the training. Set {other}, and judge all tasks again.",
        case.figures(say=say, balance=method),
    )


def _without_labels(case: Case) -> Said | None:
    raised = clues.alarm(case.training, "unlabelled", case.name)
    if raised is None:
        return None
    return Said(
        "without_labels",
        f"Sharing hurt {case.name}, of which many batches in a row had no labelled row: between them the others move "
        f"the trunk away from it. Set {setting('training.batch', 2 * case.recipe.batch)}.",
        case.figures(seen=raised["seen"], labels=clues.labels(case.task)),
    )


def _idle_gate(case: Case) -> Said | None:
    gate, dropout = clues.idle_gate(case.training, case.name), case.recipe.gate_dropout
    if gate is None or dropout is None:
        return None
    load = gate["load"][gate["busiest"]]
    return Said(
        "idle_gate",
        f"Sharing hurt {case.name}, whose gate at level {gate['level']} gives expert '{gate['busiest']}' "
        f"{share(load)} on average, so that it has next to nothing of the others. Set "
        f"{setting('sharing.gate_dropout', min(dropout + 0.1, MOST_GATE_DROPOUT))}, or declare fewer experts.",
        case.figures(load=load, collapsed=gate["collapsed"]),
    )


def _drowned(case: Case) -> Said | None:
    louder = clues.louder(case.affinity, case.name)
    if louder is None or louder.figure <= NORM_RATIO:
        return None
    learned = setting("balance.kind", "uncertainty")
    doubled = setting(f"tasks.{case.name}.weight", 2 * case.recipe.weights[case.name])
    repair = f"{learned}, which learns how much each task may say" if case.recipe.balance == "equal" else doubled
    return Said(
        "drowned",
        f"Sharing hurt {case.name}: although the losses are normalised, {_longer_gradient(louder)}. Set {repair}.",
        case.figures(gradient_norm_ratio=louder.figure),
    )


def _too_few_steps(case: Case) -> Said | None:
    rows, recipe = clues.training_rows(case.evaluation["tasks"]), case.recipe
    steps, train = max(1, rows // recipe.batch) * recipe.epochs, clues.train_loss(case.history, case.name)
    if steps >= FEW_STEPS or (train is not None and train.gap < 0):
        return None
    repair = " and ".join(setting(key, value) for key, value in _more_steps(rows, recipe).items())
    return Said(
        "too_few_steps",
        f"Sharing hurt {case.name} in a training of {count(steps)} steps, in which the shared layers have barely begun "
        f"to serve every task. Set {repair}, and judge all tasks again before anything else is changed.",
        case.figures(steps=steps, **(_train_figures(train) if train else {})),
    )


def _more_steps(rows: int, recipe: Recipe) -> dict[str, int]:
    """Return the settings that make enough steps: smaller ones, and only where those would be tiny more epochs."""
    most = max(1, rows * recipe.epochs // FEW_STEPS)
    batch = min(recipe.batch, max(LEAST_BATCH, 1 << (most.bit_length() - 1)))
    epochs = max(recipe.epochs, math.ceil(FEW_STEPS / max(1, rows // batch)))
    wanted = {"training.batch": (batch, recipe.batch), "training.epochs": (epochs, recipe.epochs)}
    return {key: value for key, (value, declared) in wanted.items() if value != declared}


def _conflict(case: Case) -> Said | None:
    other = clues.opponent(case.affinity, case.name)
    if other is None:
        return None
    train = clues.train_loss(case.history, case.name)
    cramped = train is not None and train.gap > 0
    fits = f", and it fits its training rows worse than alone ({_losses(train)})" if cramped and train else ""
    parts = PARTS.get(case.recipe.sharing) if cramped else None
    form = f" or {setting('sharing.kind', parts)}, which keeps a part of the layers for each task" if parts else ""
    return Said(
        "conflict",
        f"Sharing hurt {case.name}, and its gradients oppose those of {other.name} beyond chance (mean cosine "
        f"{signed(other.cosine)}, t {signed(other.t)}){fits}: the trunk has no room for both. Set {case.wider}{form}; "
        f"{case.apart}.",
        case.figures(
            opponent=other.name,
            mean_cosine=other.cosine,
            t=other.t,
            **(_train_figures(train) if cramped and train else {}),
        ),
    )


def _outvoted(case: Case) -> Said | None:
    train, few = clues.train_loss(case.history, case.name), clues.few_labels(case.evaluation["tasks"], case.name)
    if not few or train is None or train.gap <= 0 or case.recipe.sharing != "hard":
        return None
    labels = clues.labels(case.task)
    louder = setting(f"tasks.{case.name}.weight", RARE_SAY * case.recipe.weights[case.name])
    return Said(
        "outvoted",
        f"Sharing hurt {case.name}, which has only {count(labels)} labels that teach it and fits its training rows "
        f"worse than alone ({_losses(train)}): the other tasks decide what the trunk learns. Set "
        f"{setting('sharing.kind', 'stem')}, which keeps tables and layers for each task, and {louder}; {case.apart}.",
        case.figures(**_train_figures(train), labels=labels),
    )


def _too_little_room(case: Case) -> Said | None:
    train = clues.train_loss(case.history, case.name)
    if train is None or train.gap <= 0:
        return None
    peace = ", while no other task's gradients oppose its own" if case.affinity else ""
    return Said(
        "too_little_room",
        f"Sharing hurt {case.name}, and the shared model fits it worse than alone already on the training rows "
        f"({_losses(train)}){peace}: the trunk lacks room or time. Set {case.wider} and {case.longer}; {case.apart}.",
        case.figures(**_train_figures(train)),
    )


def _overfit(case: Case) -> Said | None:
    train, few = clues.train_loss(case.history, case.name), clues.few_labels(case.evaluation["tasks"], case.name)
    if train is None or (train.gap == 0 and not few):
        return None
    recipe = case.recipe
    decay = setting("training.weight_decay", 10 * recipe.weight_decay or 0.001)
    lower = setting(f"tasks.{case.name}.weight", recipe.weights[case.name] / 2)
    why, first = (", as tasks with few labels do", f"{lower}, then ") if few else ("", "")
    return Said(
        "overfit",
        f"Sharing hurt {case.name} on test rows though the shared model fits its training rows no worse than alone "
        f"({_losses(train)}): it over-fits{why}. Try {first}{decay} or {case.quieter}.",
        case.figures(**_train_figures(train), labels=clues.labels(case.task)),
    )


def _unexplained(case: Case) -> Said:
    unmeasured = f"Set {setting('monitor.every', 20)} to see whether gradients oppose each other, and try"
    begin = unmeasured if case.affinity is None and not case.recipe.every else "Try"
    return Said(
        "unexplained",
        f"Sharing hurt {case.name}, and no figure says why. {begin}, one at a time and with the same seeds, "
        f"{case.longer} and {case.wider}; {case.apart}.",
        case.figures(),
    )


def _losses(train: clues.TrainLoss) -> str:
    return f"loss {score(train.shared)} against {score(train.alone)}, where a constant prediction has 1"


def _train_figures(train: clues.TrainLoss) -> dict[str, float]:
    return {"train_loss_shared": train.shared, "train_loss_alone": train.alone}


Rule = Callable[[Case], Said | None]
HURT: tuple[Rule, ...] = (
    _not_normalised, _starved, _without_labels, _drowned, _idle_gate, _too_few_steps, _conflict, _outvoted,
    _too_little_room, _overfit, _unexplained,
)  # fmt: skip
"""What may have hurt a task, in the order in which it is looked for; the last always fits."""
