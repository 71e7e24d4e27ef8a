"""A critic that sees its whole batch, and two milder games (Salimans et al. 2016, "Improved Techniques for Training
GANs", arXiv:1606.03498).

    minibatch discrimination   o_ib = sum_j exp(-||M_ib - M_jb||_1), M = T f(x), beside f(x) at the critic's last layer
                                                                                             (section 3.2, equation 1)
    one-sided smoothing        the critic's target for real examples is 0.9 and 0 for generated ones   (section 3.4):
                               E_x [a sp(-D(x)) + (1 - a) sp(D(x))] + E_z sp(D(G(z))), a = 0.9
    feature matching           the generator minimises || E_x f(x) - E_z f(G(z)) ||^2                   (section 3.1)
    historical averaging       each player's loss + c || theta - 1/t sum_i theta_i ||^2               (section 3.3)
    virtual batch norm         the generator's maps are normalised by those of a fixed reference batch of codes and the
                               example's own                                                          (section 3.5)
The sum over j holds j = i, as in the paper. `batch_view="stddev"` puts the simpler statistic of Karras et al. 2018
(arXiv:1710.10196, section 3) in place of minibatch discrimination. Historical averaging and virtual batch normalisation
are off unless asked for: they cost a copy of the parameters, and a second batch in each pass of the generator. The
paper gives no c.

Deviations: unconditional, on the family's ConvGAN; the semi-supervised critic (section 5) is not part of this system.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gencore import Adam, Loss, Paper, Recipe, SystemSpec
from gencore.adversarial.historical import HistoricalAverage
from gencore.adversarial.losses import AdversarialLosses, non_saturating_generator_loss
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.config import check
from gencore.model import parameters_of
from gencore.noise import GlobalNoise
from gencore_gan.parts.networks import BatchView, ConvGAN, ConvGANConfig, conv_critic
from gencore_gan.parts.virtual_batch_norm import VirtuallyNormalised

SYSTEM = SystemSpec(
    name="improved-gan",
    summary="A critic that sees its whole batch; one-sided smoothing, feature matching",
    paper=Paper(
        title="Improved Techniques for Training GANs",
        authors="Salimans et al.",
        year=2016,
        arxiv="1606.03498",
    ),
    model="ImprovedGAN",
    recipe="improved_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImprovedGANConfig(ConvGANConfig):
    """`batch_view`: what the critic's last layer sees of the rest of the batch (gencore.nn.minibatch).

    `reference_batch`: codes in the reference batch of the generator's virtual batch normalisation; 0: there is none,
    and batch normalisation stays.
    """

    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: dict}

    batch_view: BatchView = "discrimination"
    reference_batch: int = 0

    def __post_init__(self) -> None:
        ConvGANConfig.__post_init__(self)
        size = self.reference_batch
        check(size == 0 or size > 1, "reference_batch", size, "0, or 2 and more")
        check(
            size == 0 or self.generator_norm == "batch",
            "generator_norm",
            self.generator_norm,
            "'batch', for a reference batch",
        )


class ImprovedGAN(ConvGAN):
    """ConvGAN, on request with virtual batch normalisation in the generator."""

    config_class = ImprovedGANConfig
    config: ImprovedGANConfig

    def __init__(self, config: ImprovedGANConfig) -> None:
        super().__init__(config)
        if config.reference_batch:
            reference = torch.randn(config.reference_batch, config.latent_dim, 1, 1)
            self.generator = nn.Sequential(VirtuallyNormalised(self.generator, reference))

    def new_critic(self) -> nn.Sequential:
        """Images -> (N, 1, 1, 1), by the whole batch."""
        return conv_critic(self.config, batch_view=self.config.batch_view)


def smoothed(target: float) -> AdversarialLosses:
    """The non-saturating game with `target` in place of 1 for real examples; the generated ones' stays 0."""

    def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
        return (target * softplus(-real) + (1 - target) * softplus(real)).mean() + softplus(fake).mean()

    return AdversarialLosses(critic_loss, non_saturating_generator_loss)


def feature_distance(real: Tensor, fake: Tensor) -> Tensor:
    """|| mean f(x) - mean f(G(z)) ||^2, a scalar, from features (N, ...)."""
    return (real.mean(0) - fake.mean(0)).square().sum()


class ImprovedAdversarial(Adversarial):
    """`Adversarial` with a smoothed target, the generator's loss of choice, and each player held to its past.

    `sizes`: the number of parameters of each player that is to be held near its mean; none where that is off.
    """

    def __init__(
        self,
        *,
        real_target: float,
        feature_matching: bool,
        historical_weight: float = 0.0,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        check(0.5 < real_target <= 1, "real_target", real_target, "a number in (0.5, 1]")
        check(historical_weight >= 0, "historical_weight", historical_weight, "0 or more")
        super().__init__(smoothed(real_target))
        self.feature_matching, self.historical_weight = feature_matching, historical_weight
        self.history = nn.ModuleDict({player: HistoricalAverage(size) for player, size in (sizes or {}).items()})

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, near the critic's past."""
        return self.near_its_past("critic", model, super().critic(model, batch))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, but that the generator may match the critic's mean features, and is near its past."""
        if not self.feature_matching:
            return self.near_its_past("generator", model, super().generator(model, batch))
        real = batch["x"]
        z = model.draw_prior(GlobalNoise.like(real))
        distance = feature_distance(model.features(real).float(), model.features(model.generate(z)).float())
        return self.near_its_past("generator", model, Loss(distance))

    def past_of(self, player: str) -> HistoricalAverage:
        """The player's past."""
        past = self.history[player]
        assert isinstance(past, HistoricalAverage)
        return past

    def near_its_past(self, player: str, model: Any, loss: Loss) -> Loss:
        """The loss, and c || theta - mean of theta ||^2 where that is on."""
        if player not in self.history:
            return loss
        past = self.past_of(player).penalty(parameters_of(model, (player,)))
        total = loss.total + self.historical_weight * past
        return loss._replace(total=total, metrics={**loss.metrics, "from_past": past.detach()})

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Take the player that has stepped into its mean."""
        if phase in self.history:
            self.past_of(phase).take(parameters_of(model, (phase,)))


def sizes_of(config: ImprovedGANConfig) -> dict[str, int]:
    """The number of parameters of each player, counted on a model without memory."""
    with torch.device("meta"):
        model = ImprovedGAN(config)
    players = ("critic", "generator")
    return {player: sum(p.numel() for p in parameters_of(model, (player,))) for player in players}


def improved_gan(
    *,
    config: ImprovedGANConfig = ImprovedGANConfig(data_shape=(1, 8, 8)),
    steps: int = 4000,
    batch_size: int = 64,
    generator_loss: Literal["non-saturating", "feature-matching"] = "non-saturating",
    real_target: float = 0.9,
    historical_weight: float = 0.0,
    learning_rate: float = 5e-4,
) -> Recipe:
    """`real_target`: 1 is no smoothing. `historical_weight`: the c of section 3.3; 0 switches historical averaging off.
    The paper pairs minibatch discrimination with the non-saturating loss."""
    objective = ImprovedAdversarial(
        real_target=real_target,
        feature_matching=generator_loss == "feature-matching",
        historical_weight=historical_weight,
        sizes=sizes_of(config) if historical_weight else None,
    )
    return Recipe(
        name="improved-gan",
        model=ImprovedGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(0.99),
    )
