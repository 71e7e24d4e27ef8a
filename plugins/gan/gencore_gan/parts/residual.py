"""Residual blocks under spectral normalisation: conditional ones that double an image, and ones that halve it (Brock,
Donahue & Simonyan 2019, arXiv:1809.11096, figure 15; Miyato & Koyama 2018, arXiv:1802.05637)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from gencore_gan.parts.spectral import SpectralConv2d, SpectralLinear


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation with a scale 1 + A c and a shift B c that are linear in a condition c."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = SpectralLinear(condition_dim, channels), SpectralLinear(condition_dim, channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (N, channels, H, W), condition (N, condition_dim)."""
        scale, shift = (rearrange(part(condition), "n c -> n c 1 1") for part in (self.scale, self.shift))
        normal: Tensor = self.norm(x)
        return normal * (1 + scale) + shift


class GeneratorBlock(nn.Module):
    """A residual block that doubles the image's size."""

    def __init__(self, channels: int, outputs: int, condition_dim: int) -> None:
        super().__init__()
        self.first, self.second = (ConditionalBatchNorm(c, condition_dim) for c in (channels, outputs))
        self.up, self.mix = (
            SpectralConv2d(channels, outputs, 3, padding=1),
            SpectralConv2d(outputs, outputs, 3, padding=1),
        )
        self.skip = SpectralConv2d(channels, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, outputs, 2H, 2W)."""
        h = self.up(interpolate(relu(self.first(x, condition)), scale_factor=2))
        h = self.mix(relu(self.second(h, condition)))
        skipped: Tensor = self.skip(interpolate(x, scale_factor=2))
        return h + skipped


class CriticBlock(nn.Module):
    """A residual block that halves the image's size; without `relu_first` for the image itself."""

    def __init__(self, channels: int, outputs: int, *, relu_first: bool) -> None:
        super().__init__()
        self.relu_first = relu_first
        self.mix, self.down = (
            SpectralConv2d(channels, outputs, 3, padding=1),
            SpectralConv2d(outputs, outputs, 3, padding=1),
        )
        self.skip = SpectralConv2d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, outputs, H/2, W/2)."""
        h = self.down(relu(self.mix(relu(x) if self.relu_first else x)))
        return avg_pool2d(h + self.skip(x), 2)
