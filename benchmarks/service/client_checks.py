"""What tritonclient and open-inference-openapi say of a running service. Runs in the clients' environment.

python client_checks.py PORT ROWS.json EXPECTED.json     prints [[what, passed, remark], ...]

ROWS.json holds the input columns of some rows, EXPECTED.json what `trunkline predict` gives for them.
"""

from __future__ import annotations

import http.client
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.http as triton
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.errors import BadRequestError
from open_inference.openapi.types import InferenceRequest, RequestInput, RequestOutput
from tritonclient.utils import InferenceServerException

MODEL = "flights"
CHECKS: dict[str, Callable[[World], object]] = {}


class World:
    """The service, its clients, rows and the right answers."""

    def __init__(self, port: int, rows: dict[str, Any], right: dict[str, list[Any]]) -> None:
        self.rows, self.right, self.port = rows, right, port
        self.triton = triton.InferenceServerClient(f"127.0.0.1:{port}")
        self.open = OpenInferenceClient(base_url=f"http://127.0.0.1:{port}")
        self.version = self.triton.get_model_metadata(MODEL)["versions"][0]

    def inputs(self, count: int = 5, *, binary: bool = True, **changes: list[Any]) -> list[triton.InferInput]:
        """Return rows as tritonclient sends them."""
        made = []
        for name, (datatype, cells) in self.rows.items():
            chosen = changes.get(name, cells[:count])
            tensor = triton.InferInput(name, [len(chosen), 1], datatype)
            kind = object if datatype == "BYTES" else {"FP64": np.float64, "INT64": np.int64}[datatype]
            none = math.nan if datatype == "FP64" else ""
            values = np.array([none if cell is None else cell for cell in chosen], kind).reshape(-1, 1)
            tensor.set_data_from_numpy(values, binary_data=binary)
            made.append(tensor)
        return made

    def plain(self, count: int = 5) -> list[dict[str, Any]]:
        """Return rows as JSON tensors."""
        return [
            {"name": name, "shape": [count, 1], "datatype": datatype, "data": cells[:count]}
            for name, (datatype, cells) in self.rows.items()
        ]

    def post(self, body: Any, **headers: str) -> tuple[int, Any]:
        """Send a request as it is."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        link.request("POST", f"/v2/models/{MODEL}/infer", content, headers)
        response = link.getresponse()
        return response.status, json.loads(response.read())

    def agrees(self, found: dict[str, Any], count: int) -> None:
        """Compare outputs with the right answers."""
        for name, values in found.items():
            wanted = np.array(self.right[name][:count]).reshape(count, -1)
            given = np.array(values, dtype=wanted.dtype).reshape(count, -1)
            assert np.allclose(given, wanted, rtol=1e-5, atol=1e-5), name


def check(function: Callable[[World], object]) -> Callable[[World], object]:
    """Add a check; its name says what holds."""
    CHECKS[function.__name__.replace("_", " ")] = function
    return function


def refused(work: Callable[[], object], word: str, kind: type[Exception] = InferenceServerException) -> None:
    """Demand a refusal that names what is wrong."""
    try:
        work()
    except kind as fault:
        assert word in str(getattr(fault, "body", fault)), f"says {fault}"
        return
    raise AssertionError("was not refused")


# --- tritonclient -----------------------------------------------------------------------------------------


@check
def triton_finds_it_live_ready_and_the_model_ready(world: World) -> None:
    assert world.triton.is_server_live() and world.triton.is_server_ready()
    assert world.triton.is_model_ready(MODEL) and world.triton.is_model_ready(MODEL, world.version)


@check
def triton_finds_an_unknown_model_not_ready(world: World) -> None:
    assert not world.triton.is_model_ready("nobody") and not world.triton.is_model_ready(MODEL, "99")


@check
def triton_reads_server_metadata_with_the_binary_extension(world: World) -> None:
    assert "binary_tensor_data" in world.triton.get_server_metadata()["extensions"]


@check
def triton_reads_model_metadata_with_every_input_and_output(world: World) -> None:
    found = world.triton.get_model_metadata(MODEL)
    assert {entry["name"]: entry["datatype"] for entry in found["inputs"]} == {n: d for n, (d, _) in world.rows.items()}
    assert {entry["name"] for entry in found["outputs"]} == set(world.right)
    assert all(entry["shape"][0] == -1 for entry in found["inputs"] + found["outputs"])


@check
def triton_reads_metadata_of_a_version(world: World) -> None:
    assert world.triton.get_model_metadata(MODEL, world.version)["parameters"]["sha256"].startswith(world.version)


def _triton_answer(world: World, count: int, binary_in: bool, binary_out: bool, **more: Any) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in world.right]
    found = world.triton.infer(MODEL, world.inputs(count, binary=binary_in), outputs=outputs, **more)
    world.agrees({name: found.as_numpy(name) for name in world.right}, count)


for _in in (True, False):
    for _out in (True, False):
        for _count in (1, 50):
            _name = f"triton {'binary' if _in else 'JSON'} in, {'binary' if _out else 'JSON'} out, {_count} rows"
            CHECKS[_name] = lambda world, c=_count, i=_in, o=_out: _triton_answer(world, c, i, o)  # type: ignore[misc]
for _kind in ("gzip", "deflate"):
    CHECKS[f"triton request packed with {_kind}"] = lambda world, k=_kind: _triton_answer(  # type: ignore[misc]
        world, 50, True, True, request_compression_algorithm=k
    )
    CHECKS[f"triton response packed with {_kind}"] = lambda world, k=_kind: _triton_answer(  # type: ignore[misc]
        world, 50, True, True, response_compression_algorithm=k
    )


@check
def triton_gets_every_output_where_it_names_none(world: World) -> None:
    found = world.triton.infer(MODEL, world.inputs())
    world.agrees({name: found.as_numpy(name) for name in world.right}, 5)


@check
def triton_gets_the_outputs_it_names_and_no_others(world: World) -> None:
    name = next(iter(world.right))
    found = world.triton.infer(MODEL, world.inputs(), outputs=[triton.InferRequestedOutput(name)]).get_response()
    assert [entry["name"] for entry in found["outputs"]] == [name]


@check
def triton_gets_its_id_name_and_version_back(world: World) -> None:
    found = world.triton.infer(MODEL, world.inputs(), request_id="seven", model_version=world.version).get_response()
    assert (found["id"], found["model_name"], found["model_version"]) == ("seven", MODEL, world.version)


@check
def triton_asks_at_once_on_several_connections(world: World) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{world.port}", concurrency=4)
    asked = [client.async_infer(MODEL, world.inputs()) for _ in range(20)]
    for one in asked:
        found = one.get_result()
        world.agrees({name: found.as_numpy(name) for name in world.right}, 5)


@check
def triton_may_send_parameters_that_mean_nothing_here(world: World) -> None:
    world.triton.infer(MODEL, world.inputs(), priority=1, timeout=1_000_000, parameters={"trace": "yes"})


@check
def triton_may_send_no_rows(world: World) -> None:
    empty = {name: [] for name in world.rows}
    found = world.triton.infer(MODEL, world.inputs(**empty))
    assert all(len(found.as_numpy(name)) == 0 for name in world.right)


@check
def triton_hears_which_model_is_unknown(world: World) -> None:
    refused(lambda: world.triton.infer("nobody", world.inputs()), "'nobody' is not served")


@check
def triton_hears_which_version_is_unknown(world: World) -> None:
    refused(lambda: world.triton.infer(MODEL, world.inputs(), model_version="99"), "'99'")


@check
def triton_hears_which_column_is_missing(world: World) -> None:
    refused(lambda: world.triton.infer(MODEL, world.inputs()[1:]), f"'{next(iter(world.rows))}' is missing")


@check
def triton_hears_which_output_is_unknown(world: World) -> None:
    asked = [triton.InferRequestedOutput("nothing")]
    refused(lambda: world.triton.infer(MODEL, world.inputs(), outputs=asked), "no output 'nothing'")


@check
def triton_hears_that_there_are_too_many_rows(world: World) -> None:
    many = {name: (cells * 10_001)[:10_001] for name, (_, cells) in world.rows.items()}
    refused(lambda: world.triton.infer(MODEL, world.inputs(**many)), "at most 10000")


@check
def triton_hears_that_columns_differ_in_length(world: World) -> None:
    name = next(iter(world.rows))
    refused(lambda: world.triton.infer(MODEL, world.inputs(**{name: [1.0]})), f"input '{name}' 1")


# --- open-inference-openapi -------------------------------------------------------------------------------


def _tensors(world: World) -> list[dict[str, Any]]:
    """Return rows without a missing number, because this client knows no null and makes numbers of text."""
    return [tensor | {"data": [1.0 if cell is None else cell for cell in tensor["data"]]} for tensor in world.plain(5)]


def _request(world: World, **more: Any) -> InferenceRequest:
    return InferenceRequest(inputs=[RequestInput(**tensor) for tensor in _tensors(world)], **more)


def _agrees_with_raw(world: World, found: Any) -> None:
    _, right = world.post({"inputs": _tensors(world)})
    assert [_plain(tensor.data) for tensor in found.outputs] == [tensor["data"] for tensor in right["outputs"]]


@check
def open_inference_finds_it_live_and_ready(world: World) -> None:
    world.open.check_server_liveness()
    world.open.check_server_readiness()
    world.open.check_model_readiness(MODEL)
    world.open.check_model_version_readiness(MODEL, world.version)


@check
def open_inference_reads_server_metadata(world: World) -> None:
    assert world.open.read_server_metadata().name == "trunkline"


@check
def open_inference_reads_model_metadata(world: World) -> None:
    assert world.open.read_model_metadata(MODEL).versions == [world.version]
    assert [tensor.name for tensor in world.open.read_model_version_metadata(MODEL, world.version).inputs] == list(
        world.rows
    )


@check
def open_inference_gets_right_answers(world: World) -> None:
    found = world.open.model_infer(MODEL, request=_request(world, id="seven"))
    assert found.id == "seven"
    _agrees_with_raw(world, found)


@check
def open_inference_gets_right_answers_of_a_version(world: World) -> None:
    _agrees_with_raw(world, world.open.model_version_infer(MODEL, world.version, request=_request(world)))


@check
def open_inference_gets_the_outputs_it_names(world: World) -> None:
    name = list(world.right)[-1]
    found = world.open.model_infer(MODEL, request=_request(world, outputs=[RequestOutput(name=name)]))
    assert [tensor.name for tensor in found.outputs] == [name]


@check
def open_inference_raises_its_error_for_an_unknown_model(world: World) -> None:
    refused(lambda: world.open.model_infer("nobody", request=_request(world)), "nobody", ApiError)


@check
def open_inference_raises_its_error_for_a_bad_request(world: World) -> None:
    request = InferenceRequest(inputs=[RequestInput(**tensor) for tensor in _tensors(world)[1:]])
    refused(lambda: world.open.model_infer(MODEL, request=request), "is missing", BadRequestError)


def _plain(data: Any) -> Any:
    return getattr(data, "__root__", data)


# --- raw --------------------------------------------------------------------------------------------------


@check
def null_and_bare_NaN_are_missing_and_alike(world: World) -> None:
    name = next(name for name, (datatype, _) in world.rows.items() if datatype == "FP64")
    tensors = world.plain(1)
    answers = []
    for missing in (None, math.nan):
        next(tensor for tensor in tensors if tensor["name"] == name)["data"] = [missing]
        answers.append(world.post({"inputs": tensors}))
    assert answers[0][0] == 200 and answers[0] == answers[1]


def _bad(what: str, status: int, word: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    def judge(world: World) -> None:
        tensors = world.plain(2)
        code, found = world.post(change(tensors))
        assert code == status and word in found["error"] and list(found) == ["error"], f"{code} {found}"

    CHECKS[f"refused: {what}"] = judge


def _set(**changes: Any) -> Callable[[list[dict[str, Any]]], Any]:
    def change(tensors: list[dict[str, Any]]) -> Any:
        tensors[0] |= changes
        return {"inputs": tensors}

    return change


_bad("no JSON", 400, "not JSON", lambda _: b"x")
_bad("120 levels of JSON", 400, "levels", lambda _: b'{"inputs": ' + b"[" * 120 + b"]" * 120 + b"}")
_bad("text for a number", 400, "row 1: column", _set(data=[1.0, "12abc"]))
_bad("true for a number", 400, "row 0: column", _set(data=[True, 1.0]))
_bad("more data than its shape", 400, "data has 3 entries", _set(data=[1.0, 2.0, 3.0]))
_bad("two cells per row", 400, "one cell per row", _set(shape=[1, 2]))
_bad("an unknown datatype", 400, "datatype is 'FLOAT'", _set(datatype="FLOAT"))
_bad("a body of 9 MiB", 413, "larger than", lambda _: b" " * (9 << 20))


def main() -> int:
    """Run every check and print what came out."""
    port, rows, right = sys.argv[1:]
    with open(rows) as first, open(right) as second:
        world = World(int(port), json.load(first), json.load(second))
    results = []
    for what, function in CHECKS.items():
        try:
            function(world)
            results.append((what, True, ""))
        except Exception as fault:
            results.append((what, False, f"{type(fault).__name__}: {fault}"[:200]))
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
