"""GeneGAN (Zhou, Xiao, Yang, Feng, He & He 2017, "GeneGAN: Learning Object Transfiguration and Attribute Subspace from
Unpaired Data", arXiv:1705.04932).

Pictures with an object (glasses) and pictures without, never of the same face. An encoder splits a picture with it into
(A, u) and one without into (B, e); u is the object, and e should be nothing:
    Ax', Be'    the reconstructions, decoded from (A, u) and (B, 0)
    Bx, Ae      the exchange, decoded from (B, u) and (A, 0)
    translator  recon_weight [ |Ax - Ax'| + |Be - Be'| ] + null_weight |e| - E D_with(Bx) - E D_without(Ae)
                + parallelogram_weight |Ax + Be - Bx - Ae|
    critics     E D_with(Bx) - E D_with(Ax), and the same for D_without; weights clipped to [-c, c]
with |.| the mean over pixels. Zero, not e, is decoded wherever there is no object, so that B must hold all of the face.

Deviations: small networks without normalisation; c = 0.05, RMSProp's rate 5e-4 and weights of 5 where the authors'
program has 0.01, 5e-5 and 1. At toy size the zero and the term on e do not show in what the model makes (measured in a
prototype): unit tests hold them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, RMSprop, Stage, SystemSpec
from gencore.adversarial.losses import wasserstein
from gencore.config import check
from gencore.model import parameters_of
from gencore.nn.conv import check_image_shape, conv_encoder

from ..parts.domains import both_domains
from ..parts.paired import check_positive
from ..parts.terms import weighted_sum
from .views import with_and_without

SYSTEM = SystemSpec(
    name="genegan",
    summary="An object taken from one picture and put on another, learned from two sets without pairs",
    paper=Paper(
        title="GeneGAN: Learning Object Transfiguration and Attribute Subspace from Unpaired Data",
        authors="Zhou, Xiao, Yang, Feng, He & He",
        year=2017,
        arxiv="1705.04932",
    ),
    model="GeneGAN",
    recipe="genegan",
    roles=("encoder", "generator", "critic"),
    traits=("reconstruct", "translate"),
    claims=("compiles", "exact-data-parallel"),
    tiny={"width": 4, "object_channels": 2, "critic_width": 4, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeneGANConfig(ModelConfig):
    """`width`: channels at half the size; the code has twice as many at a quarter, the last `object_channels` of which
    are the object's."""

    data_shape: tuple[int, ...] = (1, 16, 16)
    width: int = 24
    object_channels: int = 8
    critic_width: int = 24

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check_positive(self, "width", "critic_width")
        fits = 0 < self.object_channels < 2 * self.width
        check(fits, "object_channels", self.object_channels, f"a number from 1 to {2 * self.width - 1}")


class GeneGAN(Model):
    """`encoder`, `decoder`, and two `critics`: of pictures without the object, and with it."""

    config_class = GeneGANConfig
    config: GeneGANConfig
    regions = ("encoder", "decoder", "critics.0", "critics.1")

    def __init__(self, config: GeneGANConfig) -> None:
        super().__init__(config)
        channels, width = config.data_shape[0], config.width
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1)
        )
        self.decoder = nn.Sequential(
            nn.LeakyReLU(0.2), nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.critics = nn.ModuleList(
            nn.Sequential(conv_encoder(config.data_shape, width=config.critic_width, outputs=1), nn.Flatten(0))
            for _ in range(2)
        )

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> codes (N, 2 width, H / 4, W / 4): the face's channels, then the object's."""
        code: Tensor = self.encoder(x)
        return code

    def split(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """The face's channels of a code, and the object's."""
        face, thing = code.split([code.shape[1] - self.config.object_channels, self.config.object_channels], 1)
        return face, thing

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes -> pictures (N, C, H, W) in [-1, 1]."""
        made: Tensor = self.decoder(z)
        return made

    def decode(self, face: Tensor, thing: Tensor | None) -> Tensor:
        """The picture of a face with an object; with none, zeros stand in its place."""
        if thing is None:
            thing = face.new_zeros(len(face), self.config.object_channels, *face.shape[2:])
        return self.generate(torch.cat([face, thing], 1))

    def swap(self, with_object: Tensor, without: Tensor) -> tuple[Tensor, Tensor]:
        """(Ax, Be), both (N, C, H, W) -> (Bx, Ae): the object goes from each of the first to each of the second."""
        (a, thing), (b, _) = self.split(self.encode(with_object)), self.split(self.encode(without))
        return self.decode(b, thing), self.decode(a, None)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decoded from all of the own code."""
        return self.generate(self.encode(x))

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> the same without the object; to put one on takes another picture: `swap`."""
        check(to in (None, "without"), "to", to, '"without"; an object is put on by swap(with_object, without)')
        return self.decode(self.split(self.encode(x))[0], None)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> scores (N,) by the critic of pictures with the object, or by that which `condition`
        (N,) names for each: 0 without, 1 with."""
        both = torch.stack([critic(x) for critic in self.critics])
        return both[1] if condition is None else both[condition, torch.arange(len(x), device=x.device)]


class Transfiguration(Objective):
    """Phases "critics" and "translator" on x, with the object, and x_b, without. `game_weight` 0: no exchange.

    Logs `recon`: mean distance of both pictures from their rebuilding; lower is better. `null`: mean size of the
    object's code where there is none; lower is better. `game`: minus the critics' mean scores of exchanged pictures;
    neither way is better. `parallelogram`: how far the four pictures are from one; lower is better.
    """

    def __init__(self, weights: Mapping[str, float], *, weight_clip: float) -> None:
        super().__init__()
        for name, weight in weights.items():
            check(weight >= 0, f"{name}_weight", weight, "0 or more")
        check(weight_clip > 0, "weight_clip", weight_clip, "a positive number")
        self.weights, self.weight_clip = dict(weights), weight_clip

    def translator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """All four decodings of two pictures."""
        ax, be = both_domains(batch)
        (a, thing), (b, nothing) = model.split(model.encode(ax)), model.split(model.encode(be))
        bx, ae = model.decode(b, thing), model.decode(a, None)
        own = F.l1_loss(model.decode(a, thing), ax) + F.l1_loss(model.decode(b, None), be)
        game = wasserstein.generator(model.critics[1](bx)) + wasserstein.generator(model.critics[0](ae))
        terms = {"recon": own, "null": nothing.abs().mean(), "game": game, "parallelogram": gap(ax, be, bx, ae)}
        return weighted_sum({name: (self.weights[name], value) for name, value in terms.items()})

    def critics(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Each critic on real pictures of its kind and on exchanged ones."""
        ax, be = both_domains(batch)
        with torch.no_grad():
            bx, ae = model.swap(ax, be)
        kinds = ((be, ae), (ax, bx))
        losses = [
            wasserstein.critic(model.critics[k](real), model.critics[k](fake)) for k, (real, fake) in enumerate(kinds)
        ]
        return Loss(torch.stack(losses).sum())

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Clip the critics."""
        if phase == "critics":
            for parameter in parameters_of(model, ("critics",)):
                parameter.clamp_(-self.weight_clip, self.weight_clip)


def gap(ax: Tensor, be: Tensor, bx: Tensor, ae: Tensor) -> Tensor:
    """Mean |Ax + Be - Bx - Ae|: 0 where the four pictures are the corners of a parallelogram."""
    return (ax + be - bx - ae).abs().mean()


def genegan(
    *,
    config: GeneGANConfig = GeneGANConfig(),
    steps: int = 900,
    batch_size: int = 32,
    recon_weight: float = 5.0,
    null_weight: float = 5.0,
    game_weight: float = 1.0,
    parallelogram_weight: float = 0.01,
    weight_clip: float = 0.05,
    critic_steps: int = 1,
    learning_rate: float = 5e-4,
) -> Recipe:
    """Data of two classes, 0 without the object and 1 with it; or two streams, x with it and x_b without."""
    weights = {"recon": recon_weight, "null": null_weight, "game": game_weight, "parallelogram": parallelogram_weight}
    optimizer = RMSprop(learning_rate=learning_rate, alpha=0.8)
    phases = (
        Phase(name="critics", parts=("critics",), optimizer=optimizer, repeats=critic_steps),
        Phase(name="translator", parts=("encoder", "decoder"), optimizer=optimizer),
    )
    objective = Transfiguration(weights, weight_clip=weight_clip)
    stage = Stage(objective=objective, phases=phases, steps=steps, data=with_and_without)
    return Recipe(name="genegan", model=GeneGAN, config=config, stages=(stage,), batch_size=batch_size, data="faces")
