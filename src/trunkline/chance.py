"""Named streams of chance, all drawn from the one seed in params.yaml.

A stream's name says what the draw is for ("shuffle", "shared", 3). Two streams never overlap, and adding one
never changes another. No state is kept: a run that was killed asks for the same stream again and goes on.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *name: str | int) -> int:
    """Return the 63-bit seed of the stream `name`.

    Example:
        >>> stream_seed(1, "shuffle", 0) == stream_seed(1, "shuffle", 0)
        True
        >>> stream_seed(1, "shuffle", 0) == stream_seed(1, "shuffle", 1)
        False
    """
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return numpy's generator for the stream `name`."""
    return np.random.default_rng(stream_seed(seed, *name))


def torch_stream(seed: int, *name: str | int) -> torch.Generator:
    """Return torch's CPU generator for the stream `name`."""
    import torch

    generator = torch.Generator()
    generator.manual_seed(stream_seed(seed, *name))
    return generator


def hash_fractions(rows: list[bytes], salt: str) -> np.ndarray:
    """Place each row key in [0, 1) by a hash, the same for the same key whatever rows stand beside it.

    Args:
        rows: One encoded key per row.
        salt: Keeps two uses of the same key independent.

    Returns:
        float64 array, one fraction per row.
    """
    start = hashlib.sha256(salt.encode()).digest()[:16]
    digests = b"".join(hashlib.blake2b(row, digest_size=8, key=start).digest() for row in rows)
    return (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64) / float(1 << 53)
