"""The family's encoder: strided convolutions (gencore.nn.conv) for pictures, dense layers for vectors.

No batch normalisation: it would let a pretext task be solved by looking at the others of the batch. Networks of timm
(backbone="timm:resnet18") mostly have it.
"""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.nn.conv import check_image_shape, conv_encoder
from gencore.nn.dense import mlp
from gencore_representation.parts.backbones import SMALL, check_backbone, timm_encoder


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig(ModelConfig):
    """`width`: channels at half the size for pictures; units of each of the two hidden layers for vectors.

    `backbone`: "small" is the family's encoder, "timm:NAME" a network of timm, whose own width is taken.
    """

    data_shape: tuple[int, ...] = (1, 8, 8)
    code_dim: int = 64
    width: int = 32
    backbone: str = SMALL

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        if len(self.data_shape) > 1:
            check_image_shape(self.data_shape)
        for name in ("code_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check_backbone(self.backbone)


def encoder_of(data_shape: tuple[int, ...], *, width: int, code_dim: int, backbone: str = SMALL) -> nn.Module:
    """Data (N, *data_shape) -> codes (N, code_dim). Raises GencoreError for a backbone that cannot be had."""
    if backbone != SMALL:
        return timm_encoder(backbone, data_shape, code_dim=code_dim)
    if len(data_shape) == 1:
        return mlp((math.prod(data_shape), width, width, code_dim))
    return conv_encoder(data_shape, width=width, outputs=code_dim)


class Embedding(Model):
    """An encoder alone."""

    config_class = EncoderConfig
    regions = ("encoder",)

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.encoder = encoder_of(
            config.data_shape, width=config.width, code_dim=config.code_dim, backbone=config.backbone
        )

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> codes (N, code_dim)."""
        return self.encoder(x)


class UnitEmbedding(Embedding):
    """Codes on the unit sphere."""

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> codes of length 1, (N, code_dim)."""
        return F.normalize(self.encoder(x))


def check_pictures(data_shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless the pretext task's data are square pictures that the encoder takes."""
    check(len(data_shape) == 3, "data_shape", data_shape, "pictures (channels, size, size)")
