"""Context encoder: paint what is missing (Pathak, Krahenbuhl, Donahue, Darrell & Efros 2016, "Context Encoders: Feature
Learning by Inpainting", CVPR, arXiv:1604.07379).

    reconstruction   ||M (x - F((1 - M) x))||^2, M the hole                                         (equation 1)
    adversarial      max over D   E log D(x) + E log(1 - D(F((1 - M) x)))                           (equation 2)
    generator        0.999 reconstruction + 0.001 adversarial                                       (equation 3)
The hole is the middle square of half the side. With `overlap` pixels the square that is painted reaches as far into the
known part on each side, where the error weighs ten times as much (section 3.2): the paint joins its surroundings. The
generator's adversarial loss is the non-saturating one.

Deviations: an ordinary bottleneck instead of the channel-wise fully connected layer; the hole is filled with mid-grey
instead of the data's mean; the critic sees the painted square alone, as in the authors' code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.nn.conv import conv_decoder, conv_encoder
from gencore_representation.parts.networks import EncoderConfig, check_pictures, encoder_of

SYSTEM = SystemSpec(
    name="context-encoder",
    summary="Paint the missing middle of a picture from what is around it",
    paper=Paper(
        title="Context Encoders: Feature Learning by Inpainting",
        authors="Pathak, Krahenbuhl, Donahue, Darrell & Efros",
        year=2016,
        arxiv="1604.07379",
    ),
    model="ContextEncoder",
    recipe="context_encoder",
    roles=("encoder", "generator", "critic"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 8, "width": 8, "batch_size": 8},
)

OVERLAP_WEIGHT = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContextEncoderConfig(EncoderConfig):
    """`overlap`: pixels of the painted square that are known, on each side."""

    overlap: int = 0

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_pictures(self.data_shape)
        check(self.data_shape[-1] >= 8, "data_shape", self.data_shape, "at least 8 pixels a side")
        check(0 <= self.overlap < self.data_shape[-1] // 4, "overlap", self.overlap, "0 to less than half the hole")


class ContextEncoder(Model):
    """Encoder of the picture around, generator of the square, critic of squares."""

    config_class = ContextEncoderConfig
    config: ContextEncoderConfig
    regions = ("encoder", "generator", "critic")

    def __init__(self, config: ContextEncoderConfig) -> None:
        super().__init__(config)
        channels, size, _ = config.data_shape
        square = (channels, size // 2, size // 2)
        self.encoder = encoder_of(
            config.data_shape, width=config.width, code_dim=config.code_dim, backbone=config.backbone
        )
        self.generator = conv_decoder(square, width=config.width, inputs=config.code_dim)
        self.critic = conv_encoder(square, width=config.width, outputs=1)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Whole pictures x (N, *data_shape), whose middle is not looked at -> (N, code_dim)."""
        return self.encoder(hidden(x, self.config.overlap))

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, code_dim) -> the square, (N, C, S / 2, S / 2) in [-1, 1]."""
        return torch.tanh(self.generator(z)[:, 0])

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Whole pictures x (N, *data_shape) -> (N,) logits that their middle is not painted."""
        return self.critic(middle(x))[:, 0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) with the hole painted; what is known is copied."""
        return pasted(x, self.generate(self.encode(x)), self.config.overlap)


def middle(x: Tensor) -> Tensor:
    """The middle square of half the side of pictures (N, C, S, S)."""
    quarter = x.shape[-1] // 4
    half = x.shape[-1] // 2
    return x[:, :, quarter : quarter + half, quarter : quarter + half]


def hole(x: Tensor, overlap: int) -> Tensor:
    """M: (S, S) bool, true where pictures (N, C, S, S) are unknown."""
    edge = x.shape[-1] // 4 + overlap
    mask = torch.zeros(x.shape[-2:], dtype=torch.bool, device=x.device)
    mask[edge : edge + x.shape[-1] // 2 - 2 * overlap, edge : edge + x.shape[-1] // 2 - 2 * overlap] = True
    return mask


def hidden(x: Tensor, overlap: int) -> Tensor:
    """(1 - M) x: pictures with mid-grey in the hole."""
    return x.masked_fill(hole(x, overlap), 0.0)


def pasted(x: Tensor, square: Tensor, overlap: int) -> Tensor:
    """Pictures (N, C, S, S) with the hole taken from squares (N, C, S / 2, S / 2)."""
    quarter = x.shape[-1] // 4
    whole = torch.nn.functional.pad(square, (quarter, x.shape[-1] - quarter - square.shape[-1]) * 2)
    return torch.where(hole(x, overlap), whole, x)


def square_error(painted: Tensor, square: Tensor, overlap: int) -> Tensor:
    """The mean squared error over squares (N, C, h, h), the known rim of `overlap` pixels OVERLAP_WEIGHT times."""
    weight = torch.full(square.shape[-2:], OVERLAP_WEIGHT, device=square.device)
    weight[overlap : square.shape[-2] - overlap, overlap : square.shape[-1] - overlap] = 1.0
    return (weight * (painted - square).square()).mean()


class Inpainting(Objective):
    """Phases "critic" and "painter".

    Logs `game`, and `error`: squared error of the painted square; lower is better.
    """

    def __init__(self, adversarial_weight: float) -> None:
        super().__init__()
        check(0 <= adversarial_weight < 1, "adversarial_weight", adversarial_weight, "a number in [0, 1)")
        self.weight = adversarial_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """True squares of batch["x"] against painted ones."""
        x = batch["x"]
        with torch.no_grad():
            painted = model.generate(model.encode(x))
        return Loss(non_saturating.critic(model.critic(middle(x)), model.critic(painted)))

    def painter(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Both terms on batch["x"]."""
        x = batch["x"]
        painted = model.generate(model.encode(x))
        error = square_error(painted, middle(x), model.config.overlap)
        game = non_saturating.generator(model.critic(painted))
        return Loss((1 - self.weight) * error + self.weight * game, {"error": error, "game": game})


def context_encoder(
    *,
    config: ContextEncoderConfig = ContextEncoderConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    adversarial_weight: float = 0.001,
    learning_rate: float = 1e-3,
    critic_learning_rate: float = 1e-4,
) -> Recipe:
    """The critic's rate is a tenth of the painter's, as in the paper."""
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=Adam(learning_rate=critic_learning_rate, betas=(0.5, 0.999))),
        Phase(
            name="painter",
            parts=("encoder", "generator"),
            optimizer=Adam(learning_rate=learning_rate, betas=(0.5, 0.999)),
        ),
    )
    return Recipe(
        name="context-encoder",
        model=ContextEncoder,
        config=config,
        stages=(Stage(objective=Inpainting(adversarial_weight), phases=phases, steps=steps),),
        batch_size=batch_size,
    )
