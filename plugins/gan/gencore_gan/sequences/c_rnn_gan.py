"""C-RNN-GAN (Mogren 2016, "C-RNN-GAN: Continuous recurrent neural networks with adversarial training",
arXiv:1611.09904).

Sequences of tuples of real numbers, one a note. The generator is an LSTM: at each step it takes fresh noise, uniform in
[0, 1], and its own last output. The critic is a bidirectional LSTM, so that each of its judgements knows the whole
sequence; its logits are averaged over the steps inside the loss (section 3):
    critic     E sp(-D(x)_t) + E sp(D(G(z))_t)
    generator  E sp(-D(G(z))_t),  or with `feature_matching` ||E R(x) - E R(G(z))||^2, R the critic's last features
with sp(u) = log(1 + exp(u)). Freezing (section 3.2): a player rests whose loss is below 0.7 of the other's. For the
first `pretraining_steps` the generator learns to predict the next tuple from the true last one, by squared error, and
there is no game. Weights are held by an L2 penalty.

Deviations: one layer for the paper's two; a short training (after 1,000 steps the notes and their successions are
nearest to the data, after 3,000 they wander); the networks see (x - center) / scale, whose defaults fit
the melodies; the feature matching is of means over the batch and the steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import AdamW, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes
from gencore.noise import GlobalNoise, NoiseSource

SYSTEM = SystemSpec(
    name="c-rnn-gan",
    summary="Melodies of real numbers, by two recurrent networks of which the stronger rests",
    paper=Paper(
        title="C-RNN-GAN: Continuous recurrent neural networks with adversarial training",
        authors="Mogren",
        year=2016,
        arxiv="1611.09904",
    ),
    model="CRNNGAN",
    recipe="c_rnn_gan",
    roles=("generator", "critic", "sampler"),
    tiny={"latent_dim": 2, "width": 4, "batch_size": 8, "pretraining_steps": 1},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CRNNGANConfig(ModelConfig):
    """`data_shape`: (steps, features). `center` and `scale`: of each feature, in the data's unit. `width`: of the
    networks' states."""

    data_shape: tuple[int, ...] = (16, 4)
    center: tuple[float, ...] = (0.5, 10.0, 0.5, 0.5)
    scale: tuple[float, ...] = (0.5, 6.0, 0.25, 0.5)
    latent_dim: int = 8
    width: int = 64

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(len(shape) == 2 and min(shape) > 0, "data_shape", shape, "(steps, features)")
        check(len(self.center) == shape[1], "center", self.center, f"{shape[1]} numbers, one for each feature")
        good = len(self.scale) == shape[1] and min(self.scale) > 0
        check(good, "scale", self.scale, f"{shape[1]} positive numbers, one for each feature")
        for name in ("latent_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")


class RecurrentGenerator(nn.Module):
    """An LSTM that is fed its own output; it begins with 0."""

    def __init__(self, config: CRNNGANConfig) -> None:
        super().__init__()
        features = config.data_shape[1]
        self.cell = nn.LSTMCell(config.latent_dim + features, config.width)
        self.head = nn.Linear(config.width, features)

    def forward(self, z: Tensor, shown: Tensor | None = None) -> Tensor:
        """z (N, steps, latent_dim) -> (N, steps, features). `shown`, likewise: fed in place of the own output."""
        out = z.new_zeros(len(z), self.head.out_features)
        state, outputs = None, []
        for step in range(z.shape[1]):
            state = self.cell(torch.cat([z[:, step], out], 1), state)
            own = self.head(state[0])
            outputs.append(own)
            out = own if shown is None else shown[:, step]
        return torch.stack(outputs, 1)


class BidirectionalCritic(nn.Module):
    """A judgement at every step, by an LSTM that reads both ways."""

    def __init__(self, config: CRNNGANConfig) -> None:
        super().__init__()
        self.trunk = nn.LSTM(config.data_shape[1], config.width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * config.width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, steps, features) -> features (N, steps, 2 width) and logits (N, steps)."""
        features, _ = self.trunk(x)
        return features, rearrange(self.head(features), "n t 1 -> n t")


class CRNNGAN(Model):
    """Both players see sequences in units of `scale` around `center`; of four features, they are notes."""

    config_class = CRNNGANConfig
    config: CRNNGANConfig
    features = ("length", "pitch", "velocity", "gap")  # of the default data, and of MIDI files
    center: Tensor
    scale: Tensor

    def __init__(self, config: CRNNGANConfig) -> None:
        super().__init__(config)
        self.generator = RecurrentGenerator(config)
        self.critic = BidirectionalCritic(config)
        self.register_buffer("center", torch.tensor(config.center))
        self.register_buffer("scale", torch.tensor(config.scale))

    def normalised(self, x: Tensor) -> Tensor:
        """x (N, steps, features) as the networks see it."""
        return (x - self.center) / self.scale

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, steps, latent_dim) -> sequences (N, steps, features)."""
        return self.center + self.scale * self.generator(z)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Sequences (N, steps, features) -> logits (N, steps), larger for real."""
        return self.critic(self.normalised(x))[1]

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ U[0, 1], (n, steps, latent_dim)."""
        return noise.uniform(self.config.data_shape[0], self.config.latent_dim)


def rests(own: float, other: float, *, share: float = 0.7) -> bool:
    """Whether a player of loss `own` waits for the other."""
    return own < share * other


class FreezingGame(Objective):
    """Phases "pretraining", "critic" and "generator"; the gates hold the order and the balance.

    Logs `game`, where the generator matches features instead of playing.
    """

    losses: Tensor
    iterations: Tensor

    def __init__(self, *, pretraining_steps: int, freeze: float, feature_matching: bool) -> None:
        super().__init__()
        check(pretraining_steps >= 0, "pretraining_steps", pretraining_steps, "0 or more")
        check(0 <= freeze < 1, "freeze", freeze, "a share from 0, which lets nobody rest, to less than 1")
        self.pretraining_steps, self.freeze, self.feature_matching = pretraining_steps, freeze, feature_matching
        self.register_buffer("losses", torch.ones(3))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))

    def is_pretraining(self) -> bool:
        """Whether the game has not begun."""
        return int(self.iterations) < self.pretraining_steps

    def may_step(self, player: int) -> bool:
        """Whether the critic (0) or the generator (1) trains, by the last losses of both."""
        real, fake, game = self.losses.tolist()
        own, other = ((real + fake) / 2, game)[:: -1 if player else 1]
        return not self.is_pretraining() and not rests(own, other, share=self.freeze)

    def pretraining(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The next tuple from the true last one, squared error in units."""
        x = model.normalised(batch["x"])
        return Loss(F.mse_loss(model.generator(model.draw_prior(GlobalNoise.like(x)), shown=x), x))

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated sequences."""
        x = batch["x"]
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)))
        judged, fooled = model.judge(x), model.judge(fake)
        loss, real = non_saturating.critic(judged, fooled), non_saturating.generator(judged)
        seen = torch.stack([real, loss - real, non_saturating.generator(fooled)])
        return Loss(loss, seen=seen.detach())

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Generated sequences look real, or have the real ones' mean features."""
        z = model.draw_prior(GlobalNoise.like(batch["x"]))
        features, judged = model.critic(model.generator(z))
        game = non_saturating.generator(judged)
        refused = non_saturating.critic(judged, judged) - game
        seen = torch.stack([torch.zeros_like(game), refused, game]).detach()
        if not self.feature_matching:
            return Loss(game, seen=seen)
        with torch.no_grad():
            real, _ = model.critic(model.normalised(batch["x"]))
        matching = (features.mean((0, 1)) - real.mean((0, 1))).square().sum()
        return Loss(matching, {"game": game.detach()}, seen=seen)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the pre-training; keep the losses, means over batches and processes: of the critic on real and on
        generated sequences, and of the generator. A step of the generator tells the last two."""
        if phase == "pretraining":
            self.iterations += 1
        elif seen:
            mean = sum_over_processes(torch.stack(list(seen)).mean(0)) / process_count()
            first = 0 if phase == "critic" else 1
            self.losses[first:] = mean[first:]


def c_rnn_gan(
    *,
    config: CRNNGANConfig = CRNNGANConfig(),
    steps: int = 1000,
    batch_size: int = 64,
    pretraining_steps: int = 300,
    freeze: float = 0.7,
    feature_matching: bool = False,
    weight_decay: float = 1e-4,
    generator_rate: float = 1e-3,
    critic_rate: float = 3e-4,
) -> Recipe:
    """`pretraining_steps`: of `steps`, before the game. `freeze`: 0.7 in the paper; 0 lets nobody rest."""
    generator, critic = (
        AdamW(learning_rate=rate, betas=(0.5, 0.999), weight_decay=weight_decay)
        for rate in (generator_rate, critic_rate)
    )
    phases = (
        Phase(
            name="pretraining",
            parts=("generator",),
            optimizer=generator,
            gate=lambda objective: objective.is_pretraining(),
        ),
        Phase(name="critic", parts=("critic",), optimizer=critic, gate=lambda objective: objective.may_step(0)),
        Phase(
            name="generator", parts=("generator",), optimizer=generator, gate=lambda objective: objective.may_step(1)
        ),
    )
    objective = FreezingGame(pretraining_steps=pretraining_steps, freeze=freeze, feature_matching=feature_matching)
    return Recipe(
        name="c-rnn-gan",
        model=CRNNGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
        data="tones",
    )
