"""3D-GAN (Wu, Zhang, Xue, Freeman & Tenenbaum 2016, "Learning a Probabilistic Latent Space of Object Shapes via 3D
Generative-Adversarial Modeling", arXiv:1610.07584).

    L = log D(x) + log(1 - D(G(z))),   z ~ U[0, 1]                                                     (equation 1)
on grids of occupancies. Two brakes keep the critic from running away (section 3.1): its learning rate is a fraction of
the generator's, and it steps only while its accuracy on the last batch is at most 80%. Adam with beta1 = 0.5.

Deviations: the generator's loss is the non-saturating one; small grids, so two halvings for the paper's four, a linear
layer at the bottom, and a critic's rate of 3e-4 for the paper's 1e-5, whose critic learns little in a short training.
On the small data the gate alone makes no difference to the shapes that can be measured, the learning rates do; where
the generator hardly learns, the gate keeps the critic's logits small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gencore import Loss, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.noise import GlobalNoise
from gencore_gan.parts.accuracy_gate import AccuracyGate, critic_accuracy
from gencore_gan.parts.two_rates import two_rates
from gencore_gan.parts.volumes import VolumeGAN, VolumeGANConfig

SYSTEM = SystemSpec(
    name="3d-gan",
    summary="Solid shapes of voxels, against a critic that rests while it is right too often",
    paper=Paper(
        title="Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling",
        authors="Wu, Zhang, Xue, Freeman & Tenenbaum",
        year=2016,
        arxiv="1610.07584",
    ),
    model="VolumeGAN",
    recipe="gan_3d",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "width": 2, "batch_size": 8},
)


class RestingCritic(AccuracyGate):
    """Phases "critic" and "generator".

    Logs `real` and `fake`, and `accuracy`: share that the critic tells right; neither way is better: 0.5 is a draw, and
    above most_accurate it rests.
    """

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated shapes."""
        x = batch["x"]
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)))
        real, judged = model.judge(x), model.judge(fake)
        return Loss(non_saturating.critic(real, judged), {"real": real.mean(), "fake": judged.mean()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Generated shapes look real; hands over how often the critic is right."""
        x = batch["x"]
        judged = model.judge(model.generate(model.draw_prior(GlobalNoise.like(x))))
        with torch.no_grad():
            accuracy = critic_accuracy(model.judge(x), judged)
        return Loss(non_saturating.generator(judged), {"accuracy": accuracy}, seen=accuracy)


def gan_3d(
    *,
    config: VolumeGANConfig = VolumeGANConfig(),
    steps: int = 2000,
    batch_size: int = 48,
    most_accurate: float = 0.8,
    generator_rate: float = 2.5e-3,
    critic_rate: float = 3e-4,
) -> Recipe:
    """`most_accurate`: the accuracy above which the critic rests; 1 never lets it."""
    stages = two_rates(
        RestingCritic(most_accurate),
        steps=steps,
        generator_rate=generator_rate,
        critic_rate=critic_rate,
        critic_gate=lambda objective: objective.gate(),
    )
    return Recipe(
        name="3d-gan",
        model=VolumeGAN,
        config=config,
        stages=stages,
        batch_size=batch_size,
        data="voxels",
    )
