"""The body of a request: within its limits, in time, unpacked."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from trunkline.service.limits import Limits
from trunkline.service.refusal import Refusal

EITHER_HEADER = zlib.MAX_WBITS | 32  # gzip or zlib
PACKED = ("gzip", "x-gzip", "deflate")
PATIENCE = 16  # times its limit a body is read on after it, so that a client that is still sending hears why


async def read_body(request: Request, limits: Limits) -> bytes:
    """Read a body and undo its Content-Encoding.

    Raises:
        Refusal: 413 too large, 408 too slow, 415 another encoding, 400 damaged.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in (*PACKED, "identity"):
        raise Refusal(415, f"Content-Encoding is '{encoding}'; send gzip, deflate or none")
    try:
        async with asyncio.timeout(limits.seconds):
            content = await _receive(request, limits.body)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {limits.seconds:g} s", {"connection": "close"}) from None
    except ClientDisconnect:
        raise Refusal(400, "the client left before its body ended") from None
    return content if encoding == "identity" else await asyncio.to_thread(unpack, content, limits.unpacked)


async def _receive(request: Request, limit: int) -> bytes:
    content = bytearray()
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read <= limit:
            content += chunk
        elif read > PATIENCE * limit:
            break
    if read > limit:
        raise Refusal(413, f"the body is larger than {limit} bytes; send fewer rows at once", {"connection": "close"})
    return bytes(content)


def unpack(content: bytes, limit: int) -> bytes:
    """Undo gzip or zlib.

    Raises:
        Refusal: 413, it holds more than `limit` bytes; 400, it is damaged or cut off.
    """
    unpacker = zlib.decompressobj(EITHER_HEADER)
    try:
        unpacked = unpacker.decompress(content, limit + 1)
    except zlib.error as fault:
        raise Refusal(400, f"the body is neither gzip nor deflate as its Content-Encoding says: {fault}") from None
    if len(unpacked) > limit:
        raise Refusal(413, f"the body unpacks to more than {limit} bytes; send fewer rows at once")
    if not unpacker.eof or unpacker.unused_data:
        raise Refusal(400, "the packed body is cut off, or something stands behind it")
    return unpacked
