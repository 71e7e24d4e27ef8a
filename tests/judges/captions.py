"""The judge of captioned shapes: colour, shape, size and corner off a picture."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from einops import einsum
from torch import Tensor, nn

from gencore.data.toys.captions import FACTORS, captions, coverage

from .training import batch_of, in_parts, noisy, trained

_COUNTS = [len(values) for values in FACTORS.values()]


class CaptionJudge(nn.Module):
    """Pictures (N, 3, 16, 16) in [-1, 1] to the logits of all factors, (N, 13)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 4, 2, 1), nn.BatchNorm2d(48), nn.ReLU(), nn.Flatten(),
            nn.Linear(48 * 16, 96), nn.ReLU(), nn.Linear(96, sum(_COUNTS)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def predict(self, x: Tensor) -> Tensor:
        """The factors, (N, 4) int64, each an index into gencore.data.toys.captions.FACTORS[name]."""
        return torch.stack([part.argmax(1) for part in in_parts(self, x).split(_COUNTS, dim=1)], dim=1)

    def right(self, x: Tensor, factors: Tensor) -> dict[str, float]:
        """The share of pictures on which each factor is as in `factors` (N, 4), and "all" of them."""
        same = self.predict(x) == factors
        return {
            **dict(zip(FACTORS, same.float().mean(0).tolist(), strict=True)),
            "all": same.all(1).float().mean().item(),
        }


@functools.cache
def caption_judge(seed: int = 0, steps: int = 700) -> CaptionJudge:
    """Trained on all 96 combinations, half in their corner and half in free boxes.

    In free boxes size and corner are cut from continuous values: do not score them there.
    """
    pools = [captions(12_000, seed=1000 + seed + i, combinations="all", free=bool(i)) for i in range(2)]

    def loss(net: CaptionJudge, step: int) -> Tensor:
        source = pools[step % 2]
        rows = batch_of(len(source), 96, seed, step)
        logits = net(noisy(source.x[rows], 0.1)).split(_COUNTS, dim=1)
        factors = source.further["factors"][rows]
        return torch.stack([F.cross_entropy(part, factors[:, i]) for i, part in enumerate(logits)]).sum()

    return trained(CaptionJudge, loss, steps=steps, seed=seed, lr=1e-2)


def drawn_box(x: Tensor) -> Tensor:
    """The extent of what is coloured on pictures (N, 3, 16, 16): (N, 4) float32, x0, y0, x1, y1 in pixels.

    Grey has no colour: a pixel counts whose channels differ by more than half of the most in its picture.
    """
    colour = x.amax(1) - x.amin(1)
    on = colour > 0.5 * colour.amax((1, 2), keepdim=True)
    pixel = torch.arange(x.shape[-1])
    columns, rows = on.any(1), on.any(2)
    low = [torch.where(line, pixel, 99).amin(1) for line in (columns, rows)]
    high = [torch.where(line, pixel + 1, 0).amax(1) for line in (columns, rows)]
    return torch.stack([*low, *high], dim=1).float()


def shape_in_box(x: Tensor, box: Tensor) -> Tensor:
    """Which shape lies in a box that is known, on pictures (N, 3, 16, 16) and boxes (N, 4): (N,) int64, an index into
    FACTORS["shape"]. Whose coverage of the pixels goes best with how coloured they are; right on all real pictures."""
    colour = (x.amax(1) - x.amin(1)).flatten(1)
    kinds = [coverage(torch.full((len(x),), kind), box).flatten(1) for kind in range(len(FACTORS["shape"]))]
    drawn = torch.stack(kinds, 1)
    drawn = F.normalize(drawn - drawn.mean(2, keepdim=True), dim=2)
    return einsum(colour, drawn, "n d, n k d -> n k").argmax(1)
