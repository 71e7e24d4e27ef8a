"""The U-Net checkpoints of pytorch-CycleGAN-and-pix2pix under this network's names.

There each level is a module inside the next outer one: the layers of level k stand under model. model.1. model.3. ...
The outermost level holds its convolutions at 0 and 3, the innermost at 1 and 3 (norm at 4), the others at 1 (norm at 2)
and 5 (norm at 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gencore.errors import GencoreError

from .norms import Norm

_INSIDE = "model.model.1.model."
_OF_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class UNetFile(NamedTuple):
    """What a checkpoint says of its network, and the network's tensors."""

    channels_in: int
    channels_out: int
    width: int
    depth: int
    norm: Norm
    tensors: dict[str, Tensor]


def published_unet(tensors: Mapping[str, Tensor]) -> UNetFile:
    """Read a checkpoint's tensors. Biases in front of instance normalisation do nothing and are dropped; where a
    convolution without normalisation has none, it is 0. Raises GencoreError for keys too many or too few."""
    depth = 2 + max((key.removeprefix(_INSIDE).count("3.model.") for key in tensors), default=0)
    batch = any(key.endswith("running_mean") for key in tensors)
    left, found = dict(tensors), {}
    for level in range(depth):
        prefix = _INSIDE + "3.model." * (level - 1) if level else "model.model."
        place = _places(level, depth)
        for name, normed in (("down", 0 < level < depth - 1), ("up", level > 0)):
            conv, norm = place[name]
            weight = _taken(left, f"{prefix}{conv}.weight")
            bias = left.pop(f"{prefix}{conv}.bias", None)
            found[f"{name}.{level}.0.weight"] = weight
            if not normed:
                channels = weight.shape[0 if name == "down" else 1]
                found[f"{name}.{level}.0.bias"] = torch.zeros(channels) if bias is None else bias
            elif batch:
                for part in _OF_NORM:
                    found[f"{name}.{level}.1.{part}"] = _taken(left, f"{prefix}{norm}.{part}")
    if left:
        raise GencoreError(f"The tensor {min(left)!r} belongs to no U-Net as pytorch-CycleGAN-and-pix2pix names it.")
    width, channels_in = found["down.0.0.weight"].shape[:2]
    channels_out = found["up.0.0.weight"].shape[1]
    return UNetFile(channels_in, channels_out, width, depth, "batch" if batch else "instance", found)


def _places(level: int, depth: int) -> dict[str, tuple[int, int]]:
    """Where (convolution, normalisation) of a level stand."""
    if level == 0:
        return {"down": (0, -1), "up": (3, -1)}
    return {"down": (1, 2), "up": (3, 4) if level == depth - 1 else (5, 6)}


def _taken(left: dict[str, Tensor], key: str) -> Tensor:
    if key not in left:
        raise GencoreError(f"The checkpoint lacks {key!r}; expected a U-Net of pytorch-CycleGAN-and-pix2pix (netG).")
    return left.pop(key)
