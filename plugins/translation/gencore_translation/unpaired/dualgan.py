"""DualGAN (Yi, Zhang, Tan & Gong 2017, "DualGAN: Unsupervised Dual Learning for Image-to-Image Translation",
arXiv:1704.02510, Algorithm 1).

With G: a -> b, F: b -> a, critics of scores, |.| the mean over pixels:
    critics      E D_b(G(a)) - E D_b(b), and the same for D_a; weights clipped to [-c, c]           (equations 1 and 2)
    translators  cycle_weight [ E |F(G(a)) - a| + E |G(F(b)) - b| ] - E D_b(G(a)) - E D_a(F(b))             (equation 3)
`critic_steps` of the critics for one of the translators, RMSProp.

Deviations: the paper's noise is dropout in its U-Nets; these residual translators have none. Small networks; the
paper's weights are 100 to 1,000 beside critics of its size, here 10. Adam where the paper has RMSProp's 5e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gencore import Adam, Paper, Phase, Recipe, RMSprop, Stage, SystemSpec
from gencore.adversarial.losses import wasserstein
from gencore.config import check
from gencore.model import parameters_of

from ..parts.domains import TwoTranslators, TwoTranslatorsConfig, two_domains
from .cyclegan import CycleGame

SYSTEM = SystemSpec(
    name="dualgan",
    summary="Two translators that undo each other, against Wasserstein critics with clipped weights",
    paper=Paper(
        title="DualGAN: Unsupervised Dual Learning for Image-to-Image Translation",
        authors="Yi, Zhang, Tan & Gong",
        year=2017,
        arxiv="1704.02510",
    ),
    model="TwoTranslators",
    recipe="dualgan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles",),
    tiny={"width": 4, "critic_width": 4, "batch_size": 4},
)


class DualGame(CycleGame):
    """CycleGAN's game on Wasserstein critics whose weights are clipped after each of their steps."""

    def __init__(self, data_shape: tuple[int, ...], *, cycle_weight: float, weight_clip: float) -> None:
        super().__init__(data_shape, wasserstein, cycle_weight=cycle_weight, critic_weight=1.0)
        check(weight_clip > 0, "weight_clip", weight_clip, "a positive number")
        self.weight_clip = weight_clip

    def after_step(self, model: Any, phase: str, seen: Sequence[tuple[Tensor, ...]]) -> None:
        """Clip the critics."""
        if phase == "critics":
            for parameter in parameters_of(model, ("critics",)):
                parameter.clamp_(-self.weight_clip, self.weight_clip)


def dualgan(
    *,
    config: TwoTranslatorsConfig = TwoTranslatorsConfig(),
    steps: int = 2000,
    batch_size: int = 16,
    cycle_weight: float = 10.0,
    critic_steps: int = 3,
    weight_clip: float = 0.05,
    learning_rate: float = 2e-3,
    critic_learning_rate: float = 2e-4,
) -> Recipe:
    """`cycle_weight`: the paper's lambda. `weight_clip`: its c."""
    objective = DualGame(config.data_shape, cycle_weight=cycle_weight, weight_clip=weight_clip)
    critic = RMSprop(learning_rate=critic_learning_rate)
    translator = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critics", parts=("critics",), optimizer=critic, repeats=critic_steps),
        Phase(name="translators", parts=("translators",), optimizer=translator),
    )
    stage = Stage(objective=objective, phases=phases, steps=steps, data=two_domains)
    return Recipe(name="dualgan", model=TwoTranslators, config=config, stages=(stage,), batch_size=batch_size)
