"""Codes that do not tell a sensitive attribute (Edwards & Storkey 2016, "Censoring Representations with an Adversary",
ICLR, arXiv:1511.05897).

    min over E, G, h   max over A   w E ||x - G(z, a)||^2 + E CE(h(z), y) - lambda E BCE(A(z), a)   (equation 9)
with a the attributes to be hidden, y the class to be kept, and z = E(x) + noise. A has several steps for each step of
the others.

What does the work: G is given a, so that z need not hold it; noise on z closes the hiding place of small numbers; A
must keep up, since a weak adversary adds leakage instead of taking it away. Judge with fresh probes, never with A
(gencore.evaluation.probe); a nonlinear probe reads more than a linear one.

Deviations: the noise (the paper has none), and the decoder's sight of a, which is from Louizos et al. 2016
(arXiv:1511.00830); squared error is the mean over the numbers of x. The encoder's step takes A's own loss, negated, as
in the paper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.conditions import Attributes, of_batch
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.conv import conv_decoder
from gencore.nn.dense import mlp
from gencore_adaptation.parts.networks import Classifier, ClassifierConfig, encoder_of

SYSTEM = SystemSpec(
    name="blind-representation",
    summary="Codes that keep the class and hide an attribute from an adversary",
    paper=Paper(
        title="Censoring Representations with an Adversary",
        authors="Edwards & Storkey",
        year=2016,
        arxiv="1511.05897",
    ),
    model="BlindAutoencoder",
    recipe="blind_representation",
    roles=("encoder", "generator", "critic"),
    traits=("translate", "classify"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 8, "width": 8, "batch_size": 8},
)


MARK = Attributes(names=("mark",))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlindConfig(ClassifierConfig):
    """`condition`: the attributes to be hidden. `noise_std`: of the noise on codes, in training."""

    condition: Attributes = MARK
    code_dim: int = 16
    width: int = 32
    noise_std: float = 0.3
    critic_width: int = 64

    def __post_init__(self) -> None:
        ClassifierConfig.__post_init__(self)
        check(len(self.data_shape) == 3, "data_shape", self.data_shape, "pictures (channels, size, size)")
        check(self.noise_std >= 0, "noise_std", self.noise_std, "0 or more")
        check(self.critic_width > 0, "critic_width", self.critic_width, "a positive integer")


class BlindAutoencoder(Classifier):
    """`generator` is given code and attributes; `critic` guesses the attributes from the code."""

    config_class = BlindConfig
    config: BlindConfig
    regions = ()

    def __init__(self, config: BlindConfig) -> None:
        super().__init__(config)
        self.encoder = encoder_of(config)[0]  # without the ReLU: codes of both signs
        count = len(config.condition.names)
        self.generator = conv_decoder(config.data_shape, width=config.width, inputs=config.code_dim + count)
        self.critic = mlp((config.code_dim, config.critic_width, config.critic_width, count))

    @property
    def condition(self) -> Attributes:
        """The attributes that are hidden."""
        return self.config.condition

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, code_dim) and attributes (N, count) -> pictures (N, *data_shape)."""
        if condition is None:
            raise GencoreError(f"The code is blind to {self.condition.names}: pass condition, (N, count) numbers.")
        return torch.tanh(self.generator(torch.cat([z, self.condition.check(condition, len(z))], 1))[:, 0])

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N, count) logits of the attributes, as the adversary guesses them."""
        return self.critic(self.encode(x))

    def translate(self, x: Tensor, *, to: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) with the attributes `to`, (N, count) or one row; without any where None."""
        wanted = torch.full((len(self.condition.names),), self.condition.low) if to is None else to
        return self.generate(self.encode(x), condition=self.condition.check(wanted, len(x)).to(x.device))


class Censoring(Objective):
    """Phases "critic" (A) and "representation" (E, G and h).

    Logs `class`, `reconstruction`, and `guess`: the critic's loss in guessing the attributes from the code, nats;
    higher is better: log 2 is blind.
    """

    def __init__(self, *, strength: float, reconstruction_weight: float) -> None:
        super().__init__()
        check(strength >= 0, "strength", strength, "0 or more")
        check(reconstruction_weight >= 0, "reconstruction_weight", reconstruction_weight, "0 or more")
        self.strength, self.reconstruction_weight = strength, reconstruction_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """BCE of the guessed attributes, in nats an attribute."""
        with torch.no_grad():
            z = noisy_code(model, batch["x"])
        return Loss(F.binary_cross_entropy_with_logits(model.critic(z), of_batch(model.condition, batch)))

    def representation(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], batch["label"] and batch["attributes"]."""
        if "label" not in batch:
            raise GencoreError(
                f"The batch has no labels, only {sorted(batch)}: the code must keep something. Label it."
            )
        x, attributes = batch["x"], of_batch(model.condition, batch)
        z = noisy_code(model, x)
        error = (model.generate(z, condition=attributes) - x).square().mean()
        class_loss = F.cross_entropy(model.head(z), batch["label"])
        guess = F.binary_cross_entropy_with_logits(model.critic(z), attributes)
        total = self.reconstruction_weight * error + class_loss - self.strength * guess
        return Loss(total, {"reconstruction": error, "class": class_loss, "guess": guess})


def noisy_code(model: Any, x: Tensor) -> Tensor:
    """E(x) + noise from torch's global stream, (N, code_dim)."""
    z = model.encode(x)
    return z + model.config.noise_std * torch.randn_like(z)


def blind_representation(
    *,
    config: BlindConfig = BlindConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    critic_steps: int = 3,
    strength: float = 1.0,
    reconstruction_weight: float = 10.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`strength` is lambda; 0 only conditions the decoder."""
    optimizer = Adam(learning_rate=learning_rate)
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer, repeats=critic_steps),
        Phase(name="representation", parts=("encoder", "generator", "head"), optimizer=optimizer),
    )
    objective = Censoring(strength=strength, reconstruction_weight=reconstruction_weight)
    return Recipe(
        name="blind-representation",
        model=BlindAutoencoder,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
        data="marked-digits",
    )
