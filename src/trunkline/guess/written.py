"""A draft as params.yaml: what a person should see first, each line with its comment; the rest has defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trunkline.guess.draft import FEW_OF_CLASS, FEW_ROWS, Draft
from trunkline.guess.inputs import Input
from trunkline.guess.targets import Aim
from trunkline.guess.words import shown

COMMENT = 40  # column at which comments begin, where the line is not longer
MOST_SLICES, MOST_SLICE_WORDS = 2, 12
RESERVED = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"))
JOINTS = str.maketrans("_-.", "aaa")  # signs within a plain word
UNITS = {"regression": "unit: null", "count": "unit: null"}

HEAD = """\
# yaml-language-server: $schema=docs/params.schema.json
# Everything that decides what a run does; first written by `trunkline init`. Every setting, its unit and its default:
# docs/settings.md, and editors that know the line above show them while you type.
"""


def params_text(draft: Draft) -> str:
    """Return the text of params.yaml."""
    sections = [
        _top(),
        _data(draft),
        _columns(draft.inputs, draft.left_out),
        _tasks(draft.aims),
        _validation(draft),
        _split(draft),
        _recipe(),
        _evaluation(draft),
    ]
    return HEAD + "\n" + "\n".join("".join(f"{line}\n" for line in section) for section in sections)


def scalar(text: str) -> str:
    """Return text as YAML reads it back: in quotes unless it is a plain word.

    Example:
        >>> scalar("EWR"), scalar("no"), scalar("a: b")
        ('EWR', '"no"', '"a: b"')
    """
    plain = text.isascii() and text.translate(JOINTS).isalnum() and text[:1].isalpha()
    if plain and text.lower() not in RESERVED:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    return sign if sign.isprintable() and sign != "\ufeff" else f"\\U{ord(sign):08X}"


def flow(words: Iterable[str]) -> str:
    """Return a list on one line."""
    return f"[{', '.join(map(scalar, words))}]"


def _line(text: str, comment: str, column: int = COMMENT) -> str:
    return f"{text.ljust(column - 2)}  # {comment}"


def _top() -> list[str]:
    return [
        _line("version: 1", "format of this file"),
        _line("seed: 1", "the one source of chance: same seed, same bytes"),
        _line("threads: 1", "CPU threads of training and export; more threads give other last bits"),
    ]


def _data(draft: Draft) -> list[str]:
    nulls = draft.table.null_values
    return [
        "data:",
        _line("  source: {kind: files}", "whatever lies in data/incoming/"),
        _line(f"  key: {flow(draft.key.columns)}", f"identifies a row: {draft.key.why}"),
        *([_line(f"  null_values: {flow(nulls)}", 'what means "no value" in CSV files')] if nulls != [""] else []),
        _line("  keep: []", "columns carried along that are no input, target or key"),
        _line("  sensitive: []", "columns by whose groups every task is judged, such as sex"),
    ]


def _columns(inputs: Mapping[str, Input], left_out: Mapping[str, str]) -> list[str]:
    keys = {name: f"{scalar(name)}:" for name in inputs}
    width = min(24, max(map(len, keys.values())))
    lines = [
        "# The inputs: only what is known when the prediction is made. Numbers take `min` and `max`, words `values`."
    ]
    lines.append("columns:")
    for name, found in inputs.items():
        cycles = f", cycles: {flow(found.cycles)}" if found.cycles else ""
        text = f"  {keys[name].ljust(width)} {{kind: {found.kind}{cycles}}}"
        lines.append(_line(text, found.says, width + 26))
    if left_out:
        lines.append("# Left out:")
        lines += [f"#   {shown(name)}: {' '.join(reason.split())}" for name, reason in left_out.items()]
    return lines


def _tasks(aims: Mapping[str, Aim]) -> list[str]:
    units = any(aim.kind in UNITS for aim in aims.values())
    lines = ["# The targets, learned together; a row without a label teaches the other tasks only."]
    lines += ["# Write the units of your numbers, such as unit: days; reports show them."] if units else []
    lines.append("tasks:")
    for aim in aims.values():
        settings = [f"kind: {aim.kind}", f"target: {scalar(aim.column)}"]
        settings += [f"classes: {flow(aim.classes)}"] if aim.classes else []
        settings += [UNITS[aim.kind]] if aim.kind in UNITS else []
        lines.append(_line(f"  {aim.task}: {{{', '.join(settings)}}}", f"{aim.rows} rows, {aim.says}", 64))
    return lines


def _validation(draft: Draft) -> list[str]:
    rows, smallest = draft.table.rows, draft.smallest_class
    fewest = FEW_ROWS if rows >= FEW_ROWS else max(1, rows // 2)
    of_class = FEW_OF_CLASS if smallest is None else max(1, min(FEW_OF_CLASS, smallest))
    return [
        "validation:",
        _line("  on_failure: stop", "a row that breaks a rule: stop the run, or quarantine"),
        _line(f"  min_rows: {fewest}", "fewest rows of the whole table"),
        _line(f"  min_class_rows: {of_class}", "fewest rows of each class of a target"),
    ]


def _split(draft: Draft) -> list[str]:
    split = draft.split
    if split["kind"] == "time":
        return [
            "split:",
            _line("  kind: time", "earlier rows train | random | group | column"),
            _line(f"  column: {scalar(str(split['column']))}", "orders the rows"),
            _line(f'  validation: "{split["validation"]}"', "from here on rows choose and calibrate"),
            _line(f'  test: "{split["test"]}"', "from here on rows judge"),
            *_following(draft),
        ]
    return [
        "split:",
        _line("  kind: random", "by a hash of the key | time | group | column"),
        _line(f"  validation: {split['validation']}", "share of rows that choose and calibrate"),
        _line(f"  test: {split['test']}", "share of rows that judge"),
    ]


def _following(draft: Draft) -> list[str]:
    validation, test = draft.lengths or ("2 months", "1 month")
    return [
        "  # Rows that come later only judge: these moments stay where they are. To retrain on new rows, write lengths",
        f'  # such as validation: "{validation}", test: "{test}", counted back from the newest row: docs/schedule.md.',
    ]


def _recipe() -> list[str]:
    return [
        "# The recipe, good to begin with. What to change by symptom: docs/choosing.md.",
        _line("quality: standard", "high: the trunk that predicts best, 4 times the training"),
        "trunk:",
        _line("  kind: mlp", "fully connected layers | residual | tabm | ft_transformer"),
        _line("  size: medium", "the one dial: small | medium | large"),
        _line("  numbers: {kind: piecewise}", "by their bins | plain: as they are | periodic: by waves"),
        "training:",
        _line("  seeds: 5", "trainings per arm; under 5 no verdict is claimed"),
        _line("  epochs: auto", "as fits the number of rows, and twice as many while that pays"),
        _line("  batch: auto", "rows per step: near a 16th of the training rows, at most 1024"),
        _line("sharing: {kind: hard}", "one trunk, a head per task"),
        _line("balance: {kind: equal}", "the weighted mean of the normalised losses"),
        _line("sampling: {kind: shuffle}", "every row once per epoch"),
        _line("rebalance: {kind: equal}", "every labelled row counts the same"),
        _line("alone: {match: width}", "the models for one task, against which sharing is judged"),
        _line("monitor: {every: 20}", "steps between two looks at each task in training"),
        _line("calibration: {kind: slope}", "scale the confidences on the validation rows"),
    ]


def _evaluation(draft: Draft) -> list[str]:
    few = [
        name
        for name, found in draft.inputs.items()
        if found.kind == "categorical" and draft.table.columns[name].different <= MOST_SLICE_WORDS
    ]
    first = next(iter(draft.aims.values())).task
    return [
        "evaluation:",
        _line(f"  slices: {flow(few[:MOST_SLICES])}", "columns by whose values every task is scored separately"),
        _line("  gates: {}", f"what a task must fulfil, such as {{{first}: {{max_regret: 0.01}}}}"),
        _line("drift: {drops: 1}", "newest drops held against the training rows"),
        "export:",
        _line(f"  name: {scalar(draft.name)}", "of the model, in its card"),
        _line('  description: ""', "what the model is for, in one sentence"),
        _line("  license: null", "of the model, such as apache-2.0"),
    ]
