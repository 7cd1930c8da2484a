"""How the tasks' losses become one step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.balance.aligned_mtl import AlignedMTL
from trunkline.balance.base import GradientMethod, LossMethod, Moment
from trunkline.balance.cagrad import CAGrad
from trunkline.balance.dwa import DynamicWeights
from trunkline.balance.equal import EqualWeights
from trunkline.balance.famo import Famo
from trunkline.balance.gradnorm import GradNorm
from trunkline.balance.imtl_g import ImtlG
from trunkline.balance.log import LogLosses
from trunkline.balance.mgda import MGDA
from trunkline.balance.nash import Nash
from trunkline.balance.pcgrad import PCGrad
from trunkline.balance.random_weights import RandomWeights
from trunkline.balance.tchebycheff import Tchebycheff
from trunkline.balance.torchjd import TorchJD
from trunkline.balance.uncertainty import Uncertainty
from trunkline.balance.upgrad import UPGrad

Balance = Annotated[
    EqualWeights | LogLosses | Uncertainty | DynamicWeights | Famo | Tchebycheff | RandomWeights
    | GradNorm | PCGrad | UPGrad | ImtlG | AlignedMTL | Nash | CAGrad | MGDA | TorchJD,
    Field(discriminator="kind"),
]  # fmt: skip

__all__ = ["Balance", "EqualWeights", "GradientMethod", "LossMethod", "Moment"]
