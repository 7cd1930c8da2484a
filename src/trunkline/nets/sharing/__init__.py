"""A form of sharing: which layers the tasks have in common, and what each keeps for itself.

A form is one file with its torch module in a private sibling; it is named once, in `Sharing` below. The heads are no
part of it: each is one linear layer over what the form gives its task.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from trunkline.nets.sharing.attention import Attention
from trunkline.nets.sharing.base import BaseSharing
from trunkline.nets.sharing.cgc import CGC, PLE
from trunkline.nets.sharing.cross_stitch import CrossStitch
from trunkline.nets.sharing.hard import HardSharing
from trunkline.nets.sharing.lora import LoRA
from trunkline.nets.sharing.mmoe import MMoE
from trunkline.nets.sharing.stem import STEM

Sharing = Annotated[HardSharing | MMoE | CGC | PLE | CrossStitch | Attention | STEM | LoRA, Field(discriminator="kind")]


def read_sharing(content: dict[str, Any]) -> Sharing:
    """Return the form of sharing that was declared as `content`."""
    sharing: Sharing = TypeAdapter(Sharing).validate_python(content)
    return sharing


__all__ = ["BaseSharing", "HardSharing", "Sharing", "read_sharing"]
