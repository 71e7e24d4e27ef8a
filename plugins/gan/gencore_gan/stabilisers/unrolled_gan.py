"""A generator that looks ahead of its critic (Metz et al. 2017, "Unrolled Generative Adversarial Networks",
arXiv:1611.02163, equations 6 to 11).

With D_psi the critic's logit, sp(u) = log(1 + exp(u)) and f the critic's loss:
    f(theta, psi)  E_x sp(-D_psi(x)) + E_z sp(D_psi(G_theta(z)))
    psi_0 = psi,   psi_{j+1} = psi_j - rate grad_psi f(theta, psi_j)                                 (equation 7)
    generator      minimises -f(theta, psi_K), the gradient going through all K steps                (equations 8, 10)
    critic         minimises f(theta, psi), one ordinary step                                        (equation 11)
K = 0 is the minimax game. All K steps use the batch and the codes of the generator's step, as the authors'
demonstration does.

Deviations: gradient descent inside the look-ahead, as the equations have it (the demonstration puts Adam there);
without a name of data it plays the Dirac-GAN (gencore_gan.parts.players), with gradient descent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gencore import Loss, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import minimax
from gencore.adversarial.objective import Adversarial, condition_of
from gencore.adversarial.unrolled import judge_by, unroll
from gencore.config import check
from gencore.noise import GlobalNoise
from gencore_gan.parts.players import PlayersConfig, PlayersGAN, data_of, optimizer_of

SYSTEM = SystemSpec(
    name="unrolled-gan",
    summary="The generator's gradient goes through the critic's next steps",
    paper=Paper(
        title="Unrolled Generative Adversarial Networks",
        authors="Metz et al.",
        year=2017,
        arxiv="1611.02163",
    ),
    model="PlayersGAN",
    recipe="unrolled_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


class UnrolledAdversarial(Adversarial):
    """`Adversarial` whose generator plays against the critic of `unrolled_steps` steps later."""

    def __init__(self, *, unrolled_steps: int, unrolled_rate: float) -> None:
        check(unrolled_steps >= 0, "unrolled_steps", unrolled_steps, "0 or more")
        check(unrolled_rate > 0, "unrolled_rate", unrolled_rate, "a positive number")
        super().__init__(minimax)
        self.unrolled_steps, self.unrolled_rate = unrolled_steps, unrolled_rate
        self.double_backward = ("critic",)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """-f(theta, psi_K) on batch["x"] and as many new examples."""
        real, condition = batch["x"], condition_of(model, batch)
        fake = model.generate(model.draw_prior(GlobalNoise.like(real)), condition=condition)

        def critic_loss(psi: Mapping[str, Tensor]) -> Tensor:
            judged_real = judge_by(model, psi, real, condition)
            return self.losses.critic(judged_real.float(), judge_by(model, psi, fake, condition).float())

        ahead = unroll(model.critic, critic_loss, steps=self.unrolled_steps, rate=self.unrolled_rate)
        return Loss(-critic_loss(ahead))


def unrolled_gan(
    *,
    config: PlayersConfig = PlayersConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    unrolled_steps: int = 5,
    unrolled_rate: float = 0.3,
    learning_rate: float | None = None,
) -> Recipe:
    """`unrolled_steps`: the paper's K. `unrolled_rate`: its eta, the rate of the steps that are only looked at."""
    objective = UnrolledAdversarial(unrolled_steps=unrolled_steps, unrolled_rate=unrolled_rate)
    optimizer = optimizer_of(config, learning_rate)
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=("generator",), optimizer=optimizer, joint=True),
    )
    return Recipe(
        name="unrolled-gan",
        model=PlayersGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
        data=data_of(config),
    )
