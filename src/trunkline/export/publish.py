"""From the chosen seed's weights to a checked file: graph, parity, the same test scores, card, sample.

model.onnx      raw rows in, calibrated predictions out
card.json       what it takes and gives, its sha256, golden rows
MODEL_CARD.md   the same for people
sample.parquet  a few raw test rows to try it on
reference.json  what the training rows were, by counts, to tell later whether new rows still resemble them
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trunkline.columns.encoder import Encoder
from trunkline.data.declarations import Data
from trunkline.errors import GateError
from trunkline.evaluation.calibration import measure_coverage
from trunkline.export import card as cards
from trunkline.export.declarations import Export
from trunkline.export.graph import Model, build_graph, main_output, region_outputs
from trunkline.export.parity import check_parity
from trunkline.files import atomic_path, check_seal, seal, sha256, to_json, write_bytes, write_json, write_text
from trunkline.monitoring.reference import REFERENCE
from trunkline.nets.network import Network
from trunkline.serving.feeds import Input, build_feeds
from trunkline.serving.session import start_session
from trunkline.tasks import Task, TaskState
from trunkline.tasks._modules import Correction, Region
from trunkline.tasks.given import judged_labels

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 100
SCORE_TOLERANCE = 1e-4
SMOOTH = ("log_loss", "log_loss_macro", "survival_log_loss", "brier", "r2", "rmse", "deviance", "pinball")
ROWS_AT_A_TIE = 2  # whose places or classes may differ in a metric that is not smooth
BLOCK = 4096  # rows scored at once


class Exporter:
    """Builds and checks one file.

    Args:
        export: The declared export.
        tasks: The declared tasks.
        data: The declared data: its key, and its words for a missing value.
        encoder: The fitted columns.
        network: The chosen seed's network.
        states: The tasks' states by name, in the order of the heads.
        corrections: Calibration per task.
        threads: CPU threads.
        regions: What makes interval or set of the tasks that have one.
    """

    def __init__(
        self,
        export: Export,
        tasks: Mapping[str, Task],
        data: Data,
        encoder: Encoder,
        network: Network,
        states: dict[str, TaskState],
        corrections: dict[str, Correction],
        threads: int,
        regions: Mapping[str, Region],
    ) -> None:
        self.export, self.tasks, self.data, self.encoder, self.states = export, tasks, data, encoder, states
        self.threads, self.regions = threads, regions
        self.inputs = [Input(name, kind) for name, kind in encoder.inputs]
        ordered, of_tasks = [corrections[name] for name in states], [regions.get(name) for name in states]
        self.model = Model(encoder, network, list(states.values()), ordered, of_tasks).eval()

    def write(
        self,
        split: Path,
        target: Path,
        evaluation: dict[str, Any],
        hashes: dict[str, str],
        reference: dict[str, Any] | None = None,
    ) -> None:
        """Write the export's folder, or nothing.

        Args:
            split: Folder of the split rows.
            target: Folder to write.
            evaluation: reports/evaluation.json, whose `exported` scores the file must reproduce.
            hashes: params_sha256 and data_sha256, for card and metadata.
            reference: What the training rows were, for reference.json; None = the file goes without.

        Raises:
            GateError: The file disagrees with torch, or with the scores that were reported.
        """
        torch.set_num_threads(self.threads)
        card = cards.describe(self.export, self.encoder, self.states, self.regions, self.data, evaluation) | hashes
        graph = build_graph(self.model, self.encoder, self.states, _properties(card))
        test = _test_rows(split)
        real, _ = build_feeds(test.slice(0, max(self.export.parity_rows, SAMPLE_ROWS)), self.inputs)
        card["parity"] = check_parity(self.model, graph, self.encoder, self.states, real, 0, self.threads)
        session = start_session(graph, self.threads)
        labels = {name: _labels(name, self.tasks, self.states[name], test) for name in self.states}
        found = self._outputs(session, test)
        check_scores(found, labels, self.tasks, self.states, evaluation)
        for name, region in self.regions.items():
            parts = [found[part] for part in region_outputs({name: self.states[name]}, self.regions)]
            card["tasks"][name]["coverage"] = measure_coverage(self.states[name], labels[name], parts, region.coverage)
        files = ["model.onnx", "card.json", "MODEL_CARD.md", "sample.parquet"]
        if reference is not None:
            described = to_json(reference).encode()
            write_bytes(target / REFERENCE, described)
            card["reference"] = {"file": REFERENCE, "sha256": cards.digest(described)}
            files.append(REFERENCE)
        card |= {"sha256": cards.digest(graph), "golden": cards.golden(session, real, self.export.golden_rows)}
        write_bytes(target / "model.onnx", graph)
        write_json(target / "card.json", card)
        write_text(target / "MODEL_CARD.md", cards.markdown(card, self.export.license))
        _write_sample(test, [*self.data.key, *(name for name, _ in self.encoder.inputs)], target / "sample.parquet")
        seal(target, files)

    def _outputs(self, session: Any, test: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
        """Return what the file gives for the test rows: every task's prediction, and its interval or set."""
        main = [main_output(name, state) for name, state in self.states.items()]
        names = [*main, *region_outputs(self.states, self.regions)]
        blocks = [
            session.run(names, build_feeds(test.slice(first, BLOCK), self.inputs)[0])
            for first in range(0, test.num_rows, BLOCK)
        ]
        return {name: np.concatenate([block[place] for block in blocks]) for place, name in enumerate(names)}


def _properties(card: dict[str, Any]) -> dict[str, str]:
    """Return the graph's own metadata: what a program needs that has the file alone."""
    kept = ("format", "name", "description", "inputs", "outputs", "key", "params_sha256", "data_sha256")
    return {f"trunkline.{part}": to_json(card[part]).strip() for part in kept}


def _test_rows(split: Path) -> pa.Table:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    check_seal(split)
    table = pq.read_table(split / "rows.parquet", page_checksum_verification=True)
    return table.filter(pc.equal(table["side"], "test"))


def _labels(name: str, tasks: Mapping[str, Task], state: TaskState, test: pa.Table) -> np.ndarray[Any, Any]:
    def read(one: str) -> np.ndarray[Any, Any]:
        return tasks[one].read(test)

    share = state["given"]["labelled"] if "given" in state else 1.0
    return tasks[name].encode(judged_labels(name, tasks, read, share), state)


def check_scores(
    found: Mapping[str, np.ndarray[Any, Any]],
    labels: Mapping[str, np.ndarray[Any, Any]],
    tasks: Mapping[str, Task],
    states: Mapping[str, TaskState],
    evaluation: dict[str, Any],
) -> None:
    """Demand that what the file gives for the test rows scores as was reported as `exported`.

    Args:
        found: The file's outputs for the test rows, by name.
        labels: Their labels by task, float [rows]; NaN = no label.
        tasks: The declared tasks.
        states: The tasks' states by name.
        evaluation: reports/evaluation.json.

    Raises:
        GateError: A metric differs by more than 1e-4 (relative for metrics above 1); one of ranks, classes or bins by
            more than two rows are worth.
    """
    for name, state in states.items():
        known = ~np.isnan(labels[name])
        if not known.any():
            continue  # there is nothing to score, and evaluate reported as much
        # Parity has been checked by row. In a rank, a class or a bin, a row at a tie may still fall to the other side.
        of_ties = max(SCORE_TOLERANCE, ROWS_AT_A_TIE / int(known.sum()))
        scores = tasks[name].scores(labels[name][known], found[main_output(name, state)][known], state)
        for metric, reported in evaluation["tasks"][name]["exported"].items():
            if reported is None and np.isnan(scores[metric]):
                continue
            allowed = SCORE_TOLERANCE if metric in SMOOTH else of_ties
            if reported is None or not abs(scores[metric] - reported) <= allowed * max(1.0, abs(reported)):
                raise GateError(
                    f"export: task '{name}': the ONNX file scores {metric} {scores[metric]:.6g} on the test rows where "
                    f"reports/evaluation.json says {reported}; the file was not published. Run `trunkline run`"
                )


def _write_sample(test: pa.Table, columns: list[str], path: Path) -> None:
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        wanted = list(dict.fromkeys(columns))
        pq.write_table(
            test.select(wanted).slice(0, SAMPLE_ROWS), temporary, compression="zstd", write_page_checksum=True
        )


def data_hash(split: Path) -> str:
    """Return the sha256 of the rows the model came from."""
    return sha256(split / "rows.parquet")


def params_hash(shared: Path) -> str:
    """Return the sha256 of the record of what was declared and trained, models/shared/run.json."""
    return sha256(shared / "run.json")
