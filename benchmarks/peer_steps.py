"""TorchJD's own way through a training step, for the methods that it has too: `mtl_backward`, then its aggregator.

The network, the rows, dropout, clipping and the optimiser are those of our training. What differs is what a user of
TorchJD writes: a head and a masked loss per task, and the Jacobian of all shared parameters, one task at a time, which
is quicker on a CPU than all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.training.batches import Rows
    from trunkline.training.fit import Arm

AGGREGATORS = {"pcgrad": "PCGrad", "imtl_g": "IMTLG", "aligned_mtl": "AlignedMTL", "mgda": "MGDA"}
"""Our kinds that TorchJD has and that need no further package there."""


def epoch_of_torchjd(arm: Arm, rows: Rows, kind: str) -> Callable[[], None]:
    """Return a function that trains for one epoch, all rows in a new order.

    Args:
        arm: Tasks with one output each, and the recipe.
        rows: The training rows.
        kind: Our name of the method.
    """
    import torch
    import torchjd.aggregation
    from torch import nn
    from torchjd.autojac import jac_to_grad, mtl_backward

    from trunkline.chance import torch_stream
    from trunkline.nets.network import Network
    from trunkline.nets.stack import draw_from

    network: Any = Network(
        arm.features, arm.vocabulary_sizes, list(arm.states.values()), arm.trunk, torch_stream(1, "weights")
    ).train()
    draw_from(network, [torch.Generator()])
    heads = nn.ModuleList(nn.Linear(network.trunk.width, 1) for _ in arm.states)
    shared = [weight for name, weight in network.named_parameters() if not name.startswith("heads.")]
    weights = [*shared, *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=arm.training.learning_rate, fused=True)
    aggregator = getattr(torchjd.aggregation, AGGREGATORS[kind])()
    features, codes = (torch.from_numpy(part) for part in rows[:2])
    loss_of = {"regression": nn.functional.mse_loss, "binary": nn.functional.binary_cross_entropy_with_logits}

    def step(at: torch.Tensor) -> None:
        reads = network.trunk_output(features[at], codes[at])
        losses = []
        for place, (head, state) in enumerate(zip(heads, arm.states.values(), strict=True)):
            target = rows.targets[at, place]
            known = ~target.isnan()
            loss = loss_of[state["kind"]](head(reads).squeeze(-1)[known], target[known])
            losses.append(loss / state["constant_loss"])
        optimizer.zero_grad()
        mtl_backward(losses, features=reads, shared_params=shared, parallel_chunk_size=1)
        jac_to_grad(shared, aggregator)
        nn.utils.clip_grad_norm_(weights, arm.training.clip)
        optimizer.step()

    def epoch() -> None:
        for at in torch.randperm(len(features)).split(arm.training.batch):
            step(at)

    return epoch
