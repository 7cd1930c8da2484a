"""Open an exported model: the right bytes, nothing hidden in them, and the answers it gave when it was exported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from trunkline.errors import ArtifactError
from trunkline.serving.card import Card, Output, read_card
from trunkline.serving.cells import Values
from trunkline.serving.feeds import Feeds, Input
from trunkline.serving.golden import differences, golden_feeds
from trunkline.serving.one_file import foreign_part
from trunkline.serving.vocabulary import known_words

TENSORS = {"numeric": "tensor(double)", "categorical": "tensor(string)", "timestamp": "tensor(int64)"}
SILENT = 4  # onnxruntime's log level for nothing but crashes; faults reach us as exceptions


@dataclass(frozen=True)
class Model:
    """An exported model, ready to run. `run` may be called from several threads at once."""

    path: Path
    inputs: list[Input]
    outputs: list[str]
    """Names, in the card's order."""

    parts: list[Output]
    """What each output is, in the same order."""

    key: list[str]
    """Columns that identify a row; predictions carry them along where they are there."""

    sha256: str
    card: dict[str, Any]
    session: Any
    words: dict[str, frozenset[str]]
    """What the model knows of each categorical input; empty unless asked for."""

    def run(self, feeds: Feeds, options: Any = None) -> dict[str, Values]:
        """Return every output [rows, columns] for feeds made by `build_feeds`.

        Args:
            feeds: Arrays [rows, 1] by input.
            options: `onnxruntime.RunOptions`, by which another thread may end the call.
        """
        return dict(zip(self.outputs, self.session.run(self.outputs, feeds, options), strict=True))

    def run_in_pieces(self, feeds: Feeds, rows: int, piece: int, options: Any = None) -> dict[str, Values]:
        """Return what `run` does, computed for `piece` of the `rows` at a time."""
        parts = [
            self.run({name: feed[start : start + piece] for name, feed in feeds.items()}, options)
            for start in range(0, max(rows, 1), piece)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}


def start_session(content: bytes, threads: int = 1) -> Any:
    """Return an onnxruntime session on the CPU for the bytes of a graph.

    Args:
        content: The bytes of an ONNX file.
        threads: CPU threads of one call. One is fastest per core; more calls at once scale better.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = SILENT
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def open_model(path: Path, *, threads: int = 1, check: bool = True, words: bool = False) -> Model:
    """Open model.onnx, with the card.json that lies beside it.

    Args:
        path: The ONNX file.
        threads: CPU threads of one call.
        check: Also run the card's golden rows and compare.
        words: Also read which words the model knows.

    Raises:
        ArtifactError: The file or its card is missing, altered, unreadable by onnxruntime, not self-contained,
            or gives other answers than when it was exported.
    """
    content = _read(path)
    card = read_card(path.with_name("card.json"))
    _refuse_altered(path, content, card)
    _refuse_foreign(path, content)
    model = Model(
        path=path,
        inputs=card.inputs,
        outputs=[output.name for output in card.outputs],
        parts=card.outputs,
        key=card.key,
        sha256=card.sha256,
        card=card.content,
        session=_start(path, content, threads),
        words=known_words(content) if words else {},
    )
    _refuse_other_names(model)
    if check:
        _refuse_other_answers(model)
    return model


def read_again(model: Model) -> bytes:
    """Return the bytes of an opened model, from its file.

    Raises:
        ArtifactError: They are not those that were opened.
    """
    content = _read(model.path)
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ArtifactError(f"{model.path}: changed while it was read; try again")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise ArtifactError(
            f"{path}: cannot be read ({fault.strerror}); give the exported file, such as models/export/model.onnx"
        ) from fault


def _refuse_altered(path: Path, content: bytes, card: Card) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ArtifactError(
            f"{path}: is not the file that card.json describes (sha256 {found[:12]}..., "
            f"expected {card.sha256[:12]}...); export the model again, or copy both files anew"
        )


def _refuse_foreign(path: Path, content: bytes) -> None:
    try:
        part = foreign_part(content)
    except ValueError as fault:
        raise ArtifactError(f"{path}: is not an ONNX file ({fault}); export the model again") from fault
    if part:
        raise ArtifactError(f"{path}: has {part}, which no model exported by trunkline has; it is not opened")


def _start(path: Path, content: bytes, threads: int) -> Any:
    try:
        return start_session(content, threads)
    except Exception as fault:  # onnxruntime's exceptions have no other base
        reason = str(fault).splitlines()[0]
        raise ArtifactError(f"{path}: onnxruntime cannot open it ({reason}); export the model again") from fault


def _refuse_other_names(model: Model) -> None:
    promised = {name: TENSORS[kind] for name, kind in model.inputs}
    taken = {entry.name: entry.type for entry in model.session.get_inputs()}
    given = {entry.name for entry in model.session.get_outputs()}
    wrong = sorted({name for name, _ in promised.items() ^ taken.items()} | (set(model.outputs) - given))
    if wrong:
        raise ArtifactError(
            f"{model.path}: '{wrong[0]}' is not in the graph as card.json says it is; export the model again"
        )


def _refuse_other_answers(model: Model) -> None:
    try:
        inputs, outputs = model.card["golden"]["inputs"], model.card["golden"]["outputs"]
        found = model.run(golden_feeds(inputs, model.inputs))
        wrong = [
            (output.name, row)
            for output in model.parts
            for row in differences(found[output.name], outputs[output.name], output.part, output.spread)
        ]
    except Exception as fault:  # whatever a damaged card or graph leads to
        raise ArtifactError(f"{model.path}: the golden rows of card.json cannot be run ({fault})") from fault
    if wrong:
        name, row = wrong[0]
        raise ArtifactError(
            f"{model.path}: self-check failed: output '{name}' of golden row {row} is {found[name][row].tolist()}, "
            f"but was {outputs[name][row]} when the model was exported.\n"
            f"  Compare onnxruntime {onnxruntime.__version__} with the version in requirements.lock"
        )
