"""The service: the right numbers or an error that names the place, limits that hold, nothing lost at reload or end."""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import gzip
import json
import math
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from service_process import DATATYPES, INFER, ROW, Reply, ServiceProcess, call, packed, question, tensors
from tiny_model import CLASSES, ROWS, card, expected, graph, write_model

from trunkline.cli.app import main
from trunkline.errors import ArtifactError, ParamsError
from trunkline.files import sha256
from trunkline.service.datatypes import from_json
from trunkline.service.guard import is_this_machine
from trunkline.service.infer import infer
from trunkline.service.limits import MIB, Limits
from trunkline.service.metrics import Metrics
from trunkline.service.refusal import Refusal
from trunkline.service.server import Settings, refuse_open_door
from trunkline.service.shelf import Place, Shelf, read_place
from trunkline.serving.one_file import foreign_part
from trunkline.serving.predict import predict_file
from trunkline.serving.vocabulary import known_words

TOKEN = "a-token-of-twenty-four-c"
SECONDS = 1.5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def service(model):
    with ServiceProcess(model, "--max-rows", 5000, "--max-mib", 1, "--seconds", SECONDS) as running:
        yield running
        running.send(signal.SIGTERM)
        assert running.end() == 0


def ask(service: ServiceProcess, content: Any, path: str = INFER, **headers: str) -> Reply:
    return service.call("POST", path, content if isinstance(content, bytes) else packed(content), **headers)


def outputs(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    return {tensor["name"]: tensor["data"] for tensor in reply.json["outputs"]}


def by_hand(row: dict[str, Any]) -> dict[str, Any]:
    return expected(*(row[name] for name in DATATYPES))


def right(reply: Reply, *rows: dict[str, Any]) -> None:
    """Compare an answer with rows computed by hand."""
    found = outputs(reply)
    answers = [by_hand(ROW | row) for row in rows]
    for name, values in found.items():
        wanted = [cell for answer in answers for cell in answer[name]]
        assert values == (wanted if name == "size.label" else pytest.approx(wanted, rel=1e-5, abs=1e-6))


# --- what it says about itself ----------------------------------------------------------------------------


def test_it_is_alive_ready_and_known_by_name(service):
    assert service.call("GET", "/v2/health/live").status == service.call("GET", "/v2/health/ready").status == 200
    assert service.call("GET", "/v2").json["extensions"] == ["binary_tensor_data"]
    assert service.call("GET", "/v2/").json["name"] == "trunkline"
    assert service.call("GET", "/v2/models/tiny/ready").status == 200


def test_metadata_tells_inputs_outputs_hash_and_card_but_no_rows_of_the_training_data(service, model):
    found = service.call("GET", "/v2/models/tiny").json
    version = sha256(model)[:12]
    assert found["versions"] == [version] and found["parameters"]["sha256"] == sha256(model)
    assert found["inputs"] == [{"name": n, "datatype": d, "shape": [-1, 1]} for n, d in DATATYPES.items()]
    assert found["outputs"][1] == {"name": "size.probability", "datatype": "FP32", "shape": [-1, 3]}
    assert found["parameters"]["card"]["outputs"][1]["classes"] == CLASSES
    assert "golden" not in found["parameters"]["card"]
    assert service.call("GET", f"/v2/models/tiny/versions/{version}").json == found
    assert service.call("GET", f"/v2/models/tiny/versions/{version}/ready").json["ready"]


def test_every_path_that_answers_stands_in_the_openapi_document(service):
    paths = service.call("GET", "/openapi.json").json["paths"]
    assert {"/v2", "/metrics", "/v2/models/{model}/versions/{version}/infer"} <= set(paths)
    for path in paths:
        asked = path.format(model="tiny", version=service.call("GET", "/v2/models/tiny").json["versions"][0])
        assert service.call("GET", asked).status == (405 if path.endswith("infer") else 200)


# --- answers ----------------------------------------------------------------------------------------------


def test_one_row_many_rows_and_no_row_are_answered(service):
    right(ask(service, question()), {})
    rows = [{"x": place / 7, "origin": ["EWR", "LGA", "", "nobody"][place % 4]} for place in range(50)]
    right(ask(service, question(*rows)), *rows)
    empty = ask(service, {"inputs": tensors([])})
    assert [tensor["shape"] for tensor in empty.json["outputs"]] == [[0, 1], [0, 3], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"x": None}, {"x": None}),
        ({"origin": None}, {"origin": ""}),
        ({"origin": ""}, {"origin": ""}),
        ({"origin": "nobody knows"}, {"origin": "nobody knows"}),
        ({"origin": "日本\u0000x"}, {"origin": "nobody knows"}),
        ({"time_hour": None}, {"time_hour": None}),
        ({"x": math.nan}, {"x": None}),
        ({"x": -math.inf}, {"x": None}),
        ({"x": 7}, {"x": 7}),
        ({"x": -0.0}, {"x": 0}),
    ],
)
def test_missing_unseen_and_odd_cells_count_as_documented(service, sent, meant):
    right(ask(service, question(sent)), meant)


def test_a_whole_number_that_no_float_holds_becomes_the_nearest_one():
    assert from_json("x", "FP64", [2**60 + 1, None]).to_pylist() == [2.0**60, None]


def test_cells_keep_the_type_that_the_client_gives_them_and_mean_what_they_mean_in_a_file(service):
    sent = tensors([ROW])
    sent[0] |= {"datatype": "BYTES", "data": [" 1.5 "]}
    sent[1] |= {"datatype": "INT32", "data": [7]}
    sent[2] |= {"datatype": "BYTES", "data": ["1970-01-01T13:00:00+01:00"]}
    right(ask(service, {"inputs": sent}), {"origin": "7", "time_hour": 43_200})


def test_nested_and_flat_data_one_and_two_dimensions_extra_inputs_and_parameters_are_all_understood(service):
    sent = tensors([ROW, ROW | {"x": 2.0}])
    sent[0] |= {"data": [[1.5], [2.0]], "parameters": {"content_type": "np"}}
    sent[1] |= {"shape": [2]}
    sent.append({"name": "id", "shape": [2], "datatype": "INT64", "data": [1, 2]})
    right(ask(service, {"inputs": sent, "parameters": {"any": {"thing": 1}}}), {}, {"x": 2.0})


def test_the_id_comes_back_and_outputs_come_in_the_order_asked_for(service):
    asked = question(id="seven", outputs=[{"name": "size.label"}, {"name": "delay.value"}])
    found = ask(service, asked).json
    assert found["id"] == "seven" and found["model_name"] == "tiny"
    assert [tensor["name"] for tensor in found["outputs"]] == ["size.label", "delay.value"]
    assert "id" not in ask(service, question()).json


def with_binary(rows: list[dict[str, Any]], **more: Any) -> tuple[bytes, int]:
    """Return a request whose data is all binary, and the length of its JSON."""
    texts = [(row["origin"] or "").encode() for row in rows]
    data = [
        np.array([row["x"] for row in rows], "<f8").tobytes(),
        b"".join(struct.pack("<I", len(text)) + text for text in texts),
        np.array([row["time_hour"] for row in rows], "<i8").tobytes(),
    ]
    heads = [
        {"name": name, "shape": [len(rows), 1], "datatype": kind, "parameters": {"binary_data_size": len(part)}}
        for (name, kind), part in zip(DATATYPES.items(), data, strict=True)
    ]
    head = packed({"inputs": heads, **more})
    return head + b"".join(data), len(head)


def test_binary_data_goes_in_and_comes_out(service):
    rows = [ROW, ROW | {"x": math.nan, "origin": "LGA", "time_hour": -(2**63)}]
    body, length = with_binary(rows, parameters={"binary_data_output": True})
    reply = ask(service, body, Inference_Header_Content_Length=str(length))
    start = int(reply.headers["inference-header-content-length"])
    head, data = json.loads(reply.body[:start]), reply.body[start:]
    assert [tensor["parameters"]["binary_data_size"] for tensor in head["outputs"][:3]] == [8, 24, 8]
    answers = [by_hand(ROW), expected(None, "LGA", None)]
    assert np.frombuffer(data[32:40], "<f4") == pytest.approx([a["delay.value"][0] for a in answers], rel=1e-5)
    labels = b"".join(struct.pack("<I", len(a["size.label"][0])) + a["size.label"][0].encode() for a in answers)
    assert data[40:] == labels


def test_one_output_may_be_binary_beside_one_in_json(service):
    asked = [{"name": "delay.value"}, {"name": "late.probability", "parameters": {"binary_data": True}}]
    reply = ask(service, question(outputs=asked))
    start = int(reply.headers["inference-header-content-length"])
    assert json.loads(reply.body[:start])["outputs"][0]["data"] == pytest.approx(by_hand(ROW)["delay.value"])
    assert np.frombuffer(reply.body[start:], "<f4") == pytest.approx(by_hand(ROW)["late.probability"])


def test_gzip_and_deflate_go_in_and_gzip_comes_out_where_it_is_worth_it(service):
    rows = [{"x": float(place)} for place in range(300)]
    body = packed(question(*rows))
    for encoding, pack in {"gzip": gzip.compress, "deflate": zlib.compress}.items():
        reply = ask(service, pack(body), Content_Encoding=encoding, Accept_Encoding="deflate, gzip")
        assert reply.headers["content-encoding"] == "gzip"
        right(reply._replace(body=gzip.decompress(reply.body)), *rows)
    assert "content-encoding" not in ask(service, question(), Accept_Encoding="gzip").headers


def test_a_service_and_a_file_give_identical_numbers(service, model, tmp_path):
    chance = np.random.default_rng(0)
    rows = 4500
    table = pa.table(
        {
            "x": pa.array(chance.normal(size=rows), mask=chance.random(rows) < 0.1),
            "origin": chance.choice(["EWR", "LGA", "", "JFK"], rows).tolist(),
            "time_hour": chance.integers(0, 2**31, rows),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    filed = pq.read_table(tmp_path / "out.parquet")
    answered = outputs(ask(service, {"inputs": tensors(table.to_pylist())}))
    assert np.array_equal(np.float32(answered["delay.value"]), filed["delay.value"].to_numpy())
    assert np.array_equal(np.float32(answered["size.probability"])[1::3], filed["size.probability.middle"].to_numpy())
    assert answered["size.label"] == filed["size.label"].to_pylist()


# --- refusals ---------------------------------------------------------------------------------------------


def changed(place: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a good request of two rows with one tensor changed."""
    content = question({}, {})
    content["inputs"][place] |= changes
    return content


DEEP = b"[" * 120 + b"]" * 120
BAD: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"x=1", 400, "not JSON"),
    "nothing": (b"", 400, "not JSON"),
    "half of it": (packed(question())[:-5], 400, "not JSON"),
    "no UTF-8": (b'{"id": "\xff"}', 400, "not JSON"),
    "a list": (b"[1]", 400, "expected an object"),
    "120 levels": (b'{"parameters": {"a": ' + DEEP + b'}, "inputs": []}', 400, "more than 64 levels"),
    "120 levels of data": (changed(data=json.loads(DEEP)), 400, "more than 64 levels"),
    "5,000 levels": (b"[" * 5000 + b"]" * 5000, 400, "not JSON"),
    "5,000 levels of NaN": (b"[" * 5000 + b"NaN" + b"]" * 5000, 400, "not JSON"),
    "no inputs": ({}, 400, "'inputs'"),
    "empty inputs": ({"inputs": []}, 400, "'inputs'"),
    "inputs of words": ({"inputs": ["x"]}, 400, "'inputs'"),
    "an id of 7": (question(id=7), 400, "'id' is 7"),
    "parameters of 7": (question(parameters=7), 400, "'parameters' of the request"),
    "a nameless input": (changed(name=None), 400, "a tensor's name"),
    "a column missing": ({"inputs": tensors([ROW])[1:]}, 400, "column 'x' is missing"),
    "a column misspelt": (changed(1, name="orign"), 400, "column 'origin' is missing; did you mean 'orign'?"),
    "a column twice": (changed(1, name="x"), 400, "'x' is there 2 times"),
    "an unknown datatype": (changed(datatype="FLOAT"), 400, "input 'x': datatype is 'FLOAT'"),
    "a datatype of 7": (changed(datatype=[7]), 400, "input 'x': datatype is [7]"),
    "no shape": (changed(shape=None), 400, "input 'x': shape is missing"),
    "a negative shape": (changed(shape=[-2, 1]), 400, "input 'x': shape is [-2, 1]"),
    "a true shape": (changed(shape=[True, 1]), 400, "input 'x': shape"),
    "two cells per row": (changed(shape=[2, 2], data=[1, 2, 3, 4]), 400, "one cell per row"),
    "three dimensions": (changed(shape=[2, 1, 1]), 400, "one cell per row"),
    "less data than its shape": (changed(data=[1.5]), 400, "input 'x': data has 1 entries"),
    "more data than its shape": (changed(data=[1.5, 2, 3]), 400, "input 'x': data has 3 entries"),
    "no data": (changed(data=None), 400, "input 'x': data is missing"),
    "ragged data": (changed(data=[[1.5], [1, 2]]), 400, "row 1: column 'x': [1, 2]"),
    "half nested data": (changed(data=[[1.5], 1]), 400, "row 1: column 'x': 1 is not a list"),
    "columns of other lengths": (changed(1, shape=[1, 1], data=["EWR"]), 400, "input 'origin' has 1 rows, input 'x' 2"),
    "text for a number": (changed(data=[1.5, "12abc"]), 400, "row 1: column 'x': '12abc' is not a number"),
    "true for a number": (changed(data=[1.5, True]), 400, "row 1: column 'x': True is not a number"),
    "an object for a number": (changed(data=[{}, 1]), 400, "row 0: column 'x': {} is not a number"),
    "a number that is no float": (b'{"inputs": [{"name": "x", "data": [1e400]}]}', 400, "infinity"),
    "half for a whole number": (changed(2, data=[0, 0.5]), 400, "row 1: column 'time_hour': 0.5 is not a whole number"),
    "a number too large": (changed(2, data=[0, 2**63]), 400, "row 1: column 'time_hour'"),
    "a number for text": (changed(1, data=["EWR", 7]), 400, "row 1: column 'origin': 7 is not text"),
    "half a character": (changed(1, data=["EWR", "\ud800"]), 400, "surrogate"),
    "half a character beside NaN": (
        question({"x": math.nan, "origin": "\ud800"}), 400, "row 0: column 'origin'"),
    "text that is no number": (changed(datatype="BYTES", data=["1", "1,5"]), 400, "row 1: column 'x': '1,5'"),
    "text that is no moment": (
        changed(2, datatype="BYTES", data=["2013010105", None]), 400, "row 0: column 'time_hour'"),
    "milliseconds for seconds": (changed(2, data=[0, 10**15]), 400, "row 1: column 'time_hour'"),
    "true for a moment": (changed(2, datatype="BOOL", data=[True, True]), 400, "column 'time_hour': holds bool"),
    "an unknown output": (question(outputs=[{"name": "delay.valu"}]), 400, "did you mean 'delay.value'?"),
    "an output twice": (question(outputs=[{"name": "delay.value"}] * 2), 400, "'delay.value' is there 2 times"),
    "outputs of 7": (question(outputs=7), 400, "'outputs' is 7"),
    "a negative binary size": (changed(parameters={"binary_data_size": -1}), 400, "binary_data_size is -1"),
    "data twice": (changed(parameters={"binary_data_size": 8}), 400, "both data and binary_data_size"),
    "too many rows": (question(*[{}] * 5001), 413, "5001 rows; at most 5000"),
    "a million rows that are not there": (changed(shape=[10**6, 1]), 413, "1000000 rows"),
    "a large body": (b" " * (1 << 20) + packed(question()), 413, "larger than 1048576 bytes"),
    "a huge body": (b" " * (40 << 20), 413, "larger than 1048576 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_with_its_place(service, case):
    content, status, sentence = BAD[case]
    try:
        reply = ask(service, content)
    except (BrokenPipeError, ConnectionResetError):
        assert case == "a huge body"  # it stops listening at some point
        return
    assert (reply.status, sentence in reply.error) == (status, True), reply.body
    assert "/" not in reply.error.replace("HTTP/1.1", "") and "Traceback" not in reply.error


@pytest.fixture(scope="module")
def in_this_process(model):
    shelf = Shelf([Place(None, model)], 1, print)
    return shelf.find("tiny"), Metrics(shelf)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys_of_a_tensor = st.sampled_from(["name", "shape", "datatype", "data", "parameters"])
datatypes = st.sampled_from([*DATATYPES.values(), "FP16", "BOOL", "UINT8", "FP32", "INT8"])


@given(st.data())
def test_whatever_is_sent_is_answered_or_refused(in_this_process, data):
    served, metrics = in_this_process
    content = question({}, {})
    for tensor in content["inputs"]:
        if data.draw(st.booleans()):
            tensor["datatype"] = data.draw(datatypes)
        if data.draw(st.integers(0, 3)) == 0:
            tensor["data"] = data.draw(st.lists(json_values, min_size=2, max_size=2))
    if data.draw(st.booleans()):
        data.draw(st.sampled_from(content["inputs"]))[data.draw(keys_of_a_tensor)] = data.draw(json_values)
    try:
        answer = infer(served, packed(content), None, Limits(), metrics)
    except Refusal as refusal:
        assert refusal.status in (400, 413) and str(refusal)
    else:
        assert {tuple(tensor["shape"]) for tensor in json.loads(answer.body)["outputs"]} == {(2, 1), (2, 3)}


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 80))
def test_damaged_bytes_are_answered_or_refused(in_this_process, noise, at, cut):
    served, metrics = in_this_process
    body = BODY[:at] + noise + BODY[at + cut :]
    for length in (None, HEAD):
        with contextlib.suppress(Refusal):
            infer(served, body, length, Limits(), metrics)


BODY, HEAD = with_binary([ROW, ROW])


@pytest.mark.parametrize(
    ("body", "length", "sentence"),
    [
        (BODY[:-1], HEAD, "input 'time_hour': binary_data_size is 16; 15 bytes are left"),
        (BODY + b"x", HEAD, "1 bytes stand behind"),
        (BODY, len(BODY) + 1, "Inference-Header-Content-Length is"),
        (BODY, HEAD - 3, "not JSON"),
        (BODY[:HEAD].replace(b'"shape": [2, 1]', b'"shape": [3, 1]') + BODY[HEAD:], HEAD, "input 'x': has 16 bytes"),
        (BODY[: HEAD + 16] + b"\xff\xff\xff\xff" + BODY[HEAD + 20 :], HEAD, "row 0: input 'origin'"),
        (BODY[: HEAD + 20] + b"\xff" + BODY[HEAD + 21 :], HEAD, "row 0: column 'origin': b'\\xffWR' is not UTF-8"),
    ],
)
def test_damaged_binary_data_is_refused(service, body, length, sentence):
    reply = ask(service, body, Inference_Header_Content_Length=str(length))
    assert reply.status == 400 and sentence in reply.error


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (packed(question()), {"Content_Encoding": "br"}, 415),
        (packed(question()), {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(packed(question()), mtime=0)[:-9], {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(packed(question()), mtime=0) + b"more", {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(b" " * (1 << 27), mtime=0), {"Content_Encoding": "gzip"}, 413),
        (packed(question()), {"Inference_Header_Content_Length": "ten"}, 400),
        (packed(question()), {"Inference_Header_Content_Length": "-1"}, 400),
        (packed(question()), {"Host": "evil.example"}, 403),
        (packed(question()), {"Origin": "http://evil.example"}, 403),
    ],
)
def test_headers_are_held_to_their_meaning(service, body, headers, status):
    reply = ask(service, body, **headers)
    assert reply.status == status and reply.error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/tiny/versions/99", 404),
        ("GET", "/v2/models/../../etc/passwd", 404),
        ("GET", "/v2/models/%2e%2e/%2e%2e%2fetc/ready", 404),
        ("GET", INFER, 405),
        ("POST", "/v2/models/tiny", 405),
        ("DELETE", "/v2/health/live", 405),
        ("BREW", "/v2", 405),
    ],
)
def test_unknown_paths_and_methods_get_an_error_in_the_same_form(service, method, path, status):
    reply = service.call(method, path)
    assert reply.status == status and reply.error
    assert status != 405 or reply.headers["allow"]


def raw(service: ServiceProcess, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send bytes, slowly or not, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as link:
        for piece in pieces:
            link.sendall(piece)
            time.sleep(pause)
        link.shutdown(socket.SHUT_WR) if not pause else None
        return b"".join(iter(lambda: link.recv(65536), b""))


def test_what_is_not_http_gets_an_error_in_the_same_form(service):
    for reply in (raw(service, b"\x16\x03\x01 hello\r\n\r\n"), raw(service, b"GET /v2 HTTP/1.1\r\n" + b"a" * 70000)):
        assert reply.startswith(b"HTTP/1.1 400") and b'{"error":' in reply


def test_slow_headers_and_slow_bodies_are_cut_off(service):
    started = time.monotonic()
    start = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n".encode()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        header = pool.submit(raw, service, start, b"A: b\r\n", pause=0.01)
        body = pool.submit(raw, service, start, b"\r\n{", b"}", pause=0.01)
        assert header.result().startswith(b"HTTP/1.1 408") and body.result().startswith(b"HTTP/1.1 408")
    assert SECONDS * 0.9 < time.monotonic() - started < SECONDS + 3


def test_chunked_bodies_without_a_length_are_read_and_limited(service):
    right(service.call("POST", INFER, iter([packed(question())])), {})
    assert service.call("POST", INFER, iter([b" " * 10_000] * 200)).status == 413


def test_a_refused_request_leaves_its_connection_fit_for_the_next(service):
    with service.connect() as link:
        assert call(link, "POST", INFER, b"x").status == 400
        right(call(link, "POST", INFER, packed(question())), {})


# --- metrics ----------------------------------------------------------------------------------------------


def metric(service: ServiceProcess, name: str) -> float:
    lines = service.call("GET", "/metrics").body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def test_metrics_count_requests_rows_and_cells_that_tell_of_drift(service):
    names = {
        'trunkline_requests_total{code="200",endpoint="infer"}': 1,
        'trunkline_requests_total{code="400",endpoint="infer"}': 1,
        'trunkline_request_seconds_count{endpoint="infer"}': 2,
        'trunkline_rows_total{model="tiny"}': 3,
        'trunkline_missing_cells_total{column="x",model="tiny"}': 2,
        'trunkline_missing_cells_total{column="origin",model="tiny"}': 1,
        'trunkline_unseen_cells_total{column="origin",model="tiny"}': 1,
    }
    before = {name: metric(service, name) for name in names}
    ask(service, question({"x": None}, {"x": math.inf, "origin": "JFK"}, {"origin": None}))
    ask(service, b"{}")
    assert {name: metric(service, name) - before[name] for name in names} == names
    assert metric(service, "trunkline_model_info{") == 1.0


def test_the_words_that_a_model_knows_are_read_from_its_bytes():
    content = graph().SerializeToString()
    assert known_words(content) == {"origin": {"", "EWR", "LGA"}}
    assert foreign_part(content) is None


# --- who may ask ------------------------------------------------------------------------------------------


def test_a_token_is_wanted_for_all_but_health(model):
    with ServiceProcess(model, "--host", "0.0.0.0", token=TOKEN) as service:
        assert service.call("GET", "/v2/health/ready").status == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            for reply in (ask(service, question(), **headers), service.call("GET", "/metrics", **headers)):
                assert reply.status == 401 and reply.error and reply.headers["www-authenticate"] == "Bearer"
        right(ask(service, question(), Authorization=f"Bearer {TOKEN}", Host="models.example"), {})
        service.send(signal.SIGINT)
        assert service.end() == 0
        assert not any(TOKEN in line for line in service.lines)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(host="0.0.0.0"), "TRUNKLINE_TOKEN"),
        (Settings(host="example.org"), "TRUNKLINE_TOKEN"),
        (Settings(token="short"), "5 characters"),
        (Settings(token=""), "0 characters"),
    ],
)
def test_an_open_door_is_refused(settings, sentence):
    with pytest.raises(ParamsError, match=sentence):
        refuse_open_door(settings)


def test_only_loopback_is_this_machine():
    assert all(map(is_this_machine, ["127.0.0.1", "127.1.2.3", "::1", "localhost"]))
    assert not any(map(is_this_machine, ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", ""]))


# --- which model ------------------------------------------------------------------------------------------


def other_graph() -> onnx.ModelProto:
    """A model of the same form whose answers differ: its delay is 20 times the score."""
    made = graph()
    ten = next(tensor for tensor in made.graph.initializer if tensor.name == "ten")
    ten.CopyFrom(numpy_helper.from_array(np.array(20.0, np.float32), "ten"))
    return made


def write_other(folder: Any) -> Any:
    content = card(b"")["golden"]
    doubled = {**content["outputs"], "delay.value": [[2 * row[0]] for row in content["outputs"]["delay.value"]]}
    return write_model(folder, other_graph(), golden={**content, "outputs": doubled})


def test_a_tampered_model_is_not_served(tmp_path, capsys):
    path = write_model(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"EWR", b"EWS"))
    assert main(["serve", str(path), "--port", "0"]) == 4
    assert "is not the file that card.json describes" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="self-check failed"):
        Shelf([Place(None, write_model(tmp_path, other_graph()))], 1, print)


def test_versions_lie_in_numbered_folders_and_the_champion_is_the_default(tmp_path):
    said: list[str] = []
    for version in (1, 2, 9, 10):
        write_model(tmp_path / str(version))
    shelf = Shelf([Place("tiny", tmp_path)], 1, said.append, newest=2)
    assert list(shelf.models["tiny"].served) == ["9", "10"] and shelf.find("tiny").version == "10"
    (tmp_path / "aliases.json").write_text('{"champion": 1}')
    shelf.reload()
    assert list(shelf.models["tiny"].served) == ["1", "9", "10"] and shelf.find("tiny").version == "1"
    (tmp_path / "aliases.json").write_text('{"champion": 11}')
    shelf.reload()
    assert shelf.find("tiny").version == "1" and "names version '11'" in said[-1]
    (tmp_path / "aliases.json").write_bytes(b"\xff")
    shelf.look()
    shelf.reload()
    assert shelf.find("tiny").version == "1" and said[-1].startswith("kept tiny 1")


def test_a_damaged_version_that_is_not_the_default_stops_no_other(tmp_path):
    said: list[str] = []
    for version in (1, 2):
        write_model(tmp_path / str(version))
    (tmp_path / "aliases.json").write_text('{"champion": 1}')
    with (tmp_path / "2" / "model.onnx").open("ab") as file:
        file.write(b"x")
    shelf = Shelf([Place("tiny", tmp_path)], 1, said.append)
    assert list(shelf.models["tiny"].served) == ["1"]
    assert "version 2" in said[0] and "is not the file that card.json describes" in said[0]
    (tmp_path / "aliases.json").write_text('{"champion": 2}')
    with pytest.raises(ArtifactError, match=r"card\.json describes"):
        Shelf([Place("tiny", tmp_path)], 1, said.append)


def test_a_registry_in_which_nothing_was_promoted_is_not_served(tmp_path):
    write_model(tmp_path / "1")
    (tmp_path / "1" / "entry.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no version is in service; `trunkline promote`"):
        Shelf([Place("tiny", tmp_path)], 1, print)
    (tmp_path / "aliases.json").write_text('{"champion": 1}')
    shelf = Shelf([Place("tiny", tmp_path)], 1, print)
    (tmp_path / "aliases.json").write_text("[1]")
    shelf.look()  # what cannot be read changes nothing
    shelf.look()
    assert shelf.find("tiny").version == "1"
    with pytest.raises(ArtifactError, match=r"aliases\.json: is damaged"):
        Shelf([Place("tiny", tmp_path)], 1, print)


def test_two_models_of_one_name_are_refused_and_a_name_may_be_given(tmp_path):
    path = write_model(tmp_path)
    with pytest.raises(ArtifactError, match="called 'tiny'"):
        Shelf([Place(None, path), Place(None, path)], 1, print)
    assert list(Shelf([Place(None, path), read_place(f"other={path}")], 1, print).models) == ["tiny", "other"]
    with pytest.raises(ParamsError, match="cannot name a model"):
        read_place("a b=model.onnx")


def test_a_replaced_model_is_loaded_once_its_files_stand_still(tmp_path):
    said: list[str] = []
    path = write_model(tmp_path / "live")
    write_other(tmp_path / "new")
    shelf = Shelf([Place(None, path)], 1, said.append)
    first = shelf.find("tiny").version
    shutil.copy(tmp_path / "new" / "card.json", path.with_name("card.json"))
    shelf.look()
    shutil.copy(tmp_path / "new" / "model.onnx", path)
    shelf.look()
    assert shelf.find("tiny").version == first and len(said) == 1
    shelf.look()
    assert shelf.find("tiny").version == sha256(path)[:12] != first and said[-1].startswith("now serving")
    path.unlink()
    for _ in range(3):
        shelf.look()
    assert len(said) == 2 and shelf.find("tiny")


# --- nothing lost -----------------------------------------------------------------------------------------


def hammer(service: ServiceProcess, stop: threading.Event) -> list[tuple[str, float]]:
    """Ask on one connection after the other, as fast as it answers; return version and delay of every answer."""
    found, body = [], packed(question())
    with service.connect() as link:
        while not stop.is_set():
            reply = call(link, "POST", INFER, body)
            found.append((reply.json["model_version"], outputs(reply)["delay.value"][0]))
    return found


def test_a_reload_under_load_loses_no_answer_and_mixes_none(tmp_path):
    live = write_model(tmp_path / "a")
    write_other(tmp_path / "b")
    folders = {folder: tmp_path / folder for folder in "ab"}
    delay = by_hand(ROW)["delay.value"][0]
    right_delays = {
        sha256(folders["a"] / "model.onnx")[:12]: delay,
        sha256(folders["b"] / "model.onnx")[:12]: 2 * delay,
    }
    link = tmp_path / "live"
    link.symlink_to("a")
    stop = threading.Event()
    with ServiceProcess(link, "--no-watch") as service:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(hammer, service, stop) for _ in range(4)]
            for turn in range(6):
                (tmp_path / "next").symlink_to("ba"[turn % 2])
                (tmp_path / "next").replace(link)
                service.send(signal.SIGHUP)
                assert service.line().startswith("now serving tiny")
            stop.set()
            answers = [answer for client in clients for answer in client.result()]
        live.write_bytes(b"damaged")
        service.send(signal.SIGHUP)
        assert service.line().startswith("kept tiny")
        right(ask(service, question()), {})
    assert {version for version, _ in answers} == set(right_delays)
    assert all(delay == pytest.approx(right_delays[version], rel=1e-5) for version, delay in answers)


def ask_until_it_is_gone(service: ServiceProcess) -> int:
    """Ask until nobody listens; return how many answers came. Whatever was taken must be answered."""
    answered, body = 0, packed(question())
    while True:
        with service.connect() as link:
            try:
                link.connect()
            except ConnectionRefusedError:
                return answered
            reply = Reply(200, {}, b"")
            while "connection" not in reply.headers:
                reply = call(link, "POST", INFER, body)
                right(reply, {})
                answered += 1


def begin(link: Any, body: bytes, first: int) -> None:
    """Send a request's header and the first bytes of its body."""
    link.putrequest("POST", INFER)
    link.putheader("Content-Length", str(len(body)))
    link.endheaders(body[:first])


def test_a_term_signal_answers_what_is_on_its_way_then_refuses(model):
    body = packed(question())
    with ServiceProcess(model) as service, service.connect() as slow, service.connect() as idle:
        begin(slow, body, 10)
        assert call(idle, "GET", "/v2/health/ready").status == 200
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            clients = [pool.submit(ask_until_it_is_gone, service) for _ in range(3)]
            time.sleep(0.2)
            service.send(signal.SIGTERM)
            assert service.line().startswith("leaving")
            assert call(idle, "GET", "/v2/health/ready").status == 503
            assert all(client.result(timeout=20) for client in clients)
        slow.send(body[10:])
        response = slow.getresponse()
        assert response.status == 200 and response.getheader("connection") == "close" and response.read()
        assert service.end() == 0 and service.lines[-1] == "stopped"


def test_more_requests_than_may_wait_are_told_to_come_again(model):
    with ServiceProcess(model, "--waiting", 2) as service:
        with service.connect() as first, service.connect() as second:
            for link in (first, second):
                begin(link, b"{}", 1)
            time.sleep(0.3)
            reply = ask(service, question())
            assert reply.status == 429 and reply.error and reply.headers["retry-after"] == "1"
        time.sleep(0.3)
        right(ask(service, question()), {})


# --- docs/deploy.md ---------------------------------------------------------------------------------------


def named_as_in_the_docs(folder: Path) -> Path:
    """The tiny model under the names that docs/deploy.md uses."""
    made = graph()
    for node in made.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "distance" if name == "x" else name
    made.graph.input[0].name = "distance"
    content = card(b"")
    inputs = [content["inputs"][0] | {"name": "distance"}, *content["inputs"][1:]]
    golden = {**content["golden"], "inputs": {"distance": ROWS["x"], **{k: v for k, v in ROWS.items() if k != "x"}}}
    return write_model(folder, made, name="flights", inputs=inputs, golden=golden)


def test_the_python_of_the_docs_runs_as_it_stands(tmp_path):
    text = (REPOSITORY / "docs" / "deploy.md").read_text()
    client, alone = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = named_as_in_the_docs(tmp_path / "models" / "export")
    with ServiceProcess(path) as service:
        port = str(service.port)
        done = subprocess.run(
            [sys.executable, "-c", client.replace("8080", port)], capture_output=True, text=True, check=True
        )
    given = {tensor["name"]: tensor["data"] for tensor in ast.literal_eval(done.stdout)}
    assert given["delay.value"] == [7200.0]  # ten times 719 and 1
    assert len([line for line in alone.splitlines() if line]) == 5
    done = subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "7200." in done.stdout


def test_the_limits_that_the_docs_name_are_the_defaults():
    text, limits = (REPOSITORY / "docs" / "deploy.md").read_text(), Limits()
    for sentence in (
        f"`--max-rows` ({limits.rows:,})",
        f"`--max-mib` ({limits.body // MIB}; four times",
        f"`--seconds` ({limits.seconds:g})",
        f"`--waiting` ({limits.waiting})",
        f"more than {limits.depth} levels",
    ):
        assert sentence in text
    assert limits.unpacked == 4 * limits.body


# --- what it is made of -----------------------------------------------------------------------------------


def test_a_service_loads_no_torch_no_pandas_and_nothing_of_the_pipeline(service):
    mapped = Path(f"/proc/{service.process.pid}/maps")
    if not mapped.exists():
        pytest.skip("only Linux tells what a process has loaded")
    libraries = mapped.read_text()
    assert "onnxruntime" in libraries
    assert not [name for name in ("torch", "pandas", "great_expectations", "polars") if f"/{name}/" in libraries]


def test_a_port_that_is_taken_is_named(service, model, capsys):
    assert main(["serve", str(model), "--port", str(service.port)]) == 5
    assert f"127.0.0.1:{service.port}: cannot be listened on" in capsys.readouterr().err
