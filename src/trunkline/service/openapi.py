"""The paths of the service as an OpenAPI document, for programs that write clients or probe services."""

from __future__ import annotations

from typing import Any

import trunkline
from trunkline.service.datatypes import DATATYPES

ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
PARAMETERS = {"type": "object", "additionalProperties": True}
SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": SHAPE,
        "datatype": {"type": "string", "enum": list(DATATYPES)},
        "parameters": PARAMETERS,
        "data": {"type": "array", "items": {}},
    },
}
QUESTION = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": PARAMETERS,
        "inputs": {"type": "array", "items": TENSOR, "minItems": 1},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": PARAMETERS},
            },
        },
    },
}
ANSWER = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": TENSOR},
    },
}
MODEL = {
    "type": "object",
    "required": ["name", "versions", "platform", "inputs", "outputs"],
    "properties": {"name": {"type": "string"}, "versions": {"type": "array", "items": {"type": "string"}}},
}
OBJECT = {"type": "object"}
REFUSALS = {
    "400": "The request is not understood; the sentence names the row and the column.",
    "401": "The token is missing or another one.",
    "403": "The request comes by way of another site.",
    "404": "There is no such model, version or path.",
    "408": "The request did not arrive in time.",
    "413": "The request is too large.",
    "415": "The Content-Encoding is unknown.",
    "429": "Too many requests at once; come again.",
    "503": "No answer in time, or the service is about to end.",
}


def openapi(models: list[str]) -> dict[str, Any]:
    """Return the OpenAPI document of a service of these models."""
    model, version = _word("model", enum=models), _word("version")
    paths = {
        "/v2": _get("About the service", OBJECT),
        "/v2/health/live": _get("Whether the process runs", OBJECT),
        "/v2/health/ready": _get("Whether it answers", OBJECT),
        "/metrics": _get("Counters for Prometheus", None),
    }
    for path, words in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        paths[path] = {**_get("Inputs, outputs, hash and card", MODEL), "parameters": words}
        paths[f"{path}/ready"] = {**_get("Whether it answers", OBJECT), "parameters": words}
        paths[f"{path}/infer"] = {"post": _operation("Predictions for rows", ANSWER) | _body(), "parameters": words}
    info = {"title": "trunkline: Open Inference Protocol 2", "version": trunkline.__version__}
    return {"openapi": "3.0.3", "info": info, "paths": paths}


def _word(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **more}}


def _get(summary: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    return {"get": _operation(summary, schema)}


def _operation(summary: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}} if schema else {"text/plain": {"schema": {"type": "string"}}}
    refusals = {
        code: {"description": text, "content": {"application/json": {"schema": ERROR}}}
        for code, text in REFUSALS.items()
    }
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}, **refusals}}


def _body() -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": QUESTION}}}}
