"""Other forms of a model: some of its tasks, a Triton repository; the same answers, and a card that is true."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from tiny_model import graph, write_model

from trunkline.cli.app import main
from trunkline.errors import ArtifactError, GateError, ParamsError
from trunkline.files import check_seal, read_json, sha256
from trunkline.forms.part import write_part
from trunkline.forms.triton import write_triton
from trunkline.service.shelf import Place, Shelf
from trunkline.serving.golden import golden_feeds
from trunkline.serving.session import open_model

CONFIG = """\
name: "tiny"
backend: "onnxruntime"
max_batch_size: 4096
input { name: "x" data_type: TYPE_FP64 dims: [ 1 ] }
input { name: "origin" data_type: TYPE_STRING dims: [ 1 ] }
input { name: "time_hour" data_type: TYPE_INT64 dims: [ 1 ] }
output { name: "late.probability" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "size.probability" data_type: TYPE_FP32 dims: [ 3 ] }
output { name: "delay.value" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "size.label" data_type: TYPE_STRING dims: [ 1 ] }
dynamic_batching { }
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
parameters { key: "inter_op_thread_count" value: { string_value: "1" } }
"""


def test_a_part_gives_what_the_whole_gives_for_its_tasks_and_nothing_else(tmp_path):
    whole = open_model(write_model(tmp_path / "whole"))
    part = open_model(write_part(whole.path, ["size", "late"], tmp_path / "part"))
    assert part.outputs == ["late.probability", "size.probability", "size.label"]
    feeds = golden_feeds(whole.card["golden"]["inputs"], whole.inputs)
    right = whole.run(feeds)
    assert all(np.array_equal(values, right[name]) for name, values in part.run(feeds).items())
    assert part.card["part_of"]["sha256"] == whole.sha256 != part.sha256
    assert len(onnx.load(part.path).graph.node) < len(graph().graph.node)
    check_seal(tmp_path / "part")
    again = write_part(whole.path, ["size", "late"], tmp_path / "again")
    assert sha256(again) == part.sha256


def test_a_part_takes_only_the_columns_that_its_tasks_read(tmp_path):
    made = graph()
    made.graph.node.append(onnx.helper.make_node("Cast", ["x"], ["plain.value"], to=onnx.TensorProto.FLOAT))
    made.graph.output.append(onnx.helper.make_tensor_value_info("plain.value", onnx.TensorProto.FLOAT, ["rows", 1]))
    path = write_model(tmp_path / "whole", made)
    card = read_json(path.with_name("card.json"))
    card["outputs"].append(
        {"name": "plain.value", "task": "plain", "kind": "regression", "part": "value", "spread": 1.0}
    )
    card["golden"]["outputs"]["plain.value"] = [[1.5], [-2.0], [None]]
    path.with_name("card.json").write_text(json.dumps(card))
    part = open_model(write_part(path, ["plain"], tmp_path / "part"))
    assert [name for name, _ in part.inputs] == ["x"] == list(part.card["golden"]["inputs"])


def test_an_unknown_task_is_named_and_the_whole_is_never_overwritten(tmp_path):
    path = write_model(tmp_path)
    with pytest.raises(ParamsError, match="no task 'lat'; did you mean 'late'"):
        write_part(path, ["lat"], tmp_path / "part")
    with pytest.raises(ParamsError, match="holds the whole model"):
        write_part(path, ["late"], tmp_path)


def test_a_part_that_answers_otherwise_is_refused(tmp_path, monkeypatch):
    from trunkline.forms import part

    monkeypatch.setattr(part, "open_model", lambda path: opened[path.parent.name])
    opened = {"whole": open_model(write_model(tmp_path / "whole"))}
    made = graph()
    next(node for node in made.graph.node if node.output[0] == "delay.value").input[1] = "score"
    opened["part"] = open_model(write_model(tmp_path / "other", made), check=False)
    with pytest.raises(GateError, match=r"output 'delay.value' differs"):
        write_part(opened["whole"].path, ["delay"], tmp_path / "part")


def test_a_triton_repository_has_the_layout_and_the_config_and_serves_here_too(tmp_path):
    path = write_model(tmp_path / "export")
    assert write_triton(path, tmp_path / "repository") == tmp_path / "repository" / "tiny" / "1"
    sha = f'parameters {{ key: "sha256" value: {{ string_value: "{sha256(path)}" }} }}\n'
    assert (tmp_path / "repository" / "tiny" / "config.pbtxt").read_text() == CONFIG + sha
    assert write_triton(path, tmp_path / "repository").name == "1"
    made = graph()
    made.graph.doc_string = "another"
    assert write_triton(write_model(tmp_path / "export", made), tmp_path / "repository").name == "2"
    shelf = Shelf([Place(None, tmp_path / "repository" / "tiny")], 1, print)
    assert list(shelf.models["tiny"].served) == ["1", "2"]


def test_a_tampered_model_gets_no_other_form(tmp_path):
    path = write_model(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    for write in (lambda: write_triton(path, tmp_path / "r"), lambda: write_part(path, ["late"], tmp_path / "p")):
        with pytest.raises(ArtifactError):
            write()
    assert not (tmp_path / "r").exists() and not (tmp_path / "p").exists()


def test_the_command_writes_a_part_a_repository_or_the_repository_of_a_part(tmp_path, capsys):
    path = str(write_model(tmp_path / "export"))
    assert main(["export", path, "--tasks", "late, size", "--to", str(tmp_path / "part")]) == 0
    assert main(["export", path, "--tasks", "delay", "--triton", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "part/model.onnx"), str(tmp_path / "r/tiny/1")]
    assert [output.name for output in onnx.load(tmp_path / "r/tiny/1/model.onnx").graph.output] == ["delay.value"]
    assert main(["export", path]) == main(["export", path, "--tasks", "late"]) == 2
    assert "--triton DIR" in capsys.readouterr().err
