"""The residual translators' checkpoints of pytorch-CycleGAN-and-pix2pix (netG resnet_9blocks, resnet_6blocks) under
this network's names.

Both count the same layers in the same row, paddings and activations included. Only there, dropout may stand inside of a
block, and biases in front of normalisations by the picture, which do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gencore.errors import GencoreError

from .norms import Norm

HALVINGS = 2
_KEY = re.compile(r"model\.(\d+)(?:\.conv_block\.(\d+))?\.(weight|bias|running_mean|running_var|num_batches_tracked)")
_BEHIND_LAST_BLOCK = 7
"""Places from the last block to the last convolution: two times three layers that double, and a padding."""
_DROPOUT = 4


class ResNetFile(NamedTuple):
    """What a checkpoint says of its network, and the network's tensors."""

    channels_in: int
    channels_out: int
    width: int
    blocks: int
    norm: Norm
    tensors: dict[str, Tensor]


def published_resnet(tensors: Mapping[str, Tensor]) -> ResNetFile:
    """Read a checkpoint's tensors. Raises GencoreError for a key of no such network, and where its ends are missing."""
    parsed = {key: _KEY.fullmatch(key) for key in tensors}
    if strange := [key for key, match in parsed.items() if match is None]:
        raise GencoreError(f"The tensor {min(strange)!r} belongs to no residual netG of pytorch-CycleGAN-and-pix2pix.")
    places = {int(match[1]) for match in parsed.values() if match and match[2]}
    last = f"model.{max(places, default=0) + 1 + _BEHIND_LAST_BLOCK}"
    for needed in ("model.1.weight", f"{last}.weight", f"{last}.bias"):
        if needed not in tensors:
            raise GencoreError(
                f"The checkpoint lacks {needed!r}; expected a residual netG of CycleGAN (resnet_9blocks)."
            )
    batch = "model.2.weight" in tensors
    dropout = any(match and match[2] == "6" and tensors[key].ndim > 1 for key, match in parsed.items())
    found = {}
    for key, match in parsed.items():
        assert match is not None
        kernel = tensors.get(f"{key.rpartition('.')[0]}.weight")
        convolution = kernel is not None and kernel.ndim > 1
        if not key.startswith(f"{last}.") and ((match[3] == "bias" and convolution) or (not batch and not convolution)):
            continue
        inner = "" if match[2] is None else f".layers.{int(match[2]) - (dropout and int(match[2]) > _DROPOUT)}"
        found[f"layers.{match[1]}{inner}.{match[3]}"] = tensors[key]
    width, channels_in = tensors["model.1.weight"].shape[:2]
    channels_out = tensors[f"{last}.weight"].shape[0]
    return ResNetFile(channels_in, channels_out, width, len(places), "batch" if batch else "instance", found)
