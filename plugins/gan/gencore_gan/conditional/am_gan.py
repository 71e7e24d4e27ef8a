"""AM-GAN (Zhou et al. 2018, "Activation Maximization Generative Adversarial Nets", arXiv:1703.02000, section 3.3).

The critic is one softmax over K classes and "generated", C(x) in R^(K+1). With H the cross-entropy:
    critic      E H(y, C(x)) + E H(K + 1, C(G(z)))
    generator   E H(target, C(G(z)))
The generator's target is one class for each example, where a K+1 critic's usual game pays for any of them. `targets`:
    given     the class that the generator was told (predefined labelling)
    dynamic   the likeliest of the K real classes under the critic now (dynamic labelling)
`judge` is log sum_k exp C_k - C_(K+1), the logit of "real".

Deviations: small networks; under "dynamic" the generator is told a class all the same, which it is free to ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gencore import Adam, Loss, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.objective import told_condition, two_players
from gencore.noise import GlobalNoise
from gencore_gan.parts.labelled import LabelledGANConfig, LabelledGenerator, make_trunk

SYSTEM = SystemSpec(
    name="am-gan",
    summary="A softmax over the classes and 'generated'; each sample aims at one class",
    paper=Paper(
        title="Activation Maximization Generative Adversarial Nets",
        authors="Zhou et al.",
        year=2018,
        arxiv="1703.02000",
    ),
    model="AMGAN",
    recipe="am_gan",
    roles=("generator", "critic", "sampler"),
    traits=("classify",),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8},
)

Targets = Literal["given", "dynamic"]


class AMGAN(LabelledGenerator):
    """`critic`: x -> logits (N, K + 1), the last of "generated"."""

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__(config)
        self.critic = nn.Sequential(make_trunk(config), nn.Linear(config.trunk_dim, config.num_classes + 1))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits of being real, of any class."""
        logits = self.critic(x)
        return logits[:, :-1].logsumexp(1) - logits[:, -1]

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest of the real classes, (N,) int64."""
        return self.critic(x)[:, :-1].argmax(1)


class ActivationMaximization(Objective):
    """Phases "critic" and "generator".

    Logs `real`: cross-entropy of the classes of data, nats; lower is better. `fake`: cross-entropy of generated
    examples with the class of generated ones, nats; neither way is better: low is a critic that is never fooled.
    """

    def __init__(self, targets: Targets) -> None:
        super().__init__()
        self.targets = targets

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real examples to their class, generated ones to the last."""
        x, label = batch["x"], told_condition(model, batch)
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)), condition=label)
        generated = torch.full_like(label, model.config.num_classes)
        real_term, fake_term = cross_entropy(model.critic(x), label), cross_entropy(model.critic(fake), generated)
        return Loss(real_term + fake_term, {"real": real_term, "fake": fake_term})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Each generated example to its one class."""
        label = told_condition(model, batch)
        logits = model.critic(model.generate(model.draw_prior(GlobalNoise.like(batch["x"])), condition=label))
        target = label if self.targets == "given" else dynamic_targets(logits)
        return Loss(cross_entropy(logits, target))


def dynamic_targets(logits: Tensor) -> Tensor:
    """The likeliest real class of each, (N,) int64, from logits (N, K + 1)."""
    return logits[:, :-1].detach().argmax(1)


def am_gan(
    *,
    config: LabelledGANConfig = LabelledGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    targets: Targets = "given",
    learning_rate: float = 5e-4,
) -> Recipe:
    """`targets`: the class that the generator was told, or the likeliest one."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="am-gan",
        model=AMGAN,
        config=config,
        stages=two_players(ActivationMaximization(targets), optimizer, steps=steps),
        batch_size=batch_size,
    )
