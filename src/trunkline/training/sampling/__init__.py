"""Sampling: which rows a step sees. A rule changes what is drawn, never how many steps a training has.

A rule is one file; it is named once, in `Sampling` below. What needs torch lies in the private files.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.training.sampling.annealed import Annealed
from trunkline.training.sampling.bandit import Bandit
from trunkline.training.sampling.base import BaseSampling
from trunkline.training.sampling.label_aware import LabelAware
from trunkline.training.sampling.laws import TaskLaw
from trunkline.training.sampling.pretrain_then_joint import PretrainThenJoint
from trunkline.training.sampling.proportional import Proportional
from trunkline.training.sampling.shuffle import Shuffle
from trunkline.training.sampling.square_root import SquareRoot
from trunkline.training.sampling.temperature import Temperature
from trunkline.training.sampling.uniform import Uniform

Sampling = Annotated[
    Shuffle | LabelAware | Proportional | SquareRoot | Temperature | Uniform | Annealed | Bandit | PretrainThenJoint,
    Field(discriminator="kind"),
]

__all__ = ["BaseSampling", "Sampling", "Shuffle", "TaskLaw"]
