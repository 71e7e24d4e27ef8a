"""AdaGAN (Tolstikhin, Gelly, Bousquet, Simon-Gabriel & Schoelkopf 2017, "AdaGAN: Boosting Generative Models",
arXiv:1701.02386, Algorithm 1).

A mixture G_t = (1 - beta_t) G_(t-1) + beta_t G of generators, one a round, each trained as a GAN on re-weighted data.
With C the probability that x is real, from a classifier of data against the mixture so far, and h = (1 - C) / C:
    w_i = [lambda - (1 - beta) h_i]+ / (beta N),   lambda such that the w_i sum to 1                  (Algorithm 2)
With h sorted and I examples of positive weight, lambda = (N beta + (1 - beta) sum_(i <= I) h_i) / I. Weights are
largest where the mixture has nothing, and 0 where it has more than enough.
beta_t = 1 / t: all components weigh the same in the end.

Deviations: small fully connected networks; the generators are affine unless `hidden` says more, as boosting is for weak
learners, and with a capable one a mixture on unweighted data is as good on the small data.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss, non_saturating
from gencore.config import check
from gencore.data.views import weighted
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise, NoiseSource
from gencore.recipes import later_steps

SYSTEM = SystemSpec(
    name="adagan",
    summary="A mixture of GANs, each trained on the data that those before it miss",
    paper=Paper(
        title="AdaGAN: Boosting Generative Models",
        authors="Tolstikhin, Gelly, Bousquet, Simon-Gabriel & Schoelkopf",
        year=2017,
        arxiv="1701.02386",
    ),
    model="AdaGAN",
    recipe="adagan",
    roles=("generator", "sampler"),
    tiny={"num_components": 2, "critic_hidden": (8,), "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaGANConfig(ModelConfig):
    """`hidden`: widths of each generator's hidden layers, none for an affine one; `critic_hidden`: of each critic and
    classifier."""

    data_shape: tuple[int, ...] = (2,)
    num_components: int = 8
    latent_dim: int = 2
    hidden: tuple[int, ...] = ()
    critic_hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        for name in ("num_components", "latent_dim"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        for name in ("hidden", "critic_hidden"):
            check(all(width > 0 for width in getattr(self, name)), name, getattr(self, name), "positive widths")


class AdaGAN(Model):
    """`generators`, `critics` and, from the second round on, `classifiers`: one a round. The buffer `rounds` says how
    many of them have begun; samples come from these, each as often."""

    config_class = AdaGANConfig
    config: AdaGANConfig
    rounds: Tensor

    def __init__(self, config: AdaGANConfig) -> None:
        super().__init__(config)
        size, count = math.prod(config.data_shape), config.num_components
        critic = (size, *config.critic_hidden, 1)
        self.generators = nn.ModuleList(mlp((config.latent_dim, *config.hidden, size)) for _ in range(count))
        self.critics = nn.ModuleList(mlp(critic) for _ in range(count))
        self.classifiers = nn.ModuleList(mlp(critic) for _ in range(count - 1))
        self.register_buffer("rounds", torch.tensor(count))

    def component(self, z: Tensor, number: int) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape) of one component."""
        return self.generators[number](z).reshape(len(z), *self.config.data_shape)

    def mixture(self, z: Tensor, count: int) -> Tensor:
        """The first `count` components, as often each. z (N, latent_dim + 1), the last number uniform in [0, 1)."""
        chosen = (z[:, -1] * count).long().clamp(max=count - 1)
        drawn = torch.stack([self.component(z[:, :-1], number) for number in range(count)])
        return drawn[chosen, torch.arange(len(z), device=z.device)]

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim + 1) -> data (N, *data_shape)."""
        return self.mixture(z, int(self.rounds))

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), and a uniform number that picks the component; (n, latent_dim + 1)."""
        return torch.cat([noise.normal(self.config.latent_dim), noise.uniform(1)], 1)


def threshold(ratios: Tensor, beta: float) -> Tensor:
    """lambda for ratios h (N,), float64: the one for which the weights sum to 1."""
    ordered = ratios.sort().values
    below = torch.arange(1, len(ratios) + 1, dtype=ordered.dtype)
    candidates = (len(ratios) * beta + (1 - beta) * ordered.cumsum(0)) / below
    fits = candidates >= (1 - beta) * ordered  # true up to some I, false after
    return candidates[int(fits.sum()) - 1]


def boosting_weights(logits: Tensor, beta: float) -> Tensor:
    """Weights (N,), float64, that sum to 1, from logits (N,) that each example is real and not of the mixture."""
    ratios = (-logits.double()).exp()
    return (threshold(ratios, beta) - (1 - beta) * ratios).clamp_min(0) / (beta * len(ratios))


def reweighted(source: Any, model: AdaGAN, *, number: int, boost: bool) -> Any:
    """The data of round `number`, from 1 on, by the round's classifier."""
    if not boost:
        return source
    classifier, logits = model.classifiers[number - 1], []
    with torch.no_grad():
        for rows in torch.arange(len(source)).split(1024):
            logits.append(classifier(source.fetch(rows)["x"].flatten(1).to(model.device)).cpu())
    return weighted(source, boosting_weights(torch.cat(logits).squeeze(1), 1 / (number + 1)))


class Round(Objective):
    """Phases "critic" and "generator" of component `number`; "classifier" of data against the mixture before it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The round's data against the new component."""
        x, critic = batch["x"], model.critics[self.number]
        with torch.no_grad():
            fake = model.component(model.draw_prior(GlobalNoise.like(x))[:, :-1], self.number)
        return Loss(non_saturating.critic(critic(x.flatten(1)), critic(fake.flatten(1))))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The new component, against its critic."""
        fake = model.component(model.draw_prior(GlobalNoise.like(batch["x"]))[:, :-1], self.number)
        return Loss(non_saturating.generator(model.critics[self.number](fake.flatten(1))))

    def classifier(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """All data against the mixture so far."""
        x, classifier = batch["x"], model.classifiers[self.number - 1]
        with torch.no_grad():
            fake = model.mixture(model.draw_prior(GlobalNoise.like(x)), self.number)
        logits = [rearrange(classifier(points.flatten(1)), "n 1 -> n") for points in (x, fake)]
        return Loss(logistic_critic_loss(*logits))


def begin_round(model: AdaGAN, number: int) -> None:
    """Sample from the first `number` components from now on."""
    model.rounds.fill_(number)


def adagan(
    *,
    config: AdaGANConfig = AdaGANConfig(),
    steps: int = 1000,
    batch_size: int = 128,
    classifier_steps: int | None = None,
    boost: bool = True,
    learning_rate: float = 2e-3,
) -> Recipe:
    """`steps`: of each component; `classifier_steps`: of each classifier, None for half as many.
    `boost` False trains every component on the plain data: bagging."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    stages = []
    for number in range(config.num_components):
        objective = Round(number)
        if number:
            phase = Phase(name="classifier", parts=(f"classifiers.{number - 1}",), optimizer=optimizer)
            begin = functools.partial(begin_round, number=number)
            name = f"classifier {number}"
            stages.append(
                Stage(
                    objective=objective,
                    phases=(phase,),
                    steps=later_steps(classifier_steps, steps, 1 / 2),
                    name=name,
                    begin=begin,
                )
            )
        phases = (
            Phase(name="critic", parts=(f"critics.{number}",), optimizer=optimizer),
            Phase(name="generator", parts=(f"generators.{number}",), optimizer=optimizer),
        )
        data = functools.partial(reweighted, number=number, boost=boost) if number else None
        begin = functools.partial(begin_round, number=number + 1)
        stages.append(
            Stage(objective=objective, phases=phases, steps=steps, name=f"component {number}", begin=begin, data=data)
        )
    return Recipe(
        name="adagan",
        model=AdaGAN,
        config=config,
        stages=tuple(stages),
        batch_size=batch_size,
        data="ring",
    )
