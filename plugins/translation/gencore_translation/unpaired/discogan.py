"""DiscoGAN (Kim, Cha, Kim, Lee & Kim 2017, "Learning to Discover Cross-Domain Relations with Generative Adversarial
Networks", arXiv:1703.05192).

With G: a -> b, F: b -> a, and f_l the critics' l-th hidden layer, meaned over the batch:
    critics      E sp(-D_b(b)) + E sp(D_b(G(a))), and the same for D_a                              (equations 7 and 8)
    translators  r [ E (F(G(a)) - a)^2 + E (G(F(b)) - b)^2 ]                                         (equations 3 to 6)
                 + (1 - r) [ 0.1 E sp(-D(fake)) + 0.9 sum_l |f_l(real) - f_l(fake)|^2 ]      (the authors' program)
r is `early_rate`, 0.01, for the first `early_steps` iterations, then `rate`, 0.5: the game first, the cycle afterwards.
The critics step in every third iteration, the translators in the other two (the authors' program).

Deviations: small networks; fewer early iterations, where the program has 10,000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check

from ..parts.domains import TwoTranslators, TwoTranslatorsConfig, both_domains, two_domains
from ..parts.terms import weighted_sum

SYSTEM = SystemSpec(
    name="discogan",
    summary="Two translators that undo each other; critics' features are matched, the cycle's share rises",
    paper=Paper(
        title="Learning to Discover Cross-Domain Relations with Generative Adversarial Networks",
        authors="Kim, Cha, Kim, Lee & Kim",
        year=2017,
        arxiv="1703.05192",
    ),
    model="TwoTranslators",
    recipe="discogan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles",),
    tiny={"width": 4, "critic_width": 4, "batch_size": 4, "early_steps": 1},
)

GAME_SHARE, FEATURE_SHARE = 0.1, 0.9


class Discovery(Objective):
    """Phases "critics" and "translators"; `iteration` is a buffer, on which both gates and the rate hang.

    Logs `game`, `cycle`, and `features`: distance of the critics' mean features of true and translated pictures; lower
    is better.
    """

    iteration: Tensor

    def __init__(self, *, early_rate: float, rate: float, early_steps: int) -> None:
        super().__init__()
        for name, value in (("early_rate", early_rate), ("rate", rate)):
            check(0 <= value <= 1, name, value, "a share in [0, 1]")
        check(early_steps >= 0, "early_steps", early_steps, "0 or more")
        self.early_rate, self.late_rate, self.early_steps = early_rate, rate, early_steps
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    @property
    def rate(self) -> float:
        """The cycle's share r of the translators' loss, now."""
        return self.early_rate if int(self.iteration) < self.early_steps else self.late_rate

    @property
    def critics_turn(self) -> bool:
        """Whether the critics step in this iteration: in 0, 3, 6, ..."""
        return int(self.iteration) % 3 == 0

    def translators(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Cycle, game and matched features, both directions."""
        real = both_domains(batch)
        fake = [model.translators[to](real[1 - to]) for to in (0, 1)]
        back = [model.translators[to](fake[1 - to]) for to in (0, 1)]
        cycle = torch.stack([F.mse_loss(back[to], real[to]) for to in (0, 1)]).sum()
        game, features = [], []
        for to, critic in enumerate(model.critics):
            *hidden, judged = outputs(critic, fake[to])
            with torch.no_grad():
                *wanted, _ = outputs(critic, real[to])
            game.append(non_saturating.generator(judged))
            features.append(mean_feature_distance(wanted, hidden))
        return weighted_sum(
            {
                "cycle": (self.rate, cycle),
                "game": ((1 - self.rate) * GAME_SHARE, torch.stack(game).sum()),
                "features": ((1 - self.rate) * FEATURE_SHARE, torch.stack(features).sum()),
            }
        )

    def critics(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Each critic on its domain's pictures and on translations into it."""
        real = both_domains(batch)
        with torch.no_grad():
            fake = [model.translators[to](real[1 - to]) for to in (0, 1)]
        losses = [non_saturating.critic(model.critics[to](real[to]), model.critics[to](fake[to])) for to in (0, 1)]
        return Loss(torch.stack(losses).sum())

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """One of the two phases steps in an iteration: count it."""
        self.iteration += 1


def outputs(critic: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What each activation of a critic gives for pictures x, and at last its logits."""
    found = []
    for layer in critic:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            found.append(x)
    return [*found, x]


def mean_feature_distance(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """sum over layers of the mean of (batch mean of real features - of fake ones)^2; features (N, ...)."""
    return torch.stack([(r.mean(0) - f.mean(0)).square().mean() for r, f in zip(real, fake, strict=True)]).sum()


def discogan(
    *,
    config: TwoTranslatorsConfig = TwoTranslatorsConfig(),
    steps: int = 3000,
    batch_size: int = 16,
    early_rate: float = 0.01,
    rate: float = 0.5,
    early_steps: int = 300,
    learning_rate: float = 2e-3,
) -> Recipe:
    """`early_rate`, `rate`: the cycle's share of the translators' loss in the first `early_steps`, and later."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critics", parts=("critics",), optimizer=optimizer, gate=lambda objective: objective.critics_turn),
        Phase(
            name="translators",
            parts=("translators",),
            optimizer=optimizer,
            gate=lambda objective: not objective.critics_turn,
        ),
    )
    objective = Discovery(early_rate=early_rate, rate=rate, early_steps=early_steps)
    stage = Stage(objective=objective, phases=phases, steps=steps, data=two_domains)
    return Recipe(name="discogan", model=TwoTranslators, config=config, stages=(stage,), batch_size=batch_size)
