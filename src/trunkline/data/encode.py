"""Rows to arrays: columns fitted on training rows, then every side encoded block by block.

    features/<side>.features.npy   float32 [rows, width]      what the trunk reads
    features/<side>.codes.npy      int32 [rows, columns]      places in the embedding table
    labels/<task>.npy              float32 [rows of all sides, train first, then validation, then test]
    labels/<task>.json             what was learned from the task's training labels, and the seal of its array; of a
                                   task that is given another also `head`, what the conditional head starts from
    groups/<column>.npy            int32 [rows of all sides], see data/groups.py
    encoder.json, front.onnx       the fitted columns; the same two files make the exported graph

Arrays are plain .npy, opened as memory maps, so that data larger than memory trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.columns.base import Kind
from trunkline.columns.encoder import Encoder
from trunkline.errors import ArtifactError, DataError
from trunkline.files import MANIFEST, atomic_path, check_seal, read_json, seal, sha256, write_bytes, write_json
from trunkline.tasks import given

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from trunkline.columns import Column
    from trunkline.data.groups import Mask
    from trunkline.tasks import Task, TaskState

SIDES = ("train", "validation", "test")
BLOCK = 65_536  # rows encoded at once


def read_sides(rows: pq.ParquetFile) -> dict[str, Mask]:
    """Return for each side, in order, True where a row belongs to it, bool [rows]."""
    import pyarrow.compute as pc

    column = rows.read(["side"])["side"]
    return {side: np.asarray(pc.equal(column, side), dtype=np.bool_) for side in SIDES}


def fit_encoder(columns: Mapping[str, Column], rows: pq.ParquetFile, training: Mask) -> Encoder:
    """Fit every column on the training rows, one column in memory at a time.

    Args:
        columns: The declared inputs.
        rows: data/split/rows.parquet, open.
        training: True where a row is for training.
    """
    states = {}
    for name, column in columns.items():
        feeds = _feeds(rows.read([name]), [(name, column.kind)])
        states[name] = column.fit(feeds[name][training, 0])
    return Encoder(states)


def _feeds(table: pa.Table | pa.RecordBatch, inputs: list[tuple[str, Kind]]) -> dict[str, np.ndarray[Any, Any]]:
    from trunkline.serving.feeds import Input, build_feeds

    feeds, rejected = build_feeds(table, [Input(name, kind) for name, kind in inputs])
    if rejected:
        row, reason = next(iter(rejected.items()))
        raise DataError(f"data/split/rows.parquet: row {row + 1}: {reason}; mend the drop it came from")
    return feeds


class _Runner:
    """Runs an encoder over blocks of raw feeds.

    Args:
        encoder: The fitted encoder.
        front: Bytes of the front graph.
        threads: Threads onnxruntime may use.
    """

    def __init__(self, encoder: Encoder, front: bytes, threads: int) -> None:
        self.encoder = encoder
        self.categorical = encoder.of_kind("categorical")
        self.prepare = encoder.prepare()
        from trunkline.serving.session import start_session

        self.session = start_session(front, threads) if self.categorical else None

    def __call__(self, feeds: dict[str, np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return (features float32 [rows, width], codes int32 [rows, columns]) for raw feeds [rows, 1] each."""
        import torch

        rows = len(next(iter(feeds.values())))
        codes = np.zeros((rows, len(self.categorical)), dtype=np.int64)
        if self.session is not None:
            found = self.session.run(None, {name: feeds[name] for name in self.categorical})
            codes = np.concatenate(found, axis=1)
        raw: list[torch.Tensor] = []
        places = {name: place for place, name in enumerate(self.categorical)}
        for name, kind in self.encoder.inputs:
            value = codes[:, places[name]][:, None] if kind == "categorical" else feeds[name]
            raw.append(torch.from_numpy(np.array(value)))
        with torch.inference_mode():
            features, prepared_codes = self.prepare(raw)
        return features.numpy(), prepared_codes.numpy().astype(np.int32)


def write_features(
    encoder: Encoder, front: bytes, rows: pq.ParquetFile, sides: Mapping[str, Mask], folder: Path, threads: int
) -> None:
    """Encode all rows into one pair of arrays per side.

    Args:
        encoder: The fitted columns.
        front: Bytes of the string part of the graph.
        rows: data/split/rows.parquet, open.
        sides: The rows of each side.
        folder: Where the arrays go.
        threads: CPU threads for the graph.
    """
    from contextlib import ExitStack

    runner = _Runner(encoder, front, threads)
    widths = {"features": (encoder.features, np.float32), "codes": (len(encoder.vocabulary_sizes), np.int32)}
    start, filled = 0, dict.fromkeys(sides, 0)
    with ExitStack() as stack:
        arrays = {
            (side, part): np.lib.format.open_memmap(
                stack.enter_context(atomic_path(folder / f"{side}.{part}.npy")),
                mode="w+", dtype=dtype, shape=(int(mask.sum()), width),
            )
            for side, mask in sides.items()
            for part, (width, dtype) in widths.items()
        }  # fmt: skip
        names = [name for name, _ in encoder.inputs]
        for batch in rows.iter_batches(BLOCK, columns=names):
            features, codes = runner(_feeds(batch, encoder.inputs))
            for side, mask in sides.items():
                chosen = mask[start : start + len(features)]
                end = filled[side] + int(np.count_nonzero(chosen))
                arrays[side, "features"][filled[side] : end] = features[chosen]
                arrays[side, "codes"][filled[side] : end] = codes[chosen]
                filled[side] = end
            start += len(features)
        for array in arrays.values():
            array.flush()


def write_labels(
    name: str, tasks: Mapping[str, Task], rows: pq.ParquetFile, sides: Mapping[str, Mask], folder: Path
) -> None:
    """Fit one task on its training labels and write all labels of the task, as it is judged, train first.

    Args:
        name: The task's name.
        tasks: The declared tasks; the parent of this one, where it has one, is written.
        rows: data/split/rows.parquet, open.
        sides: The rows of each side.
        folder: Where the labels go.

    Raises:
        DataError: The training labels cannot teach this kind of task.
    """
    task = tasks[name]

    @cache
    def whole(one: str) -> np.ndarray[Any, Any]:
        return tasks[one].read(rows.read(list(tasks[one].label_columns)))

    def of_side(mask: Mask) -> Callable[[str], np.ndarray[Any, Any]]:
        return lambda one: whole(one)[mask]

    head = None
    if held := given.parent_of(task):
        parent = read_json(folder / f"{held[0]}.json")["state"]
        head = given.fit_head(name, tasks, of_side(sides["train"]), parent)
    share = head["given"]["labelled"] if head else 1.0
    labels = {side: given.judged_labels(name, tasks, of_side(mask), share) for side, mask in sides.items()}
    state = task.fit(name, labels["train"])
    if head and task.conditional == "entire_space":
        head["constant_loss"] = state["constant_loss"]
    of_sides = {side: task.encode(part, state) for side, part in labels.items()}
    path = folder / f"{name}.npy"
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.lib.format.write_array(handle, np.concatenate(list(of_sides.values())), allow_pickle=False)
    learned: dict[str, Any] = {"state": state} | ({"head": head} if head else {})
    if task.role != "main":
        learned["role"] = task.role  # told to the baseline, which has no eye on the tasks' declarations
    counts = {side: int(np.count_nonzero(~np.isnan(part))) for side, part in of_sides.items()}
    write_json(folder / f"{name}.json", {"version": 1, **learned, "labelled": counts, "sha256": sha256(path)})


def encode_rows(
    columns: Mapping[str, Column],
    tasks: Mapping[str, Task],
    source: Path,
    target: Path,
    threads: int,
    sensitive: Sequence[str] = (),
) -> None:
    """Write every array of data/encoded/ from data/split/.

    Args:
        columns: The declared inputs.
        tasks: The declared tasks.
        source: The split's folder.
        target: The folder to write.
        threads: CPU threads for the graph.
        sensitive: Columns by whose groups the tasks are judged.
    """
    from trunkline.data.groups import write_groups
    from trunkline.data.rows import open_rows

    with open_rows(source) as rows:
        sides = read_sides(rows)
        write_groups(sensitive, rows, sides, target / "groups")
        encoder = fit_encoder(columns, rows, sides["train"])
        front = encoder.front().SerializeToString(deterministic=True)
        write_features(encoder, front, rows, sides, target / "features", threads)
        for name in given.parents_first(tasks):
            write_labels(name, tasks, rows, sides, target / "labels")
    write_json(target / "encoder.json", encoder.to_json())
    write_bytes(target / "front.onnx", front)
    seal(target, ["encoder.json", "front.onnx"])
    names = [f"{side}.{part}.npy" for side in SIDES for part in ("features", "codes")]
    made_by = read_json(target / MANIFEST)["files"]["encoder.json"]["sha256"]
    counts = {side: int(mask.sum()) for side, mask in sides.items()}
    seal(target / "features", names, rows=counts, encoder=made_by)


def read_encoder(folder: Path) -> Encoder:
    """Read the fitted columns of data/encoded.

    Raises:
        ArtifactError: encoder.json is missing or was altered.
    """
    check_seal(folder, ["encoder.json"])
    return Encoder.from_json(read_json(folder / "encoder.json"))


def is_auxiliary(folder: Path, task: str) -> bool:
    """Whether data/encoded says of a task that it is neither exported nor judged."""
    return bool(read_json(folder / "labels" / f"{task}.json").get("role") == "auxiliary")


class Arrays:
    """One side of data/encoded/, as memory maps.

    Attributes:
        features: float32 [rows, width].
        codes: int32 [rows, categorical columns].
        labels: float32 [rows] per task, NaN = no label.
        groups: int32 [rows] per sensitive column: place of the row's group in `Encoded.groups`.
    """

    def __init__(self, folder: Path, side: str, tasks: Sequence[str], group_files: Mapping[str, str]) -> None:
        rows = read_json(folder / "features" / MANIFEST)["rows"]
        before = sum(rows[earlier] for earlier in SIDES[: SIDES.index(side)])
        own = slice(before, before + rows[side])
        self.features = np.load(folder / "features" / f"{side}.features.npy", mmap_mode="r")
        self.codes = np.load(folder / "features" / f"{side}.codes.npy", mmap_mode="r")
        self.labels = {task: np.load(folder / "labels" / f"{task}.npy", mmap_mode="r")[own] for task in tasks}
        self.groups = {
            column: np.load(folder / "groups" / f"{stem}.npy", mmap_mode="r")[own]
            for column, stem in group_files.items()
        }

    def __len__(self) -> int:
        return len(self.features)


class Encoded:
    """data/encoded/ as training and evaluation read it: checked once, opened on demand.

    Args:
        folder: data/encoded.
        tasks: The tasks whose labels are wanted, in order.
        sensitive: The columns whose groups are wanted.

    Attributes:
        encoder: The fitted columns.
        states: Of each task what was learned from its training labels, as it is judged.
        heads: The same as heads of one model of these tasks learn them, see tasks/given.py.
        labelled: Of each task the rows with a label, per side.
        groups: Of each sensitive column the names of its groups.
        group_seals: And the sha256 of the rows' groups.

    Raises:
        ArtifactError: An array is missing or was altered.
    """

    def __init__(self, folder: Path, tasks: list[str], sensitive: Sequence[str] = ()) -> None:
        self.folder, self.tasks = folder, tasks
        sealed = check_seal(folder, ["encoder.json"])["files"]["encoder.json"]["sha256"]
        self.encoder = Encoder.from_json(read_json(folder / "encoder.json"))
        if check_seal(folder / "features")["encoder"] != sealed:
            raise ArtifactError(f"{folder / 'encoder.json'}: did not make the features beside it; run `trunkline run`")
        described = {task: read_json(folder / "labels" / f"{task}.json") for task in tasks}
        for task, content in described.items():
            path = folder / "labels" / f"{task}.npy"
            if not path.exists() or sha256(path) != content["sha256"]:
                raise ArtifactError(f"{path}: is missing or was altered after it was written; run `trunkline run`")
        self.states: dict[str, TaskState] = {task: content["state"] for task, content in described.items()}
        heads = {task: content.get("head", content["state"]) for task, content in described.items()}
        self.heads: dict[str, TaskState] = given.placed(heads, self.states)
        self.labelled: dict[str, dict[str, int]] = {task: content["labelled"] for task, content in described.items()}
        self._group_files = _group_files(folder / "groups", sensitive)
        self.groups: dict[str, list[str]] = {
            column: read_json(folder / "groups" / f"{stem}.json")["groups"]
            for column, stem in self._group_files.items()
        }
        sealed_groups = read_json(folder / "groups" / MANIFEST)["files"] if self._group_files else {}
        self.group_seals: dict[str, str] = {
            column: sealed_groups[f"{stem}.npy"]["sha256"] for column, stem in self._group_files.items()
        }

    def side(self, name: str) -> Arrays:
        """Open one side: "train", "validation" or "test"."""
        return Arrays(self.folder, name, self.tasks, self._group_files)


def _group_files(folder: Path, sensitive: Sequence[str]) -> dict[str, str]:
    """Return the stem of each sensitive column's files, after checking them against the seal."""
    if not sensitive:
        return {}
    stems = read_json(folder / MANIFEST)["columns"]
    lacking = [column for column in sensitive if column not in stems]
    if lacking:
        raise ArtifactError(f"{folder}: holds no groups of column '{lacking[0]}'; run `trunkline run`")
    chosen = {column: stems[column] for column in sensitive}
    check_seal(folder, [f"{stem}.{kind}" for stem in chosen.values() for kind in ("npy", "json")])
    return chosen
