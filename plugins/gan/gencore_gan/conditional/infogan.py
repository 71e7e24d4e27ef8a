"""InfoGAN (Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative
Adversarial Nets", arXiv:1606.03657).

The generator's input is noise z and a code c: one category and a few numbers in [-1, 1]. Q, on the critic's trunk,
guesses c from G(z, c):
    L_I = E_(c, x ~ G(z, c)) log Q(c | x) + H(c)  <=  I(c; G(z, c))                                     (equation 5)
    min_(G, Q) max_D  V(D, G) - lambda L_I                                                              (equation 6)
V in the non-saturating form. Q of a number is a normal distribution of learned variance, so that its term is in nats
as well. Q learns in the critic's phase, with the trunk, as in the authors' code; the generator's phase trains the
generator alone: a trunk that took part in it would learn to be fooled.

No labels: the code is part of the prior, and `gencore walk --along` moves one number of it. Expect the category to
follow the classes for the most part, not to equal them: nothing says which differences it should name.

Deviations: small networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.nn.labels import one_hot
from gencore.nn.likelihood import gaussian_log_prob
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.parts.labelled import LabelledGANConfig, make_generator, make_trunk

SYSTEM = SystemSpec(
    name="infogan",
    summary="A code in the generator's input that can be read off its output, found without labels",
    paper=Paper(
        title="InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets",
        authors="Chen et al.",
        year=2016,
        arxiv="1606.03657",
    ),
    model="InfoGAN",
    recipe="infogan",
    roles=("encoder", "generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8},
)

LOWEST_LOG_VARIANCE = -4.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InfoGANConfig(LabelledGANConfig):
    """`num_categories` of the code's category, `num_codes` numbers in [-1, 1] beside it. `latent_dim`: of the noise.
    There are no labels: `num_classes` stays at its default."""

    num_categories: int = 10
    num_codes: int = 2

    def __post_init__(self) -> None:
        LabelledGANConfig.__post_init__(self)
        check(self.num_categories >= 2, "num_categories", self.num_categories, "at least 2")
        check(self.num_codes >= 0, "num_codes", self.num_codes, "0 or more")

    @property
    def code_dim(self) -> int:
        """Category, one-hot, then numbers; the noise comes behind."""
        return self.num_categories + self.num_codes


class InfoGAN(Model):
    """`critic.trunk` serves `critic.real` and Q, `recognition`."""

    config_class = InfoGANConfig
    config: InfoGANConfig
    regions = ("generator", "critic.trunk")

    def __init__(self, config: InfoGANConfig) -> None:
        super().__init__(config)
        self.generator = make_generator(config, config.code_dim + config.latent_dim)
        self.critic = nn.ModuleDict({"trunk": make_trunk(config), "real": nn.Linear(config.trunk_dim, 1)})
        self.recognition = nn.Linear(config.trunk_dim, config.num_categories + 2 * config.num_codes)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """(n, code_dim + latent_dim): a category one-hot, numbers uniform in [-1, 1], normal noise."""
        config = self.config
        category, codes = noise.integers(config.num_categories), 2 * noise.uniform(config.num_codes) - 1
        parts = [one_hot(category, config.num_categories, codes), codes, noise.normal(config.latent_dim)]
        return torch.cat([part.to(noise.device) for part in parts], 1)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, code_dim + latent_dim) -> data (N, *data_shape)."""
        return self.generator(z)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real."""
        return rearrange(self.critic["real"](self.critic["trunk"](x)), "n 1 -> n")

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> Q's guess of the code, (N, code_dim): probabilities of the categories, means."""
        category, mean, _ = self.guess(x)
        return torch.cat([category.softmax(1), mean], 1)

    def guess(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q(c | x): category logits (N, num_categories), means and log variances (N, num_codes)."""
        config = self.config
        outputs = self.recognition(self.critic["trunk"](x))
        category, mean, log_variance = outputs.split((config.num_categories, config.num_codes, config.num_codes), 1)
        return category, mean, log_variance.clamp_min(LOWEST_LOG_VARIANCE)


class InformationMaximization(Objective):
    """Phases "critic" and "generator". `category_weight` and `code_weight`: lambda of the category and the numbers.

    Logs `real` and `fake`, and `category`: cross-entropy of the category that Q reads, nats; lower is better. `codes`:
    -log density of the numbers that Q reads, nats; lower is better.
    """

    def __init__(self, *, category_weight: float, code_weight: float) -> None:
        super().__init__()
        check(category_weight >= 0, "category_weight", category_weight, "0 or more")
        check(code_weight >= 0, "code_weight", code_weight, "0 or more")
        self.category_weight, self.code_weight = category_weight, code_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated, and the code that Q reads in what is generated."""
        z = model.draw_prior(GlobalNoise.like(batch["x"]))
        with torch.no_grad():
            fake = model.generate(z)
        real, judged = model.judge(batch["x"]), model.judge(fake)
        game = non_saturating.critic(real, judged)
        return Loss(game + self.unread(model, fake, z)[0], {"real": real.mean(), "fake": judged.mean()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The game, and the code that Q must be able to read."""
        z = model.draw_prior(GlobalNoise.like(batch["x"]))
        fake = model.generate(z)
        unread, metrics = self.unread(model, fake, z)
        return Loss(non_saturating.generator(model.judge(fake)) + unread, metrics)

    def unread(self, model: Any, fake: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """-E log Q(c | G(z, c)), its two parts weighted, and each of them, nats: -L_I up to the constant H(c)."""
        config = model.config
        category, mean, log_variance = model.guess(fake)
        named = cross_entropy(category, z[:, : config.num_categories].argmax(1))
        codes = z[:, config.num_categories : config.code_dim]
        read = -gaussian_log_prob(codes, mean, log_variance, 1).mean() if config.num_codes else named.new_zeros(())
        return self.category_weight * named + self.code_weight * read, {"category": named, "codes": read}


def infogan(
    *,
    config: InfoGANConfig = InfoGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    category_weight: float = 1.0,
    code_weight: float = 0.1,
    learning_rate: float = 5e-4,
) -> Recipe:
    """`category_weight`, `code_weight`: the paper's lambda, of the category and of the numbers."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critic", parts=("critic", "recognition"), optimizer=optimizer),
        Phase(name="generator", parts=("generator",), optimizer=optimizer),
    )
    objective = InformationMaximization(category_weight=category_weight, code_weight=code_weight)
    return Recipe(
        name="infogan",
        model=InfoGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
    )
