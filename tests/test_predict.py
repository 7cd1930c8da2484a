"""Predictions for files: every row answered or rejected, bounded memory, nothing half written, no altered model."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from tiny_model import CLASSES, expected, graph, write_model

from trunkline.errors import ArtifactError, DataError, EnvironmentFault, ParamsError
from trunkline.files import sha256
from trunkline.serving.kept import find_kept
from trunkline.serving.one_file import foreign_part
from trunkline.serving.predict import predict_file
from trunkline.serving.session import open_model

DAY = dt.datetime(2013, 1, 31, tzinfo=dt.UTC)
COLUMNS = [
    "late.probability", "size.probability.small", "size.probability.middle", "size.probability.large", "delay.value",
    "size.label", "rejected",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("export"))


def rows(count: int = 7, **changes: Any) -> pa.Table:
    """Rows with every sort of missing value and a word that the model never saw."""
    pattern = {
        "extra": ["unused", None],
        "time_hour": [DAY + dt.timedelta(hours=5), None, DAY],
        "origin": ["EWR", "LGA", None, "", "nobody knows"],
        "x": [1.25, None, -3.0, math.inf],
        "id": list(range(count)),
    }
    return pa.table(
        {name: [cells[row % len(cells)] for row in range(count)] for name, cells in (pattern | changes).items()}
    )


def by_hand(table: pa.Table) -> list[dict[str, Any]]:
    moments = [None if m is None else int(m.timestamp()) for m in table["time_hour"].to_pylist()]
    return [expected(*row) for row in zip(table["x"].to_pylist(), table["origin"].to_pylist(), moments, strict=True)]


def agree(found: pa.Table, answers: list[dict[str, Any]], but: tuple[int, ...] = ()) -> None:
    """Compare every row with the answers computed by hand; rows in `but` have none."""
    assert found.num_rows == len(answers)
    for row, (given, answer) in enumerate(zip(found.to_pylist(), answers, strict=True)):
        values = [
            given["late.probability"],
            *(given[f"size.probability.{word}"] for word in CLASSES),
            given["delay.value"],
        ]
        if row in but:
            assert values == [None] * 5 and given["size.label"] is None and given["rejected"]
        else:
            wanted = [answer[name] for name in ("late.probability", "size.probability", "delay.value")]
            assert values == pytest.approx([number for part in wanted for number in part], rel=1e-5, abs=1e-6)
            assert given["size.label"] == answer["size.label"][0] and not given["rejected"]


# --- what comes out ---------------------------------------------------------------------------------------


def test_parquet_gives_keys_outputs_and_rejected_in_this_order_with_their_own_types(model, tmp_path):
    table = rows()
    pq.write_table(table, tmp_path / "in.parquet")
    summary = predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == ["id", "origin", *COLUMNS]
    assert found.schema.types == [pa.int64(), pa.string(), *[pa.float32()] * 5, pa.string(), pa.string()]
    assert found.select(["id", "origin"]).equals(table.select(["id", "origin"]))
    assert found.schema.metadata[b"trunkline.model_sha256"] == sha256(model).encode()
    assert (summary.rows, summary.rejected) == (7, 0)
    agree(found, by_hand(table))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_csv_gives_the_same_predictions_as_parquet(model, tmp_path, delimiter, packed):
    table = rows(9)
    pv.write_csv(table, tmp_path / "plain.csv", pv.WriteOptions(delimiter=delimiter))
    content = b"\xef\xbb\xbf" + (tmp_path / "plain.csv").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "in.csv").write_bytes(gzip.compress(content) if packed else content)
    predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["id"].to_pylist() == [str(row) for row in range(9)]
    agree(found, by_hand(table))


def test_csv_out_reads_back_as_the_same_predictions(model, tmp_path):
    pq.write_table(rows(), tmp_path / "in.parquet")
    predict_file(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    found = pv.read_csv(tmp_path / "out.csv")
    assert found.column_names == ["id", "origin", *COLUMNS]
    agree(found, by_hand(rows()))


def test_a_row_that_makes_no_sense_keeps_its_place_and_says_why(model, tmp_path):
    table = rows(5, x=["1.25", "12abc", "", " -3 ", "1,5"])
    pq.write_table(table, tmp_path / "in.parquet")
    summary = predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert (summary.rows, summary.rejected) == (5, 2)
    assert found["id"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["rejected"].to_pylist()[1] == "column 'x': '12abc' is not a number"
    agree(found, by_hand(rows(5, x=[1.25, None, None, -3.0, None])), but=(1, 4))


def test_key_columns_that_the_source_lacks_are_left_out(model, tmp_path):
    pq.write_table(rows().drop_columns(["id"]), tmp_path / "in.parquet")
    predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_schema(tmp_path / "out.parquet").names == ["origin", *COLUMNS]


def test_a_key_that_is_no_text_is_named_and_does_not_make_a_file_that_nobody_can_read(model, tmp_path):
    lying = pa.array([b"EWR", b"\xff\xfe", None], pa.binary()).view(pa.string())
    names = pa.array([b"\xff", b"b", b"c"], pa.binary()).view(pa.string())
    table = pa.table({"id": names, "x": [1.0, 1.0, 1.0], "origin": lying, "time_hour": [0, 0, 0]})
    pq.write_table(table, tmp_path / "in.parquet")
    assert predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet").rejected == 2
    found = pq.read_table(tmp_path / "out.parquet")
    found.validate(full=True)
    assert found["origin"].to_pylist() == ["EWR", "\ufffd\ufffd", None]
    assert found["id"].to_pylist() == ["\ufffd", "b", "c"]
    reasons = [r"column 'id': b'\xff' is not UTF-8 text", r"column 'origin': b'\xff\xfe' is not UTF-8 text", None]
    assert found["rejected"].to_pylist() == reasons


@pytest.mark.parametrize("how", ["dictionary", "large", "view"])
def test_keys_and_words_may_be_laid_out_as_arrow_likes(model, tmp_path, how):
    kind = {"dictionary": pa.dictionary(pa.int32(), pa.string()), "large": pa.large_string(), "view": pa.string_view()}
    table = rows()
    laid_out = table.set_column(table.column_names.index("origin"), "origin", table["origin"].cast(kind[how]))
    pq.write_table(laid_out, tmp_path / "in.parquet", row_group_size=2)
    for name in ("out.parquet", "out.csv"):
        predict_file(model, tmp_path / "in.parquet", tmp_path / name)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["origin"].cast(pa.string()).to_pylist() == table["origin"].to_pylist()
    agree(found, by_hand(table))
    agree(pv.read_csv(tmp_path / "out.csv"), by_hand(table))


def test_no_rows_give_a_file_without_rows_but_with_all_columns(model, tmp_path):
    pq.write_table(rows().slice(0, 0), tmp_path / "in.parquet")
    (tmp_path / "in.csv").write_text("id,x,origin,time_hour")
    for source in ("in.parquet", "in.csv"):
        for target in ("out.parquet", "out.csv"):
            assert predict_file(model, tmp_path / source, tmp_path / target).rows == 0
        assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
        assert pq.read_schema(tmp_path / "out.parquet").names == ["id", "origin", *COLUMNS]
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 1


def test_rows_come_in_order_in_groups_of_65536_whatever_the_batch_and_progress_is_told(model, tmp_path):
    table = rows(150_000, x=[row % 7 / 2 for row in range(150_000)])
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=10_001)
    pv.write_csv(table, tmp_path / "in.csv")
    told: list[tuple[int, int | None]] = []
    predict_file(model, tmp_path / "in.parquet", tmp_path / "a.parquet", on_progress=lambda *now: told.append(now))
    predict_file(model, tmp_path / "in.parquet", tmp_path / "b.parquet", batch=999, threads=2)
    predict_file(model, tmp_path / "in.csv", tmp_path / "c.parquet")
    first, second, third = (pq.read_table(tmp_path / name) for name in ("a.parquet", "b.parquet", "c.parquet"))
    assert first["id"].to_numpy().tolist() == list(range(150_000))
    assert told == [(65_536, 150_000), (131_072, 150_000), (150_000, 150_000)]
    assert [pq.read_metadata(tmp_path / "a.parquet").row_group(at).num_rows for at in range(3)] == [
        65_536,
        65_536,
        18_928,
    ]
    for other in (second, third):
        assert first["size.label"].equals(other["size.label"])
        np.testing.assert_allclose(first["delay.value"], other["delay.value"], rtol=1e-6)
    agree(first.slice(131_070, 30), by_hand(table.slice(131_070, 30)))


def test_the_same_rows_give_the_same_bytes(model, tmp_path):
    pq.write_table(rows(), tmp_path / "in.parquet")
    for name in ("a.parquet", "b.parquet"):
        predict_file(model, tmp_path / "in.parquet", tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_keys_that_a_spreadsheet_would_run_are_written_as_text(model, tmp_path):
    words = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\tx", "-5", "+1.5e3", "a=b", None]
    (tmp_path / "in").mkdir()
    pq.write_table(rows(9, id=words), tmp_path / "in" / "rows.parquet")
    predict_file(model, tmp_path / "in" / "rows.parquet", tmp_path / "out.csv")
    written = pv.read_csv(tmp_path / "out.csv", convert_options=pv.ConvertOptions(column_types={"id": pa.string()}))
    assert written["id"].to_pylist() == ["'=1+1", "'+A1", "'-A1", "'@SUM(A1)", "'\tx", "-5", "+1.5e3", "a=b", ""]
    predict_file(model, tmp_path / "in" / "rows.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == words


def test_words_that_mean_no_value_are_missing_in_csv_but_keys_keep_them(tmp_path):
    model = write_model(tmp_path / "export", null_values=["NA"])
    (tmp_path / "in.csv").write_text("id,x,origin,time_hour\nNA,NA,NA,NA\n,,,\n")
    assert predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet").rejected == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert (found["id"].to_pylist(), found["origin"].to_pylist()) == (["NA", None], ["NA", None])
    agree(found, [expected(None, None, None)] * 2)


# --- what is refused, and what is left as it was ----------------------------------------------------------

HEADER = "id,x,origin,time_hour\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected rows, or at least a header"),
        ("id,y,origin,time_hour\n", "column 'x' is missing; the columns are id, y, origin, time_hour"),
        ("id,x,x,origin,time_hour\n", "column 'x' is there 2 times"),
        (HEADER + "1,2,EWR\n", "Row #2: Expected 4 columns, got 3"),
        (HEADER + '1,2,"EWR,\n2,3,LGA,\n3,4,LGA,\n', "line 2 opens a quote that is not closed at the end of its cell"),
        (HEADER + '1,2,"E"WR,\n', "line 2 opens a quote that is not closed"),
        (HEADER.encode("utf-16"), "is neither Parquet nor CSV in UTF-8"),
        (b"PK\x03\x04 a workbook", "is neither Parquet nor CSV in UTF-8"),
        (b"PAR1 but no more", "cannot be read"),
        (gzip.compress((HEADER + "1,2,EWR,\n").encode() * 99, mtime=0)[:-20], "cannot be read"),
    ],
)
def test_a_source_that_would_lose_or_shift_rows_is_refused_in_one_line(model, tmp_path, content, message):
    (tmp_path / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "out.parquet").write_text("old")
    with pytest.raises(DataError) as refused:
        predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet")
    assert str(refused.value).startswith(f"{tmp_path / 'in.csv'}: ") and message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "out.parquet").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.parquet"]


def test_quotes_commas_and_line_ends_inside_cells_are_text(model, tmp_path):
    (tmp_path / "in.csv").write_text(HEADER + '"a ""b"", c\nd",1.5,EWR,\n5" disk,"-2","LGA",\n\n', newline="")
    predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["id"].to_pylist() == ['a "b", c\nd', '5" disk']
    agree(found, [expected(1.5, "EWR", None), expected(-2.0, "LGA", None)])


def test_an_open_quote_is_found_however_far_the_file_goes_on(model, tmp_path):
    line = '"1",2,EWR,\n'
    good = HEADER + line * 300_000
    (tmp_path / "in.csv").write_text(good + '2,3,"LGA,\n' + line.replace('"', "") * 300_000)
    with pytest.raises(DataError, match="line 300002 opens a quote"):
        predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet")
    (tmp_path / "in.csv").write_text(good)
    assert predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet").rows == 300_000


def test_bytes_that_are_no_text_reject_their_row_of_a_csv_not_the_file(model, tmp_path):
    (tmp_path / "in.csv").write_bytes(HEADER.encode() + b"1,2,EWR,\n\xff,2,\xff,\n3,\xff,EWR,\n")
    assert predict_file(model, tmp_path / "in.csv", tmp_path / "out.parquet").rejected == 2
    assert pq.read_table(tmp_path / "out.parquet")["rejected"].to_pylist()[0] is None


def test_a_parquet_file_that_is_cut_off_or_damaged_is_refused(model, tmp_path):
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table = rows(5000, x=np.random.default_rng(0).random(5000))
    pq.write_table(table, source, write_page_checksum=True, compression="none", use_dictionary=False)
    content = source.read_bytes()
    number = content.index(table["x"].chunk(0).buffers()[1].to_pybytes()[-800:])
    flipped = content[:number] + bytes([content[number] ^ 1]) + content[number + 1 :]
    for damaged in (content[:-9], content[: len(content) // 2], flipped):
        source.write_bytes(damaged)
        with pytest.raises(DataError, match=r"in\.parquet: cannot be read"):
            predict_file(model, source, target)
    assert not target.exists()


def test_a_source_that_is_not_there_or_a_folder_or_of_another_kind_is_refused(model, tmp_path):
    (tmp_path / "csv.parquet").write_text(HEADER)
    (tmp_path / "nothing").mkdir()
    for name, message in {
        "none.csv": "not found",
        "nothing": "is a folder without Parquet or CSV files",
        "csv.parquet": "which no Parquet file does",
    }.items():
        with pytest.raises(DataError, match=message):
            predict_file(model, tmp_path / name, tmp_path / "out.parquet")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_files_of_a_folder_are_scored_by_name_as_one_file(model, tmp_path, kind):
    whole, drops = rows(9), tmp_path / "drops"
    drops.mkdir()
    pieces = {"b": whole.slice(4, 3), "a": whole.slice(0, 4), "c": whole.slice(7)}
    for name, piece in pieces.items():
        if kind == "csv":
            pv.write_csv(piece.select(piece.column_names[::-1]), drops / f"{name}.csv")
        else:  # without a missing cell, pandas writes whole numbers
            as_floats = piece.set_column(4, "id", piece["id"].cast(pa.float64())) if name == "b" else piece
            pq.write_table(as_floats, drops / f"{name}.parquet")
    for noise in (".hidden.csv", "late.csv.part", "README.md"):
        (drops / noise).write_text("no rows")
    seen = []
    summary = predict_file(
        model, drops, tmp_path / "out.parquet", keep=tmp_path / "kept", on_progress=lambda *told: seen.append(told)
    )
    found = pq.read_table(tmp_path / "out.parquet")
    agree(found, by_hand(whole))
    assert [int(float(cell)) for cell in found["id"].to_pylist()] == list(range(9))
    assert summary.rows == 9
    assert seen == [(rows, 9 if kind == "parquet" else None) for rows in (4, 7, 9)]
    assert [each.drop for each in find_kept(tmp_path / "kept")] == [f"{name}.{kind}" for name in "abc"]


def test_files_of_a_folder_that_do_not_fit_are_named(model, tmp_path):
    drops, target = tmp_path / "drops", tmp_path / "out.parquet"
    drops.mkdir()
    pq.write_table(rows(3), drops / "a.parquet")
    for table, said in [
        (rows(3).drop_columns(["x"]), r"b\.parquet: lacks 'x'; all files of the folder need the columns of a\.parquet"),
        (rows(3).append_column("y", pa.array([1, 2, 3])), r"b\.parquet: has besides 'y'"),
        (rows(3, x=[[1.0], [2.0]]), r"b\.parquet: its types do not fit those of the files before"),
    ]:
        pq.write_table(table, drops / "b.parquet")
        with pytest.raises(DataError, match=said):
            predict_file(model, drops, target)
    (drops / "b.parquet").unlink()
    pv.write_csv(rows(3), drops / "b.csv")
    with pytest.raises(DataError, match=r"b\.csv: is of another format than a\.parquet"):
        predict_file(model, drops, target)
    with pytest.raises(ParamsError, match="lies among the rows to score"):
        predict_file(model, drops, drops / "out.parquet")


def test_a_type_without_sense_is_refused_before_anything_is_computed(model, tmp_path):
    pq.write_table(rows(2, x=[[1.0], [2.0]]), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"in\.parquet: column 'x': holds list"):
        predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    pq.write_table(rows(2, id=[[1], [2]]), tmp_path / "in.parquet")
    with pytest.raises(ParamsError, match=r"key column 'id': holds list.*write to \.parquet"):
        predict_file(model, tmp_path / "in.parquet", tmp_path / "out.csv")


def test_a_target_of_unknown_kind_or_the_source_itself_is_refused(model, tmp_path):
    source = tmp_path / "in.parquet"
    pq.write_table(rows(), source)
    (tmp_path / "link.parquet").symlink_to(source)
    before = source.read_bytes()
    with pytest.raises(ParamsError, match=r"ends in '\.xlsx'; predictions are written to \.parquet or \.csv"):
        predict_file(model, source, tmp_path / "out.xlsx")
    for target in (source, tmp_path / "link.parquet", tmp_path / "." / "in.parquet"):
        with pytest.raises(ParamsError, match="is the source itself"):
            predict_file(model, source, target)
    assert source.read_bytes() == before


SCORE = "import sys; from pathlib import Path; from trunkline.serving.predict import predict_file as p; "


def test_a_full_disk_leaves_the_old_target_and_says_so(model, tmp_path):
    pq.write_table(rows(100_000), tmp_path / "in.parquet")
    (tmp_path / "out.csv").write_text("old")
    code = SCORE + (
        "from trunkline.errors import EnvironmentFault as E; import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: p(*map(Path, sys.argv[1:]))\n"
        "except E as fault: print(fault); raise SystemExit(fault.code)"
    )
    command = [sys.executable, "-c", code, model, tmp_path / "in.parquet", tmp_path / "out.csv"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (EnvironmentFault.code, "")
    assert f"{tmp_path / 'out.csv'}: cannot be written" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


def test_a_signal_in_the_middle_leaves_the_old_target(model, tmp_path):
    pq.write_table(rows(200_000), tmp_path / "in.parquet")
    (tmp_path / "out.csv").write_text("old")
    code = SCORE + (
        "import time; show = lambda done, rows: (print(done, flush=True), time.sleep(60))\n"
        "p(*map(Path, sys.argv[1:]), on_progress=show)"
    )
    command = [sys.executable, "-c", code, model, tmp_path / "in.parquet", tmp_path / "out.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdout.readline() == "65536\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == -signal.SIGTERM
    assert (tmp_path / "out.csv").read_text() == "old"


# --- the model --------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as refused:
        open_model(path)
    return str(refused.value)


def test_an_opened_model_says_what_it_takes_and_gives(model):
    opened = open_model(model)
    assert opened.inputs == [("x", "numeric"), ("origin", "categorical"), ("time_hour", "timestamp")]
    assert opened.outputs == ["late.probability", "size.probability", "delay.value", "size.label"]
    assert (opened.key, opened.sha256, opened.card["name"]) == (["id", "origin"], sha256(model), "tiny")


def test_every_flipped_bit_and_every_cut_is_refused_before_the_graph_is_opened(model, tmp_path):
    copy = write_model(tmp_path)
    content = copy.read_bytes()
    for at in range(0, len(content), 97):
        copy.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert "is not the file that card.json describes" in refusal(copy)
        copy.write_bytes(content[:at])
        assert "is not the file that card.json describes" in refusal(copy)


def test_a_file_that_is_missing_or_no_graph_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "model.onnx")
    path = write_model(tmp_path)
    for content in (b"", b"<html>404</html>", b"\x80\x04K\x01.", bytes(100), graph().SerializeToString()[:-7]):
        path.write_bytes(content)
        card = json.loads((tmp_path / "card.json").read_text()) | {"sha256": sha256(path)}
        (tmp_path / "card.json").write_text(json.dumps(card))
        assert refusal(path).startswith(f"{path}: ")
    path.with_name("card.json").unlink()
    assert "card.json: is missing" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2; this trunkline reads format 1"),
        ({"inputs": [{"name": "x"}]}, "is damaged (KeyError: 'kind')"),
        ({"inputs": [{"name": "x", "kind": "image"}]}, "kind 'image' of input 'x' is unknown"),
        ({"inputs": [{"name": "x", "kind": "numeric"}]}, "'origin' is not in the graph as card.json says it is"),
        ({"golden": {}}, "the golden rows of card.json cannot be run ('inputs')"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, changes, message):
    assert message in refusal(write_model(tmp_path, **changes))


@pytest.mark.parametrize(("name", "by"), [("late.probability", 3e-5), ("delay.value", 2e-3), ("size.label", None)])
def test_golden_rows_that_come_out_otherwise_refuse_the_model(tmp_path, name, by):
    path = write_model(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    row = card["golden"]["outputs"][name][1]
    row[0] = "large" if by is None else row[0] + by / 10
    (tmp_path / "card.json").write_text(json.dumps(card))
    if by is not None:
        open_model(path)
        row[0] += by
        (tmp_path / "card.json").write_text(json.dumps(card))
    assert f"self-check failed: output '{name}' of golden row 1 is" in refusal(path)
    open_model(path, check=False)


def in_another_file(made: Any) -> None:
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")


def in_a_constant(made: Any) -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32))
    tensor.external_data.add(key="location", value="weights.bin")
    made.graph.node.append(helper.make_node("Constant", [], ["more"], value=tensor))


def in_a_branch(made: Any) -> None:
    branch = helper.make_graph([], "branch", [], [], [numpy_helper.from_array(np.zeros(1), "inner")])
    branch.initializer[0].external_data.add(key="location", value="weights.bin")
    made.graph.node.append(helper.make_node("If", ["is_nan"], ["more"], then_branch=branch, else_branch=branch))


def in_a_function(made: Any) -> None:
    node = helper.make_node("Neg", ["a"], ["b"])
    made.functions.append(helper.make_function("own", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 20)]))


@pytest.mark.parametrize("hide", [in_another_file, in_a_constant, in_a_branch, in_a_function])
def test_a_graph_with_parts_in_other_files_or_code_of_its_own_is_not_opened(tmp_path, hide):
    made = graph()
    hide(made)
    assert "which no model exported by trunkline has; it is not opened" in refusal(write_model(tmp_path, made))


def test_a_graph_that_is_cut_off_is_told_from_a_whole_one_as_onnx_tells_it():
    def parses(read: Callable[[bytes], Any], content: bytes) -> bool:
        try:
            read(content)
        except (ValueError, DecodeError):
            return False
        return True

    content = graph().SerializeToString()
    cuts = [content[:at] for at in range(len(content) + 1)]
    assert [parses(foreign_part, cut) for cut in cuts] == [parses(onnx.load_from_string, cut) for cut in cuts]


# --- what it costs ----------------------------------------------------------------------------------------


def test_a_process_that_only_serves_loads_neither_torch_nor_pandas(model, tmp_path):
    pq.write_table(rows(), tmp_path / "in.parquet")
    code = SCORE + (
        "from trunkline.serving.slim import keep_pandas_out; keep_pandas_out(); p(*map(Path, sys.argv[1:]))\n"
        "print({'torch', 'pandas', 'polars', 'pydantic', 'onnx', 'trunkline.project'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, model, tmp_path / "in.parquet", tmp_path / "out.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(("name", "most"), [("in.parquet", 22), ("in.csv", 60)])  # MiB; as seen, 8 and 28
def test_memory_does_not_grow_with_the_file_nor_with_its_row_groups(model, tmp_path, name, most):
    code = SCORE + (
        "p(*map(Path, sys.argv[1:]))\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for count in (200_000, 1_000_000):
        table = pa.table({"x": np.random.default_rng(0).random(count), "id": np.arange(count)})
        table = table.append_column("origin", pa.repeat("EWR", count)).append_column("time_hour", table["id"])
        if name == "in.csv":
            table = table.set_column(3, "time_hour", pa.repeat("2013-01-31T05:00:00Z", count))
            pv.write_csv(table, tmp_path / name)
        else:
            pq.write_table(table, tmp_path / name, row_group_size=count, use_dictionary=False)
        command = [sys.executable, "-c", code, model, tmp_path / name, tmp_path / "out.parquet"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < most, peaks
