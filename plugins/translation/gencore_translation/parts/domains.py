"""Two domains without pairs: the view of the data, and two translators with two critics, as CycleGAN and its kin have.

Domain "a" is x, domain "b" x_b. Data of one domain become two: the even examples, and the odd ones with light and dark
exchanged, so that a translation has a right answer without a picture ever being in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.data import inverted, subset, unpaired
from gencore.errors import GencoreError
from gencore.tiling import Tiling

from .critics import least_side, patch_critic
from .norms import Norm, check_norm
from .paired import check_pictures, check_positive
from .resnet import ResNetTranslator

DOMAINS = ("a", "b")


def halves(source: Any) -> Any:
    """Two domains of one source without pairs: its even examples, and its odd ones with contrast inverted."""
    positions = torch.arange(len(source))
    return unpaired(subset(source, positions[::2]), inverted(subset(source, positions[1::2])))


def two_domains(source: Any, model: Any) -> Any:
    """A stage's view: data of two streams as they are (gencore.data.unpaired), others as `halves` of them."""
    return source if "x_b" in source.fetch(torch.zeros(1, dtype=torch.int64)) else halves(source)


def both_domains(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The batch's x and x_b. Raises GencoreError where it has one domain only."""
    if "x_b" not in batch:
        raise GencoreError(
            f"The batch has the keys {sorted(batch)}; expected x and x_b: gencore.data.unpaired(first, second)."
        )
    return batch["x"], batch["x_b"]


def domain_of(to: str | None) -> int:
    """The number of the domain that a translation goes to: of "a" or "b"; None is "b"."""
    word = "b" if to is None else to
    check(word in DOMAINS, "to", to, '"a" or "b"')
    return DOMAINS.index(word)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TwoTranslatorsConfig(ModelConfig):
    """`data_shape`: of both domains' pictures in training; pictures of any size are translated. `width`: channels at
    the picture's size. `blocks`: residual blocks; the paper has 9 for 256 pixels. `critic_halvings`: 1, 2, 3 for
    patches of 16, 34, 70 pixels."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    width: int = 8
    blocks: int = 1
    halvings: int = 1
    norm: Norm = "none"
    critic_width: int = 16
    critic_halvings: int = 1

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_positive(self, "width", "blocks", "halvings", "critic_width", "critic_halvings")
        check_norm(self.norm)
        side, least = min(self.data_shape[1:]), least_side(self.critic_halvings)
        check(side >= least, "critic_halvings", self.critic_halvings, f"fewer: pictures of {side} are below {least}")


class TwoTranslators(Model):
    """`translators` and `critics` have one entry a domain: that of the translator's output, that of the critic."""

    config_class = TwoTranslatorsConfig
    config: TwoTranslatorsConfig
    regions = ("translators.0", "translators.1", "critics.0", "critics.1")

    def __init__(self, config: TwoTranslatorsConfig) -> None:
        super().__init__(config)
        channels = config.data_shape[0]
        self.translators = nn.ModuleList(
            ResNetTranslator(
                channels, channels, width=config.width, blocks=config.blocks, halvings=config.halvings, norm=config.norm
            )
            for _ in DOMAINS
        )
        self.critics = nn.ModuleList(
            patch_critic(channels, width=config.critic_width, halvings=config.critic_halvings, norm=config.norm)
            for _ in DOMAINS
        )

    @property
    def tiling(self) -> Tiling | None:
        """How a picture may be cut (gencore.tiling)."""
        first = self.translators[0]
        assert isinstance(first, ResNetTranslator)
        return first.tiling

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, C, H, W) of one domain -> the same in the other, `to`: "b", where nothing is said, or "a"."""
        made: Tensor = self.translators[domain_of(to)](x)
        return made

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> logits of patches by the critic of domain "b", larger for real ones; `condition`
        (N,) names each picture's domain, 0 or 1."""
        if condition is None:
            judged: Tensor = self.critics[1](x)
            return judged
        both = torch.stack([critic(x) for critic in self.critics])
        return both[condition, torch.arange(len(x), device=x.device)]
