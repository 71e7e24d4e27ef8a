"""A distance of pictures in the features of a fixed network, where papers take VGG (Johnson, Alahi & Fei-Fei 2016,
arXiv:1603.08155, equation 2).

    raw           sum over the maps of mean (F(x) - F(y))^2
    normalised    sum over the maps of the mean over places of |F(x) - F(y)|^2, each place's features divided by their
                  length (LPIPS without its learned weights: Zhang et al. 2018, arXiv:1801.03924, equation 1)

The network that comes with gencore is small: its weights are orthogonal matrices drawn from a seed, which keep lengths,
so that no place is lost. It was never trained. Any module that returns a map or a sequence of maps can take its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_SEED = 1603


class FeatureNet(nn.Module):
    """Five 3 x 3 convolutions (w, w, halved, 2w, 2w, halved, 4w) with fixed weights, in buffers.

    Pictures (N, 1 or 3, H, W) -> the maps after the second, fourth and fifth one, before the rectifiers.
    """

    def __init__(self, *, width: int = 16, seed: int = FEATURE_SEED) -> None:
        super().__init__()
        draws = np.random.Generator(np.random.Philox(key=seed))
        channels = (3, width, width, 2 * width, 2 * width, 4 * width)
        for layer, (before, after) in enumerate(pairwise(channels)):
            square = np.linalg.qr(draws.standard_normal((max(after, before * 9), min(after, before * 9))))[0]
            rows = square.T if after <= before * 9 else square
            weight = torch.from_numpy(rows).float().view(after, before, 3, 3) * 2**0.5
            self.register_buffer(f"weight_{layer}", weight, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Grey pictures are taken as colours without colour."""
        h, maps = x.expand(-1, 3, -1, -1), []
        for layer in range(5):
            weight = self.get_buffer(f"weight_{layer}").to(h.dtype)
            h = F.conv2d(F.pad(h, (1, 1, 1, 1), "replicate"), weight)
            if layer in (1, 3, 4):
                maps.append(h)
            h = F.relu(h)
            if layer in (1, 3) and min(h.shape[-2:]) > 1:
                h = F.avg_pool2d(h, 2, ceil_mode=True)
        return tuple(maps)


class PerceptualDistance(nn.Module):
    """The distance of the header between pictures (N, C, H, W), a scalar: mean over the batch."""

    def __init__(self, network: nn.Module | None = None, *, normalised: bool = False) -> None:
        super().__init__()
        self.network = (FeatureNet() if network is None else network).requires_grad_(False).eval()
        self.normalised = normalised

    def train(self, mode: bool = True) -> PerceptualDistance:
        """The network stays in evaluation mode."""
        return super().train(False)

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        """Gradients reach `made` alone."""
        with torch.no_grad():
            wanted = self._maps(target)
        pairs = zip(self._maps(made), wanted, strict=True)
        squares = [(a - b).square() for a, b in pairs]
        return torch.stack([s.sum(1).mean() if self.normalised else s.mean() for s in squares]).sum()

    def _maps(self, x: Tensor) -> Sequence[Tensor]:
        maps = self.network(x)
        maps = (maps,) if isinstance(maps, Tensor) else maps
        return [F.normalize(F.relu(m), dim=1) for m in maps] if self.normalised else maps
