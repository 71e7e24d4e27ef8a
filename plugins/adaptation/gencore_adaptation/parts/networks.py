"""The family's model: an encoder, a head that names the class, and a critic that looks at the code.

Dense layers for vectors, strided convolutions for pictures (gencore.nn.conv); no batch normalisation, so that what one
example gives does not depend on the others, nor on their domain.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.nn.conv import check_image_shape, conv_encoder
from gencore.nn.dense import mlp


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig(ModelConfig):
    """`width`: units of each of the two hidden layers for vectors; channels at half the size for pictures."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    code_dim: int = 32
    width: int = 64

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        if len(self.data_shape) > 1:
            check_image_shape(self.data_shape)
        for name in ("code_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")


def encoder_of(config: ClassifierConfig) -> nn.Sequential:
    """Data (N, *data_shape) -> codes (N, code_dim), after a ReLU."""
    if len(config.data_shape) == 1:
        net = mlp((math.prod(config.data_shape), config.width, config.width, config.code_dim), slope=0.0)
    else:
        net = conv_encoder(config.data_shape, width=config.width, outputs=config.code_dim)
    return nn.Sequential(net, nn.ReLU())


class Classifier(Model):
    """An encoder and a linear head on its code."""

    config_class = ClassifierConfig
    config: ClassifierConfig
    regions: ClassVar[tuple[str, ...]] = ("encoder",)
    encoder: nn.Module
    head: nn.Module

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.encoder = encoder_of(config)
        self.head = nn.Linear(config.code_dim, config.num_classes)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N, code_dim)."""
        return self.encoder(x)

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class, (N,) int64."""
        return self.head(self.encode(x)).argmax(1)


class DomainClassifier(Classifier):
    """With a critic that tells the source domain from the target by the code."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.critic = mlp((config.code_dim, config.width, 1))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for the source domain."""
        return self.critic(self.encode(x))[:, 0]
