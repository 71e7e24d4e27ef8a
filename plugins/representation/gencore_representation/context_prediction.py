"""Context prediction: where does one patch of a picture lie beside another? (Doersch, Gupta & Efros 2015, "Unsupervised
Visual Representation Learning by Context Prediction", ICCV, arXiv:1505.05192).

    min   -log softmax(H([E(A); E(B)]))_k,   k = 0 ... 7 the place of B around A, row by row        (section 3)
Chance is log 8 = 2.08 nats. One encoder sees both patches, and meets the other only in H (late fusion). Against short
cuts (section 3.1): a gap between patches and a jitter of each, so that edges do not run on; and of coloured patches all
channels but one are replaced by noise, since lenses shift the colours apart towards a picture's border.

The code of a whole picture is those of the nine patches of its middle, side by side. Deviations: the family's encoder
instead of AlexNet; a gap of a quarter patch instead of half.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from gencore import Model, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore_representation.parts.backbones import check_backbone
from gencore_representation.parts.networks import EncoderConfig, check_pictures, encoder_of
from gencore_representation.parts.pretext import Task, pretext_stage

SYSTEM = SystemSpec(
    name="context-prediction",
    summary="Name the place of one patch beside another",
    paper=Paper(
        title="Unsupervised Visual Representation Learning by Context Prediction",
        authors="Doersch, Gupta & Efros",
        year=2015,
        arxiv="1505.05192",
    ),
    model="ContextPredictor",
    recipe="context_prediction",
    roles=("encoder",),
    tiny={"data_shape": (3, 32, 32), "code_dim": 8, "width": 8, "batch_size": 8},
)

SIDE = 3
PLACES = SIDE**2 - 1
NOISE = 0.01
"""Standard deviation of what replaces dropped colours."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContextConfig(EncoderConfig):
    """`patch_size`, `gap` and `jitter` (of each patch, up or down) in pixels."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    patch_size: int = 8
    gap: int = 2
    jitter: int = 1

    def __post_init__(self) -> None:
        check_pictures(self.data_shape)
        for name in ("code_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check_backbone(self.backbone)
        check(self.patch_size >= 4, "patch_size", self.patch_size, "at least 4")
        for name in ("gap", "jitter"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        if self.extent > min(self.data_shape[1:]):
            raise GencoreError(
                f"3 patches of {self.patch_size}, gaps of {self.gap} and a jitter of {self.jitter} take {self.extent} "
                f"pixels; data_shape is {self.data_shape}. Make patch_size smaller, or resize (--image-size)."
            )

    @property
    def extent(self) -> int:
        """Pixels a side that three patches, two gaps and the jitter take."""
        return SIDE * self.patch_size + (SIDE - 1) * self.gap + 2 * self.jitter


class ContextPredictor(Model):
    """An encoder of patches, and a head on two codes."""

    config_class = ContextConfig
    config: ContextConfig

    def __init__(self, config: ContextConfig) -> None:
        super().__init__(config)
        shape = (config.data_shape[0], config.patch_size, config.patch_size)
        self.encoder = encoder_of(shape, width=config.width, code_dim=config.code_dim, backbone=config.backbone)
        self.head = mlp((2 * config.code_dim, 2 * config.code_dim, PLACES))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> the codes of the nine patches of its middle, (N, 9 code_dim)."""
        step = self.config.patch_size + self.config.gap
        span = SIDE * self.config.patch_size + (SIDE - 1) * self.config.gap
        top, left = ((side - span) // 2 for side in self.config.data_shape[1:])
        windows = x[:, :, top : top + span, left : left + span].unfold(2, self.config.patch_size, step)
        patches = rearrange(windows.unfold(3, self.config.patch_size, step), "n c r q h w -> (n r q) c h w")
        return rearrange(self.encoder(patches), "(n p) d -> n (p d)", p=SIDE**2)

    def locate(self, first: Tensor, second: Tensor) -> Tensor:
        """Two patches (N, C, P, P) each -> (N, 8) logits of the second's place around the first, row by row."""
        return self.head(torch.cat([self.encoder(first), self.encoder(second)], 1).relu())


def offset_of(place: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, each -1, 0 or 1, of places 0 ... 7 around the middle, row by row."""
    cell = place + (place >= PLACES // 2)
    return cell // SIDE - 1, cell % SIDE - 1


def patch_pairs(x: Tensor, config: ContextConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (N, C, H, W) -> patches A and B (N, C, P, P) and B's place, (N,) int64, from torch's global streams."""
    count, _, height, width = x.shape
    size, step, jitter = config.patch_size, config.patch_size + config.gap, config.jitter
    place = torch.randint(PLACES, (count,), device=x.device)
    rows, columns = offset_of(place)

    def draw(high: int) -> Tensor:
        return torch.randint(high, (count,), device=x.device)

    def cut(row: Tensor, column: Tensor) -> Tensor:
        along = torch.arange(size, device=x.device)
        row, column = row + draw(2 * jitter + 1) - jitter, column + draw(2 * jitter + 1) - jitter
        down, across = (row[:, None] + along)[:, :, None], (column[:, None] + along)[:, None]
        picked = x[torch.arange(count, device=x.device)[:, None, None], :, down, across]
        return rearrange(picked, "n h w c -> n c h w")

    top = jitter + step + draw(height - config.extent + 1)
    left = jitter + step + draw(width - config.extent + 1)
    return cut(top, left), cut(top + rows * step, left + columns * step), place


def drop_colours(patches: Tensor) -> Tensor:
    """Coloured patches (N, C, P, P) with all channels but one, drawn for each, replaced by faint noise."""
    count, channels = patches.shape[:2]
    kept = torch.randint(channels, (count, 1, 1, 1), device=patches.device)
    stays = torch.arange(channels, device=patches.device)[None, :, None, None] == kept
    return torch.where(stays, patches, NOISE * torch.randn_like(patches))


def which_place(model: Any, x: Tensor) -> tuple[Task, ...]:
    """The task."""
    first, second, place = patch_pairs(x, model.config)
    if x.shape[1] > 1:
        first, second = drop_colours(first), drop_colours(second)
    return (Task("place", model.locate(first, second), place),)


def context_prediction(
    *,
    config: ContextConfig = ContextConfig(),
    steps: int = 3000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
) -> Recipe:
    """One pair of patches a picture."""
    stages = pretext_stage(which_place, parts=("encoder", "head"), steps=steps, learning_rate=learning_rate)
    return Recipe(
        name="context-prediction",
        model=ContextPredictor,
        config=config,
        stages=stages,
        batch_size=batch_size,
        data="photos",
    )
