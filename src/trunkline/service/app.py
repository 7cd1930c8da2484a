"""The service as an ASGI application: routes, and what holds for every request."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import onnxruntime
import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trunkline.service.answer import JSON, LENGTH, Answer
from trunkline.service.body import read_body
from trunkline.service.guard import check_caller
from trunkline.service.infer import infer
from trunkline.service.limits import Limits
from trunkline.service.metadata import about_model, about_service
from trunkline.service.metrics import Metrics
from trunkline.service.openapi import openapi
from trunkline.service.refusal import Refusal
from trunkline.service.shelf import Say, Served, Shelf

AT_ONCE = 1 << 16  # bytes of a body that is answered in the event loop: quicker than a change of threads
WORTH_PACKING = 1 << 10  # bytes
AGAIN = {"retry-after": "1"}


class Service:
    """Everything that is served.

    Args:
        shelf: The models.
        limits: What one request may cost.
        token: What callers must show; None = only this machine may call.
        say: Told a line per request, where an access log is wanted.

    Attributes:
        app: The ASGI application.
        leaving: Set when the process is about to end: answers are still given, but readiness is not.
    """

    def __init__(self, shelf: Shelf, limits: Limits, token: str | None, say: Say | None = None) -> None:
        self.shelf, self.limits, self.token, self.say = shelf, limits, token, say
        self.metrics = Metrics(shelf)
        self.leaving = False
        self.waiting = 0
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1, "answer")
        routes = [Route(path, answer) for path, answer in self._get().items()]
        routes += [Route(f"{path}/infer", self.infer, methods=["POST"]) for path in MODEL_PATHS]
        application = Starlette(routes=routes, exception_handlers=HANDLERS)
        application.router.redirect_slashes = False
        self.app: ASGIApp = _Gate(self, application)

    def _get(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        return {
            "/v2": self.about,
            "/v2/": self.about,
            "/v2/health/live": self.live,
            "/v2/health/ready": self.ready,
            **dict.fromkeys(MODEL_PATHS, self.model),
            **{f"{path}/ready": self.model_ready for path in MODEL_PATHS},
            "/metrics": self.measured,
            "/openapi.json": self.described,
        }

    async def about(self, request: Request) -> Response:
        """Answer GET /v2."""
        return _json(about_service())

    async def live(self, request: Request) -> Response:
        """Answer GET /v2/health/live."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Answer GET /v2/health/ready: every model passed its self-check, and the process stays."""
        return _json({"ready": not self.leaving}, 503 if self.leaving else 200)

    async def model(self, request: Request) -> Response:
        """Answer GET /v2/models/NAME[/versions/VERSION]."""
        served = self._served(request)
        return _json(about_model(served, self.shelf.models[served.name]))

    async def model_ready(self, request: Request) -> Response:
        """Answer GET /v2/models/NAME[/versions/VERSION]/ready."""
        served = self._served(request)
        return _json({"name": served.name, "ready": not self.leaving}, 503 if self.leaving else 200)

    async def measured(self, request: Request) -> Response:
        """Answer GET /metrics."""
        content, kind = self.metrics.text()
        return Response(content, media_type=kind)

    async def described(self, request: Request) -> Response:
        """Answer GET /openapi.json."""
        return _json(openapi(list(self.shelf.models)))

    async def infer(self, request: Request) -> Response:
        """Answer POST /v2/models/NAME[/versions/VERSION]/infer."""
        served = self._served(request)
        length = _json_length(request.headers)
        body = await read_body(request, self.limits)
        if len(body) <= AT_ONCE:
            answer = infer(served, body, length, self.limits, self.metrics)
        else:
            answer = await self._in_thread(served, body, length)
        if len(answer.body) <= AT_ONCE:
            return _packed(answer, request.headers)
        return await asyncio.to_thread(_packed, answer, request.headers)

    def _served(self, request: Request) -> Served:
        return self.shelf.find(request.path_params["model"], request.path_params.get("version"))

    async def _in_thread(self, served: Served, body: bytes, length: int | None) -> Answer:
        options = onnxruntime.RunOptions()
        work = partial(infer, served, body, length, self.limits, self.metrics, options)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except TimeoutError:
            options.terminate = True  # ends the thread's call at its next operator
            raise Refusal(503, f"no answer within {self.limits.seconds:g} s; send fewer rows at once", AGAIN) from None


MODEL_PATHS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


class _Gate:
    """What holds for every request: who may ask, how many at once; each is counted."""

    def __init__(self, service: Service, app: ASGIApp) -> None:
        self.service, self.app = service, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started, service = time.perf_counter(), self.service
        code = 499  # what stays where the client left without an answer

        async def sending(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if service.leaving:
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        service.waiting += 1
        service.metrics.waiting.inc()
        try:
            refusal = self._refusal(scope)
            await (_error(refusal) if refusal else self.app)(scope, receive, sending)
        except Exception:  # ours, not the client's: it has been told so
            traceback.print_exc(file=sys.stderr)
        finally:
            service.waiting -= 1
            service.metrics.waiting.dec()
            self._count(scope, code, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Refusal | None:
        limit = self.service.limits.waiting
        try:
            check_caller(scope["path"], Headers(scope=scope), self.service.token)
        except Refusal as refusal:
            return refusal
        if self.service.waiting > limit:
            return Refusal(429, f"{limit} requests are being answered; come again", AGAIN)
        return None

    def _count(self, scope: Scope, code: int, seconds: float) -> None:
        endpoint = getattr(scope.get("endpoint"), "__name__", "none")
        self.service.metrics.requests.labels(endpoint, str(code)).inc()
        self.service.metrics.seconds.labels(endpoint).observe(seconds)
        if self.service.say:
            path = scope["raw_path"].decode("ascii", "replace")  # as it was sent: no line breaks of a stranger's
            self.service.say(f"{scope['method']} {path} {code} {seconds * 1e3:.1f} ms")


def _error(refusal: Refusal) -> Response:
    return _json({"error": str(refusal)}, refusal.status, refusal.headers)


async def _refuse(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Refusal)
    return _error(fault)


async def _no_route(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    what = f"{request.method} {request.url.path}"
    sentence = f"{what}: there is no such path; see GET /openapi.json"
    if fault.status_code == 405:
        sentence = f"{what}: this path takes {(fault.headers or {}).get('Allow', 'another method')}"
    return _error(Refusal(fault.status_code, sentence, fault.headers))


async def _failed(request: Request, fault: Exception) -> Response:
    return _error(Refusal(500, "the service failed on this request; its log says why"))


HANDLERS: dict[Any, Any] = {Refusal: _refuse, HTTPException: _no_route, Exception: _failed}


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type=JSON)


def _json_length(headers: Headers) -> int | None:
    given = headers.get(LENGTH)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit():
        raise Refusal(400, f"{LENGTH} is {given!r}; expected a number of bytes")
    return int(given)


def _packed(answer: Answer, headers: Headers) -> Response:
    if len(answer.body) < WORTH_PACKING or not _takes_gzip(headers.get("accept-encoding", "")):
        return Response(answer.body, headers=answer.headers)
    packed = gzip.compress(answer.body, compresslevel=1, mtime=0)
    return Response(packed, headers={**answer.headers, "content-encoding": "gzip", "vary": "accept-encoding"})


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip, and not as unwanted.

    Example:
        >>> _takes_gzip("deflate, gzip;q=0.5"), _takes_gzip("gzip;q=0")
        (True, False)
    """
    for word in accepted.lower().split(","):
        name, _, quality = word.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
