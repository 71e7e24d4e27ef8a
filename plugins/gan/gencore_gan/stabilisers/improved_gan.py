"""A critic that sees its whole batch, and two milder games (Salimans et al. 2016, "Improved Techniques for Training
GANs", arXiv:1606.03498).

    minibatch discrimination   o_ib = sum_j exp(-||M_ib - M_jb||_1), M = T f(x), beside f(x) at the critic's last layer
                                                                                             (section 3.2, equation 1)
    one-sided smoothing        the critic's target for real examples is 0.9 and 0 for generated ones   (section 3.4):
                               E_x [a sp(-D(x)) + (1 - a) sp(D(x))] + E_z sp(D(G(z))), a = 0.9
    feature matching           the generator minimises || E_x f(x) - E_z f(G(z)) ||^2                   (section 3.1)
The sum over j holds j = i, as in the paper. `batch_view="stddev"` puts the simpler statistic of Karras et al. 2018
(arXiv:1710.10196, section 3) in place of minibatch discrimination.

Deviations: unconditional, on the family's ConvGAN; historical averaging (section 3.3), virtual batch normalisation
(section 3.5) and the semi-supervised critic (section 5) are not part of this system.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import softplus

from gencore import Adam, Loss, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import AdversarialLosses, non_saturating_generator_loss
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.config import check
from gencore.noise import GlobalNoise
from gencore_gan.parts.networks import BatchView, ConvGAN, ConvGANConfig

SYSTEM = SystemSpec(
    name="improved-gan",
    summary="A critic that sees its whole batch; one-sided smoothing, feature matching",
    paper=Paper(
        title="Improved Techniques for Training GANs",
        authors="Salimans et al.",
        year=2016,
        arxiv="1606.03498",
    ),
    model="ConvGAN",
    recipe="improved_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8},
)


def smoothed(target: float) -> AdversarialLosses:
    """The non-saturating game with `target` in place of 1 for real examples; the generated ones' stays 0."""

    def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
        return (target * softplus(-real) + (1 - target) * softplus(real)).mean() + softplus(fake).mean()

    return AdversarialLosses(critic_loss, non_saturating_generator_loss)


def feature_distance(real: Tensor, fake: Tensor) -> Tensor:
    """|| mean f(x) - mean f(G(z)) ||^2, a scalar, from features (N, ...)."""
    return (real.mean(0) - fake.mean(0)).square().sum()


class ImprovedAdversarial(Adversarial):
    """`Adversarial` with a smoothed target, and the generator's loss of choice."""

    def __init__(self, *, real_target: float, feature_matching: bool) -> None:
        check(0.5 < real_target <= 1, "real_target", real_target, "a number in (0.5, 1]")
        super().__init__(smoothed(real_target))
        self.feature_matching = feature_matching

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, but that the generator may match the critic's mean features."""
        if not self.feature_matching:
            return super().generator(model, batch)
        real = batch["x"]
        z = model.draw_prior(GlobalNoise.like(real))
        return Loss(feature_distance(model.features(real).float(), model.features(model.generate(z)).float()))


def improved_gan(
    *,
    data_shape: tuple[int, int, int] = (1, 8, 8),
    steps: int = 4000,
    batch_size: int = 64,
    width: int = 32,
    batch_view: BatchView = "discrimination",
    generator_loss: Literal["non-saturating", "feature-matching"] = "non-saturating",
    real_target: float = 0.9,
    learning_rate: float = 5e-4,
) -> Recipe:
    """`real_target`: 1 is no smoothing. The paper pairs minibatch discrimination with the non-saturating loss."""
    known = ("non-saturating", "feature-matching")
    check(generator_loss in known, "generator_loss", generator_loss, f"one of {list(known)}")
    objective = ImprovedAdversarial(real_target=real_target, feature_matching=generator_loss == "feature-matching")
    return Recipe(
        name="improved-gan",
        model=ConvGAN,
        config=ConvGANConfig(data_shape=data_shape, width=width, batch_view=batch_view),
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(0.99),
    )
