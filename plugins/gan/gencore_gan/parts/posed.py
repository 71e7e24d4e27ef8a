"""Bodies with a head: pictures with a sentence and two key points.

A coloured shape, the body, and a white disc that touches it from any side, the head; "a red circle" says what the body
is. Where the head's middle lies outside the picture it is not seen, as a part of a bird may be hidden.

key         shape, dtype
x           (N, 3, 16, 16) float32 in [-1, 1]
tokens      (N, 6) int64, the sentence, in the words of gencore.data.toys.captions
factors     (N, 2) int64: colour and shape of the body
keypoints   (N, 2, 3) float32: x, y in pixels and 1 where seen, of the middles of body and head; all 0 where not
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from gencore.data.toys import draws
from gencore.data.toys.captions import FACTORS, SIZE, condition, draw_factors, paint
from gencore.data.toys.rendered import Rendered, first_indices

BODY, HEAD = 2.5, 1.4  # half side and radius, pixels
_CENTRE, _ANGLE = 1, 3


def points(index: Tensor, *, seed: int = 0) -> Tensor:
    """Middles of bodies, anywhere in the picture, and of their heads: (N, 2, 2) pixels."""
    body = BODY + draws.uniforms(seed, index, _CENTRE, 2) * (SIZE - 2 * BODY)
    angle = 2 * math.pi * draws.uniform(seed, index, _ANGLE)
    head = body + (BODY + HEAD) * torch.stack([angle.cos(), angle.sin()], 1)
    return torch.stack([body, head], 1)


def posed(num_examples: int = 6000, *, seed: int = 0, split: str = "train") -> Rendered:
    """Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    places, factors = points(index, seed=seed), draw_factors(index, seed=seed)
    body, head = places.unbind(1)
    x = paint(factors, torch.cat([body - BODY, body + BODY], 1), index, seed=seed)
    middle = torch.arange(SIZE) + 0.5
    across = middle - rearrange(head[:, 0], "n -> n 1 1")
    down = rearrange(middle, "h -> h 1") - rearrange(head[:, 1], "n -> n 1 1")
    covered = (0.5 + HEAD - (across**2 + down**2).sqrt()).clamp(0, 1)
    seen = ((places >= 0) & (places <= SIZE)).all(2, keepdim=True).float()
    kinds = factors[:, :2]
    names = [[values[i] for values, i in zip(FACTORS.values(), row, strict=False)] for row in kinds.tolist()]
    return Rendered(
        x=torch.lerp(x, torch.full_like(x, 0.95), covered.unsqueeze(1)),
        further={
            "tokens": condition().check([f"a {colour} {shape}" for colour, shape in names], len(kinds)),
            "factors": kinds,
            "keypoints": torch.cat([places, seen], 2) * seen,
        },
        conditions=(condition(),),
        name=f"posed shapes ({split})",
    )
