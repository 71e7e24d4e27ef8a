"""CoGAN (Liu & Tuzel 2016, "Coupled Generative Adversarial Networks", arXiv:1606.07536).

Two GANs of two domains, one z for both. The generators share their first layers, where the picture is still a thought,
and the critics share their last ones:
    critics     sum over the domains of  E sp(-D_i(x_i)) + E sp(D_i(G_i(z)))                                (equation 3)
    generators  sum over the domains of  E sp(-D_i(G_i(z)))                                       (non-saturating)
No pair is ever shown; what makes G_a(z) and G_b(z) a pair is the sharing alone. Without it (`shared` false) the two
pictures of one z have nothing to do with each other.

Deviations: small convolutional networks without batch normalisation; the domains are the digits and inverted digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.conditions import ClassLabel, Condition
from gencore.config import check
from gencore.errors import GencoreError
from gencore.noise import GlobalNoise, NoiseSource

from ..parts.domains import DOMAINS, both_domains, two_domains
from ..parts.paired import check_pictures, check_positive

SYSTEM = SystemSpec(
    name="cogan",
    summary="Two GANs that share the layers next to z and next to the judgement draw pairs, without pairs",
    paper=Paper(title="Coupled Generative Adversarial Networks", authors="Liu & Tuzel", year=2016, arxiv="1606.07536"),
    model="CoGAN",
    recipe="cogan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles",),
    tiny={"latent_dim": 4, "width": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CoGANConfig(ModelConfig):
    """Square pictures whose side is a multiple of 4. `width`: channels at half the size. `shared`: whether the layers
    next to z and next to the judgement are one for both domains."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    latent_dim: int = 32
    width: int = 16
    shared: bool = True

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_positive(self, "latent_dim", "width")
        fits = all(side % 4 == 0 for side in self.data_shape[1:])
        check(fits, "data_shape", self.data_shape, "sides that are multiples of 4: resize the pictures (--image-size)")


class CoGAN(Model):
    """`thoughts` (z -> maps at half the size) and `verdicts` (maps -> logit) have one entry, or one a domain where
    nothing is shared; `painters` and `readers` have one a domain."""

    config_class = CoGANConfig
    config: CoGANConfig
    regions = ("painters.0", "painters.1", "readers.0", "readers.1")

    def __init__(self, config: CoGANConfig) -> None:
        super().__init__(config)
        channels, height, width = config.data_shape
        count, maps = 1 if config.shared else len(DOMAINS), config.width
        grid = (2 * maps, height // 4, width // 4)
        self.thoughts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(config.latent_dim, grid[0] * grid[1] * grid[2]),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Unflatten(1, grid),
                nn.ConvTranspose2d(2 * maps, maps, 4, 2, 1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(maps, maps, 3, 1, 1),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for _ in range(count)
        )
        self.painters = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(maps, channels, 4, 2, 1), nn.Tanh()) for _ in DOMAINS
        )
        self.readers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, maps, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)) for _ in DOMAINS
        )
        self.verdicts = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(maps, 2 * maps, 4, 2, 1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Flatten(),
                nn.Linear(grid[0] * grid[1] * grid[2], 1),
                nn.Flatten(0),
            )
            for _ in range(count)
        )

    @property
    def condition(self) -> Condition:
        """The domain that is drawn."""
        return ClassLabel(count=len(DOMAINS), names=DOMAINS)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def paint(self, z: Tensor, domain: int) -> Tensor:
        """z (N, latent_dim) -> pictures (N, *data_shape) of one domain, 0 or 1, in [-1, 1]."""
        thought = self.thoughts[domain % len(self.thoughts)](z)
        painted: Tensor = self.painters[domain](thought)
        return painted

    def verdict(self, x: Tensor, domain: int) -> Tensor:
        """Pictures (N, *data_shape) of one domain -> logits (N,), larger for real ones."""
        judged: Tensor = self.verdicts[domain % len(self.verdicts)](self.readers[domain](x))
        return judged

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), domains (N,) of 0 and 1 -> pictures (N, *data_shape). Raises GencoreError without."""
        return self._chosen(torch.stack([self.paint(z, domain) for domain in (0, 1)]), condition)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, *data_shape), domains (N,) of 0 and 1 -> logits (N,). Raises GencoreError without."""
        return self._chosen(torch.stack([self.verdict(x, domain) for domain in (0, 1)]), condition)

    def _chosen(self, both: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            raise GencoreError("CoGAN draws and judges pictures of a domain: give condition=..., of 0 and 1.")
        return both[condition, torch.arange(both.shape[1], device=both.device)]


class CoupledGame(Objective):
    """Phases "critics" and "generators"."""

    def critics(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Both domains' games, one z for both."""
        real = both_domains(batch)
        with torch.no_grad():
            z = model.draw_prior(GlobalNoise.like(real[0]))
            fake = [model.paint(z, domain) for domain in (0, 1)]
        losses = [
            non_saturating.critic(model.verdict(real[domain], domain), model.verdict(fake[domain], domain))
            for domain in (0, 1)
        ]
        return Loss(torch.stack(losses).sum())

    def generators(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Both domains' games, one z for both."""
        z = model.draw_prior(GlobalNoise.like(batch["x"]))
        losses = [non_saturating.generator(model.verdict(model.paint(z, domain), domain)) for domain in (0, 1)]
        return Loss(torch.stack(losses).sum())


def cogan(
    *,
    config: CoGANConfig = CoGANConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
) -> Recipe:
    """One step of the critics for each of the generators."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critics", parts=("readers", "verdicts"), optimizer=optimizer),
        Phase(name="generators", parts=("thoughts", "painters"), optimizer=optimizer),
    )
    stage = Stage(objective=CoupledGame(), phases=phases, steps=steps, data=two_domains)
    return Recipe(name="cogan", model=CoGAN, config=config, stages=(stage,), batch_size=batch_size)
