"""In which numbers a training step is computed.

bfloat16 has the range of float32 and 8 bits of its 24. In it run the products of the network in a step: that of the
losses, and that by which a gradient method compares the tasks. Weights, their gradients and optimiser, losses and the
Gramian (float64) stay as they are. What is measured, scored, calibrated and exported is computed in float32, because
the exported file is; a difference of losses after one small step would drown in the rounding of bfloat16.

Measured, step time in bfloat16 over that in float32, one thread, 1,024 rows: with avx512_bf16 0.39 at 512 units, 0.49
at 256, 0.75 at 128, 0.96 at 64, 1.2 at 32 (256 rows); at 256 without such products 1.1 (AVX-512) and 8.7 (AVX2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]
NATIVE = ("amx_bf16", "avx512_bf16", "bf16")  # what processors call their products in bfloat16; the last: ARM
LEAST_UNITS = 64  # of a layer, below which turning numbers into bfloat16 costs more than it saves


def in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Return whether steps on `device` are computed in bfloat16; `auto`: on a GPU they are."""
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a network's step is computed."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(precision, device))


def slow_bfloat16(precision: Precision, device: torch.device, units: int) -> Iterator[str]:
    """Yield a sentence for each reason why bfloat16, where a CPU is asked for it, is slower than float32.

    Args:
        precision: The declared one.
        device: Where the training runs.
        units: Of the trunk's widest layer.
    """
    if precision != "bfloat16" or device.type != "cpu":
        return
    has = torch.cpu.get_capabilities()
    if not any(has.get(name) for name in NATIVE):
        yield "training.precision: this processor imitates products in bfloat16, up to 9 times slower; set auto"
    if units < LEAST_UNITS:
        yield (
            f"training.precision: with {units} units per layer, bfloat16 is slower than float32 (from about "
            f"{LEAST_UNITS} on it is quicker); set auto"
        )
