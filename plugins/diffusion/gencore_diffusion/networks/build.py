"""Which denoising network a config asks for: a U-Net or a transformer for images, residual layers for anything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from gencore.config import check
from gencore.errors import GencoreError, suggest
from gencore_diffusion.networks.dit import DiT, DiTConfig
from gencore_diffusion.networks.embedding import LevelEmbedding
from gencore_diffusion.networks.unet import UNet, UNetConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DenseConfig:
    """Residual fully connected blocks over the flattened data, for vectors and tiny images."""

    hidden: int = 128
    layers: int = 3

    def __post_init__(self) -> None:
        check(self.hidden > 0 and self.hidden % 2 == 0, "hidden", self.hidden, "a positive even integer")
        check(self.layers > 0, "layers", self.layers, "at least 1")


NetworkConfig = UNetConfig | DiTConfig | DenseConfig
NetworkName = Literal["unet", "dit", "dense"]


class DenseNetwork(nn.Module):
    """h <- h + linear(silu(linear(norm(h)) + level)), between a linear stem and head."""

    def __init__(
        self, config: DenseConfig, *, data_shape: tuple[int, ...], num_classes: int | None, out_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        hidden, self.out_shape = config.hidden, out_shape
        self.embedding = LevelEmbedding(hidden, hidden, num_classes=num_classes)
        self.stem, self.head = nn.Linear(math.prod(data_shape), hidden), nn.Linear(hidden, math.prod(out_shape))
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(config.layers)])
        self.wide = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(config.layers)])
        self.level = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(config.layers)])
        self.narrow = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(config.layers)])
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, level: Tensor, label: Tensor | None) -> Tensor:
        """x (N, *data_shape), level (N,), label (N,) or None -> (N, *out_shape)."""
        embedded = F.silu(self.embedding(level, label))
        hidden = self.stem(x.flatten(1))
        for norm, wide, given, narrow in zip(self.norms, self.wide, self.level, self.narrow, strict=True):
            hidden = hidden + narrow(F.silu(wide(norm(hidden)) + given(embedded)))
        return self.head(F.silu(hidden)).unflatten(1, self.out_shape)


def build_network(
    config: NetworkConfig, *, data_shape: tuple[int, ...], num_classes: int | None, outputs: int = 1
) -> UNet | DiT | DenseNetwork:
    """The network for data of a shape (C, ...); it returns (N, outputs * C, ...).

    Raises GencoreError where the two do not fit.
    """
    channels = outputs * data_shape[0]
    if isinstance(config, DenseConfig):
        out_shape = (channels, *data_shape[1:])
        return DenseNetwork(config, data_shape=data_shape, num_classes=num_classes, out_shape=out_shape)
    check_image(config, data_shape)
    if isinstance(config, DiTConfig):
        shape = (data_shape[0], data_shape[1], data_shape[2])
        return DiT(config, data_shape=shape, num_classes=num_classes, out_channels=channels)
    return UNet(config, image_channels=data_shape[0], num_classes=num_classes, out_channels=channels)


def check_image(config: UNetConfig | DiTConfig, data_shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless the data are images that the network's levels or patches divide."""
    unit = config.patch_size * (1 if isinstance(config, DiTConfig) else 2 ** (len(config.channels) - 1))
    check(
        len(data_shape) == 3 and data_shape[1] % unit == 0 and data_shape[2] % unit == 0,
        "data_shape",
        data_shape,
        f"(channels, height, width) with sides that are multiples of {unit} for this network: resize the images "
        '(--image-size 32), or take network="dense"',
    )


def for_pictures(data_shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """For pictures whose sides are 24 and more and multiples of 4 a U-Net of three levels that a processor trains in a
    quarter of an hour to twenty minutes: 16, 32 and 32 channels, batches of 32, 5,000 iterations. From 48 pixels on 48,
    96 and 96 channels on patches of 4 x 4, from 96 on of 8 x 8, where the sides are multiples of 16 or 32."""
    if given.get("network", "unet") != "unet" or len(data_shape) != 3 or min(data_shape[1:]) < 24:
        return {}
    side = min(data_shape[1:])
    patch = 1 if side < 48 else 4 if side < 96 else 8
    if any(side % (4 * patch) for side in data_shape[1:]):
        return {}
    width = 16 if patch == 1 else 48
    return {"width": width, "levels": 3, "patch_size": patch, "batch_size": 32, "steps": 5000, "learning_rate": 1e-3}


def network_config(
    network: NetworkName, *, width: int, depth: int, levels: int = 2, patch_size: int | None = None, clean: bool = False
) -> NetworkConfig:
    """A network by name, as recipes take it.

    `width`: channels at the image's size (U-Net), token width, or hidden width. `depth`: blocks a level, transformer
    blocks, or layers. `levels`: resolutions of the U-Net, channels doubled once at the second. `patch_size`: pixels a
    side that become one place; by default 1 in the U-Net, 2 in the transformer. `clean`: what is predicted has no noise
    in it; else a U-Net on patches passes a share of the picture by.
    """
    if network == "unet":
        channels = (width, *[2 * width] * (levels - 1))
        return UNetConfig(
            channels=channels,
            blocks=depth,
            attention=(False,) * levels,
            head_dim=min(16, width),
            norm_groups=8,
            patch_size=patch_size or 1,
            passes=not clean and (patch_size or 1) > 1,
        )
    if network == "dit":
        return DiTConfig(width=width, depth=depth, patch_size=patch_size or 2)
    if network == "dense":
        return DenseConfig(hidden=width, layers=depth)
    raise GencoreError(f"network is {network!r}.{suggest(network, ('unet', 'dit', 'dense'))}")
