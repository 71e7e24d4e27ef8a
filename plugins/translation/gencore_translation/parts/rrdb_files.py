"""The RRDB checkpoints that people own, under this network's names: those of BasicSR and Real-ESRGAN, and of the first
ESRGAN (xinntao/ESRGAN, whose files BasicSR reads too)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gencore.errors import GencoreError

_NAMES = (
    (r"conv_first", r"head"),
    (r"(?:body|RRDB_trunk)\.(\d+)\.(?:rdb|RDB)([1-3])\.conv([1-5])", r"body.\1.blocks.\2.layers.\3"),
    (r"conv_body|trunk_conv", r"after_body"),
    (r"(?:conv_up|upconv)([12])", r"enlarge.\1"),
    (r"conv_hr|HRconv", r"fine"),
    (r"conv_last", r"last"),
)
_SCALE_OF_BLOCK = {1: 4, 4: 2, 16: 1}
"""By how many pixels of a channel the first convolution sees as one place."""


class RRDBFile(NamedTuple):
    """What a checkpoint says of its network, and the network's tensors."""

    channels: int
    scale: int
    width: int
    growth: int
    blocks: int
    tensors: dict[str, Tensor]


def published_rrdb(tensors: Mapping[str, Tensor]) -> RRDBFile:
    """Read a checkpoint's tensors. Raises GencoreError for a key of no RRDB network, and for one that lacks some."""
    named = {_name(key): tensor for key, tensor in tensors.items()}
    blocks = 1 + max((int(key.split(".")[1]) for key in named if key.startswith("body.")), default=-1)
    needed = ("head.weight", "last.weight", "body.0.blocks.0.layers.0.weight")
    if missing := [key for key in needed if key not in named]:
        raise GencoreError(
            f"These tensors have no {missing[0]!r} (in gencore's names): they are no whole RRDB network."
        )
    width, given = named["head.weight"].shape[:2]
    channels = named["last.weight"].shape[0]
    if given % channels or given // channels not in _SCALE_OF_BLOCK:
        raise GencoreError(
            f"The first convolution takes {given} channels and the last makes {channels}: of no RRDBNet."
        )
    growth = named["body.0.blocks.0.layers.0.weight"].shape[0]
    return RRDBFile(channels, _SCALE_OF_BLOCK[given // channels], width, growth, blocks, named)


def _name(key: str) -> str:
    layer, _, kind = key.rpartition(".")
    for pattern, name in _NAMES:
        match = re.fullmatch(pattern, layer)
        if match and kind in ("weight", "bias"):
            first, *rest = (*match.groups(), "") if match.groups() else ("",)
            if name.startswith("body"):
                block, layer_number = (int(number) - 1 for number in rest[:2])
                return f"body.{first}.blocks.{block}.layers.{layer_number}.{kind}"
            return f"enlarge.{int(first) - 1}.{kind}" if name.startswith("enlarge") else f"{name}.{kind}"
    raise GencoreError(
        f"The tensor {key!r} belongs to no RRDB network as BasicSR, Real-ESRGAN or ESRGAN name it: conv_first, "
        "body.N.rdbM.convK, conv_body, conv_up1, conv_up2, conv_hr, conv_last."
    )
