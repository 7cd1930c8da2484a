"""A trunk: the layers between the prepared columns and the heads.

A kind is one file with its torch module in a private sibling; it is named once, in `Trunk` below. A form of sharing
builds one trunk, or several side by side (see nets/layers.py), and needs of it:

    parts   modules run one after the other, [rows, width] in and out
    last    the last linear layer
    width   of what comes out

A trunk that is made for hard sharing alone says so in its declaration (`forms`) and need not have parts. One that has
a part of its own for each task, or must know which input a number comes from, is its own form of sharing (`form`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from trunkline.nets.trunks.base import BaseTrunk
from trunkline.nets.trunks.ft_transformer import FTTransformerTrunk
from trunkline.nets.trunks.mlp import MLPTrunk
from trunkline.nets.trunks.residual import ResidualTrunk
from trunkline.nets.trunks.tabm import TabMTrunk


def _mlp_unless_said(content: Any) -> Any:
    return {"kind": "mlp"} | content if isinstance(content, dict) else content


Trunk = Annotated[
    MLPTrunk | ResidualTrunk | TabMTrunk | FTTransformerTrunk,
    Field(discriminator="kind"),
    BeforeValidator(_mlp_unless_said),
]


def read_trunk(content: dict[str, Any]) -> Trunk:
    """Return the trunk that was declared as `content`."""
    trunk: Trunk = TypeAdapter(Trunk).validate_python(content)
    return trunk


__all__ = ["BaseTrunk", "MLPTrunk", "ResidualTrunk", "Trunk", "read_trunk"]
