"""The U-Net of DDPM (Ho et al. 2020, arXiv:2006.11239, appendix B), sized by its config.

Residual blocks with group normalisation and SiLU, the embedded noise level added between the two convolutions, self-
attention at the levels that ask for it, strided convolutions down, nearest-neighbour and a convolution up.

Where places are patches, the picture itself, times a number learned for each noise level, may be added to the result:
its noise does not fit through the channels of a patch.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.config import check
from gencore_diffusion.networks.embedding import LevelEmbedding


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """`channels`: feature maps at each level, the image's size first, halved from level to level.

    `attention`: one flag a level; the middle always attends. `head_dim` null: a single head. `patch_size` p folds
    p x p pixels into channels before the first level and back after the last: 1/p^2 of the cost; with `passes` a share
    of the picture itself is added to the result, for predictions that have its noise in them. The last five fields
    are for reading checkpoints of other libraries: `symmetric_padding` False pads strided convolutions at the right
    and bottom only.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 1
    attention: tuple[bool, ...] = (False, False)
    head_dim: int | None = 16
    patch_size: int = 1
    passes: bool = False
    dropout: float = 0.0
    norm_groups: int = 8
    norm_eps: float = 1e-5
    symmetric_padding: bool = True
    cosine_first: bool = False
    frequency_shift: float = 1.0

    def __post_init__(self) -> None:
        groups = self.norm_groups
        check(groups > 0, "norm_groups", groups, "a positive integer")
        fits = bool(self.channels) and all(width > 0 and width % groups == 0 for width in self.channels)
        check(fits, "channels", self.channels, f"positive multiples of norm_groups ({groups})")
        check(self.channels[0] % 2 == 0, "channels[0]", self.channels[0], "an even number")
        check(len(self.attention) == len(self.channels), "attention", self.attention, "one flag for each of channels")
        check(self.blocks >= 1, "blocks", self.blocks, "at least 1")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")
        check(self.norm_eps > 0, "norm_eps", self.norm_eps, "a positive number")
        attending = [width for width, attends in zip(self.channels, self.attention, strict=True) if attends]
        head = self.head_dim
        whole = head is None or (head > 0 and all(width % head == 0 for width in (*attending, self.channels[-1])))
        check(self.patch_size >= 1, "patch_size", self.patch_size, "at least 1")
        check(whole, "head_dim", self.head_dim, "a divisor of the channels at levels with attention and at the last")


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + level))); the first x by a 1 x 1 convolution where widths differ."""

    def __init__(self, width_in: int, width: int, level_dim: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(config.norm_groups, width_in, eps=config.norm_eps)
        self.conv_in = nn.Conv2d(width_in, width, 3, padding=1)
        self.level = nn.Linear(level_dim, width)
        self.norm_out = nn.GroupNorm(config.norm_groups, width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """x (N, width_in, H, W), level (N, level_dim) -> (N, width, H, W)."""
        hidden = self.conv_in(F.silu(self.norm_in(x)))
        hidden = hidden + rearrange(self.level(F.silu(level)), "n c -> n c 1 1")
        return self.shortcut(x) + self.conv_out(self.dropout(F.silu(self.norm_out(hidden))))


class Attention(nn.Module):
    """Self-attention over places, added to its input."""

    def __init__(self, width: int, config: UNetConfig) -> None:
        super().__init__()
        self.heads = width // (config.head_dim or width)
        self.norm = nn.GroupNorm(config.norm_groups, width, eps=config.norm_eps)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        places = rearrange(self.norm(x), "n c h w -> n (h w) c")
        parts = (layer(places) for layer in (self.query, self.key, self.value))
        split = (rearrange(part, "n l (k d) -> n k l d", k=self.heads) for part in parts)
        seen = self.output(rearrange(F.scaled_dot_product_attention(*split), "n k l d -> n l (k d)"))
        return x + rearrange(seen, "n (h w) c -> n c h w", h=x.shape[2])


class Downsample(nn.Module):
    """A 3 x 3 convolution of stride 2."""

    def __init__(self, width: int, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1 if symmetric else 0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2)."""
        return self.conv(x if self.symmetric else F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbour, then a 3 x 3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def level_embedding(config: UNetConfig, num_classes: int | None) -> LevelEmbedding:
    """That of a U-Net, four times as wide as its first level."""
    return LevelEmbedding(
        config.channels[0],
        4 * config.channels[0],
        num_classes=num_classes,
        cosine_first=config.cosine_first,
        frequency_shift=config.frequency_shift,
    )


def unet_block(config: UNetConfig, width_in: int, width: int, attends: bool) -> nn.ModuleDict:
    """A residual block, and attention after it where the level has some."""
    parts: dict[str, nn.Module] = {"residual": ResidualBlock(width_in, width, 4 * config.channels[0], config)}
    if attends:
        parts["attention"] = Attention(width, config)
    return nn.ModuleDict(parts)


def down_path(config: UNetConfig) -> tuple[nn.ModuleList, list[int]]:
    """The levels from the image's size to the smallest, and the widths of the stem's and of every part's result."""
    down, widths = nn.ModuleList(), [config.channels[0]]
    for depth, following in enumerate(config.channels):
        for _ in range(config.blocks):
            down.append(unet_block(config, widths[-1], following, config.attention[depth]))
            widths.append(following)
        if depth + 1 < len(config.channels):
            down.append(Downsample(following, config.symmetric_padding))
            widths.append(following)
    return down, widths


def fold(x: Tensor, patch: int) -> Tensor:
    """Squares of patch x patch pixels become channels."""
    return rearrange(x, "n c (h p) (w q) -> n (c p q) h w", p=patch, q=patch)


def keep_channels_last(x: Tensor) -> Tensor:
    """On the CPU, in the format in which a U-Net is 1.07 to 1.15 times as fast (measured); every layer keeps it, but
    where x has one channel it does not tell its format."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


class UNet(nn.Module):
    """(x, noise level, label) -> a prediction of x's shape."""

    def __init__(
        self, config: UNetConfig, *, image_channels: int, num_classes: int | None, out_channels: int | None = None
    ) -> None:
        super().__init__()
        self.embedding = level_embedding(config, num_classes)
        self.patch = config.patch_size
        self.stem = nn.Conv2d(image_channels * self.patch**2, config.channels[0], 3, padding=1)
        self.down, skips = down_path(config)
        width = skips[-1]
        self.middle = nn.ModuleList([unet_block(config, width, width, attends) for attends in (True, False)])
        self.up = nn.ModuleList()
        for depth, following in reversed(list(enumerate(config.channels))):
            for _ in range(config.blocks + 1):
                self.up.append(unet_block(config, width + skips.pop(), following, config.attention[depth]))
                width = following
            if depth:
                self.up.append(Upsample(width))
        self.norm = nn.GroupNorm(config.norm_groups, width, eps=config.norm_eps)
        self.head = nn.Conv2d(width, (out_channels or image_channels) * self.patch**2, 3, padding=1)
        self.passed = nn.Linear(4 * config.channels[0], 1) if config.passes else None
        for parameter in (*self.head.parameters(), *(self.passed.parameters() if self.passed else ())):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, level: Tensor, label: Tensor | None) -> Tensor:
        """x (N, C, H, W), level (N,), label (N,) or None -> (N, out_channels, H, W), which is C where not told."""
        embedded, picture = self.embedding(level, label), x
        x = keep_channels_last(self.stem(keep_channels_last(fold(x, self.patch))))
        skips = [x]
        for part in self.down:
            x = run_part(part, x, embedded)
            skips.append(x)
        for part in self.middle:
            x = run_part(part, x, embedded)
        for part in self.up:
            x = run_part(part, x if isinstance(part, Upsample) else torch.cat([x, skips.pop()], 1), embedded)
        out = self.head(F.silu(self.norm(x)))
        out = rearrange(out, "n (c p q) h w -> n c (h p) (w q)", p=self.patch, q=self.patch)
        if self.passed is None:
            return out
        picture = rearrange(self.passed(F.silu(embedded)), "n 1 -> n 1 1 1") * picture
        return out + F.pad(picture, (0, 0, 0, 0, 0, out.shape[1] - picture.shape[1]))


def run_part(part: nn.Module, x: Tensor, embedded: Tensor) -> Tensor:
    """A resampling, or a block told the level."""
    if not isinstance(part, nn.ModuleDict):
        return part(x)
    x = part["residual"](x, embedded)
    return part["attention"](x) if "attention" in part else x
