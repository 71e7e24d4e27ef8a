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
from .resnet_files import HALVINGS, published_resnet

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


def laid_out(domains: tuple[Tensor, Tensor], model: nn.Module) -> tuple[Tensor, Tensor]:
    """The pictures in the order in memory that the model's weights have: else every layer that reads them, and every
    distance from them, puts them into it anew."""
    weight = next(model.parameters(), None)
    last = weight is not None and weight.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last else torch.contiguous_format
    first, second = (x.contiguous(memory_format=order) for x in domains)
    return first, second


def domain_of(to: str | None) -> int:
    """The number of the domain that a translation goes to: of "a" or "b"; None is "b"."""
    word = "b" if to is None else to
    check(word in DOMAINS, "to", to, '"a" or "b"')
    return DOMAINS.index(word)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TwoTranslatorsConfig(ModelConfig):
    """`data_shape`: of both domains' pictures in training; pictures of any size are translated. `width`: channels at
    the picture's size. `blocks`: residual blocks; the paper has 9 for 256 pixels. `critic_halvings`: 1, 2, 3 for
    patches of 16, 34, 70 pixels. `one_way`: there is no translator into domain "a", as in a published file of one."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    width: int = 8
    blocks: int = 1
    halvings: int = 1
    norm: Norm = "none"
    critic_width: int = 16
    critic_halvings: int = 1
    one_way: bool = False

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_positive(self, "width", "blocks", "halvings", "critic_width", "critic_halvings")
        check_norm(self.norm)
        side, least = min(self.data_shape[1:]), least_side(self.critic_halvings)
        check(side >= least, "critic_halvings", self.critic_halvings, f"fewer: pictures of {side} are below {least}")


class Missing(nn.Module):
    """In the place of a translator that a published file does not hold."""

    def forward(self, x: Tensor) -> Tensor:
        """Raises GencoreError."""
        raise GencoreError('This model is one_way: it translates into "b" alone, and neither into "a" nor trains.')


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
            if domain == "b" or not config.one_way
            else Missing()
            for domain in DOMAINS
        )
        self.critics = nn.ModuleList(
            patch_critic(channels, width=config.critic_width, halvings=config.critic_halvings, norm=config.norm)
            for _ in DOMAINS
        )

    @property
    def tiling(self) -> Tiling | None:
        """How a picture may be cut (gencore.tiling)."""
        second = self.translators[1]
        assert isinstance(second, ResNetTranslator)
        return second.tiling

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> TwoTranslators:
        """The model of one residual generator's checkpoint of pytorch-CycleGAN-and-pix2pix (netG), which translates
        into "b"; there is none into "a", and the critics of 70 pixels are new.

        Batch normalisation takes the statistics of its training, as that program does with --eval. Raises
        GencoreError for a key too many, too few, or of another shape.
        """
        file = published_resnet(tensors)
        if file.channels_in != file.channels_out:
            raise GencoreError(
                f"The checkpoint turns {file.channels_in} channels into {file.channels_out}; expected as many on both "
                "sides."
            )
        config = TwoTranslatorsConfig(
            data_shape=(file.channels_in, 256, 256),
            width=file.width,
            blocks=file.blocks,
            halvings=HALVINGS,
            norm=file.norm,
            critic_width=64,
            critic_halvings=3,
            one_way=True,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = cls(config)
        try:
            model.translators[1].load_state_dict(file.tensors)
        except RuntimeError as error:
            raise GencoreError(f"The checkpoint does not fit a residual translator: {error}") from error
        return model.eval()

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
