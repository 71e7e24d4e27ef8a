"""Context-RNN-GAN (Ghosh, Kulharia, Mukerjee, Namboodiri & Bansal 2017, "Contextual RNN-GANs for Abstract Reasoning
Diagram Generation", arXiv:1609.09444).

Given the panels x_1 ... x_t of a series, the generator, a GRU, draws panel t + 1, for every t. The critic, another GRU,
reads the true panels up to t and judges panel t + 1, the true or the drawn one, with them as its context:
    critic     E_t sp(-D(x_(t+1) | x_1 ... x_t)) + E_t sp(D(G(x_1 ... x_t) | x_1 ... x_t))
    generator  E_t sp(-D(G(x_1 ... x_t) | x_1 ... x_t)) + reconstruction_weight E_t |G(x_1 ... x_t) - x_(t+1)|^2
with sp(u) = log(1 + exp(u)); the squared error is a mean over pixels, and is where the paper is silent on p and weight.
`contextual` False hides the context from the critic.

Deviations: dense layers around the GRUs; no noise, so one answer to a series. On the toy data the reconstruction alone
picks the next panel, with context in the critic or without; what the context adds shows where the generator stands
still and draws good panels of other series.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gencore import Loss, Model, ModelConfig, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import condition_of
from gencore.conditions import Condition, Image
from gencore.config import check
from gencore.errors import GencoreError
from gencore_gan.parts.two_rates import two_rates

SYSTEM = SystemSpec(
    name="context-rnn-gan",
    summary="The next panel of a series, judged beside all panels before it",
    paper=Paper(
        title="Contextual RNN-GANs for Abstract Reasoning Diagram Generation",
        authors="Ghosh, Kulharia, Mukerjee, Namboodiri & Bansal",
        year=2017,
        arxiv="1609.09444",
    ),
    model="ContextRNNGAN",
    recipe="context_rnn_gan",
    roles=("critic",),
    traits=("translate",),
    tiny={"width": 8, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContextRNNGANConfig(ModelConfig):
    """`data_shape`: (1, H, W) of a panel; `condition`: the panels before it, as channels. `width`: of the GRUs'
    states. `contextual`: whether the critic sees the panels before."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    condition: Image = Image(shape=(4, 8, 8))
    width: int = 128
    contextual: bool = True

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(len(shape) == 3 and shape[0] == 1 and min(shape) > 0, "data_shape", shape, "(1, height, width)")
        check(self.width > 0, "width", self.width, "a positive integer")


class Reader(nn.Module):
    """A GRU over flattened panels, and dense layers from its state at each step."""

    def __init__(self, pixels: int, width: int, *, beside: int, outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(pixels, width, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(width + beside, width), nn.LeakyReLU(0.2, inplace=True), nn.Linear(width, outputs)
        )

    def forward(self, panels: Tensor, beside: Tensor | None = None, *, blind: bool = False) -> Tensor:
        """Panels (N, t, pixels), and what lies beside the state at each, (N, t, beside) -> (N, t, outputs)."""
        states, _ = self.gru(panels)
        states = 0 * states if blind else states
        return self.head(states if beside is None else torch.cat([states, beside], 2))


class ContextRNNGAN(Model):
    """Parts `generator` and `critic`."""

    config_class = ContextRNNGANConfig
    config: ContextRNNGANConfig

    def __init__(self, config: ContextRNNGANConfig) -> None:
        super().__init__(config)
        pixels = math.prod(config.data_shape)
        self.generator = Reader(pixels, config.width, beside=0, outputs=pixels)
        self.critic = Reader(pixels, config.width, beside=pixels, outputs=1)

    @property
    def condition(self) -> Condition:
        """The panels before."""
        return self.config.condition

    def continued(self, panels: Tensor) -> Tensor:
        """Panels (N, t, pixels) -> the one after each, (N, t, pixels) in [-1, 1], from it and those before it."""
        return self.generator(panels).tanh()

    def in_context(self, panels: Tensor, following: Tensor) -> Tensor:
        """Logits (N, t), larger for real, of what follows each panel; both (N, t, pixels)."""
        judged = self.critic(panels, following, blind=not self.config.contextual)
        return rearrange(judged, "n t 1 -> n t")

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Panels (N, t, H, W) -> the next one, (N, 1, H, W) in [-1, 1]."""
        check(to is None, "to", to, "None: there is one next panel")
        height, width = self.config.data_shape[1:]
        if x.ndim != 4 or tuple(x.shape[2:]) != (height, width):
            raise GencoreError(f"The panels are {tuple(x.shape)}; expected (N, panels, {height}, {width}).")
        last = self.continued(x.flatten(2))[:, -1]
        return rearrange(last, "n (h w) -> n 1 h w", h=height)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Next panels (N, 1, H, W), after the panels (N, t, H, W) -> logits (N,), larger for real."""
        if condition is None:
            raise GencoreError("Context-RNN-GAN judges a panel by those before it: give condition=...")
        panels = condition.flatten(2)
        following = torch.cat([panels[:, 1:], x.flatten(2)], 1)
        return self.in_context(panels, following)[:, -1]


class Series(Objective):
    """Phases "critic" and "generator".

    Logs `real` and `fake`, `game`, and `error`: mean square between drawn and true panels; lower is better.
    """

    def __init__(self, *, adversarial_weight: float, reconstruction_weight: float) -> None:
        super().__init__()
        check(adversarial_weight >= 0, "adversarial_weight", adversarial_weight, "0 or more")
        check(reconstruction_weight >= 0, "reconstruction_weight", reconstruction_weight, "0 or more")
        self.adversarial_weight, self.reconstruction_weight = adversarial_weight, reconstruction_weight

    def _series(self, model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        given = condition_of(model, batch)
        assert given is not None
        panels = given.flatten(2)
        return panels, torch.cat([panels[:, 1:], batch["x"].flatten(2)], 1)

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """True against drawn panels, at every step."""
        panels, following = self._series(model, batch)
        with torch.no_grad():
            drawn = model.continued(panels)
        real, fake = model.in_context(panels, following), model.in_context(panels, drawn)
        return Loss(non_saturating.critic(real, fake), {"real": real.mean(), "fake": fake.mean()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Drawn panels look real in their context, and like the true ones."""
        panels, following = self._series(model, batch)
        drawn = model.continued(panels)
        game = non_saturating.generator(model.in_context(panels, drawn))
        error = mse_loss(drawn, following)
        return Loss(self.adversarial_weight * game + self.reconstruction_weight * error, {"game": game, "error": error})


def context_rnn_gan(
    *,
    config: ContextRNNGANConfig = ContextRNNGANConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    adversarial_weight: float = 1.0,
    reconstruction_weight: float = 10.0,
    generator_rate: float = 2e-3,
    critic_rate: float = 2e-4,
) -> Recipe:
    """`adversarial_weight`: of the generator's game; `reconstruction_weight`: of its squared error."""
    objective = Series(adversarial_weight=adversarial_weight, reconstruction_weight=reconstruction_weight)
    return Recipe(
        name="context-rnn-gan",
        model=ContextRNNGAN,
        config=config,
        stages=two_rates(objective, steps=steps, generator_rate=generator_rate, critic_rate=critic_rate),
        batch_size=batch_size,
        data="diagrams",
    )
