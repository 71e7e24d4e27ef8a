"""What generators with styles share: the mapping network, mixing, truncation and noise inputs (Karras, Laine & Aila
2019, arXiv:1812.04948, sections 2 and 3.1, appendix B). Styles are w (N, L, D): one for each of L layers."""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor, nn

from gencore_gan.parts.equalised import EqualisedLinear, PixelNorm


def mapping_network(latent_dim: int, style_dim: int, layers: int, *, rate: float = 0.01) -> nn.Sequential:
    """z (N, latent_dim) -> w (N, style_dim): z on the unit sphere (times its root), then `layers` linear layers with
    LeakyReLU that learn slower than the rest by `rate`."""
    found: list[nn.Module] = [PixelNorm()]
    for layer in range(layers):
        found += [EqualisedLinear(style_dim if layer else latent_dim, style_dim, rate=rate), nn.LeakyReLU(0.2)]
    return nn.Sequential(*found)


def for_layers(w: Tensor, layers: int) -> Tensor:
    """w (N, D) -> (N, layers, D), the same for every layer."""
    return repeat(w, "n d -> n l d", l=layers)


def mixed(first: Tensor, second: Tensor, crossover: Tensor) -> Tensor:
    """Styles (N, L, D) of `first` before layer `crossover` (N,), of `second` from there on; L keeps all of `first`."""
    layer = torch.arange(first.shape[1], device=first.device)
    return torch.where((layer < crossover[:, None])[:, :, None], first, second)


def truncated(w: Tensor, average: Tensor, psi: float) -> Tensor:
    """average + psi (w - average) for w (..., D) and average (D,): 1 leaves w, 0 gives the average."""
    return torch.lerp(average, w, psi)


class NoiseInput(nn.Module):
    """Adds one noise image, times a learned scale for each channel that begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """x (N, channels, H, W), noise (N, 1, H, W)."""
        return x + self.scale * noise
