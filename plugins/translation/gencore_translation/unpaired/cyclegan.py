"""CycleGAN (Zhu, Park, Isola & Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", arXiv:1703.10593).

With G: a -> b, F: b -> a, critics D_a and D_b of scores, and |.| the mean over pixels
    critics      1/2 [ E (D_b(b) - 1)^2 + E D_b(G(a))^2 ], and the same for D_a             (equation 1 and section 4)
    translators  E (D_b(G(a)) - 1)^2 + E (D_a(F(b)) - 1)^2
                 + cycle_weight [ E |F(G(a)) - a| + E |G(F(b)) - b| ]                                (equations 2 and 3)
                 + identity_weight cycle_weight [ E |G(b) - b| + E |F(a) - a| ]                            (section 5.2)
The critics see, half of the time, one of the last `pool_size` translations instead of the newest (section 4).

Cycle consistency does not say which picture belongs to which: any matching of the domains that can be undone has a
cycle loss of 0. What pairs a digit with its own inverse is that the networks are local and convolutional; with dense
networks the class is lost. A measure of the class says nothing of the cycle for the same reason: local networks keep
the class without it.

Deviations: small networks without normalisation for small pictures (`norm` "instance", `blocks` 9, `halvings` 2 and
`critic_halvings` 3 are the paper's); a higher learning rate and no linear decay of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import AdversarialLosses, least_squares
from gencore.config import check

from ..parts.domains import DOMAINS, TwoTranslators, TwoTranslatorsConfig, both_domains, laid_out, two_domains
from ..parts.pool import ImagePool
from ..parts.terms import weighted_sum

SYSTEM = SystemSpec(
    name="cyclegan",
    summary="Two translators that undo each other, each against a critic of its domain; no pairs",
    paper=Paper(
        title="Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
        authors="Zhu, Park, Isola & Efros",
        year=2017,
        arxiv="1703.10593",
    ),
    model="TwoTranslators",
    recipe="cyclegan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles",),
    tiny={"width": 4, "critic_width": 4, "batch_size": 4, "pool_size": 4},
)


class CycleGame(Objective):
    """Phases "translators" and "critics". The pools, one a domain, hold what the critics may be shown again.

    Logs `game`, `cycle`, and `identity`: mean distance of pictures from their translation into their own domain; lower
    is better.
    """

    def __init__(
        self,
        data_shape: tuple[int, ...],
        losses: AdversarialLosses,
        *,
        distance: Callable[[Tensor, Tensor], Tensor] = F.l1_loss,
        cycle_weight: float,
        identity_weight: float = 0.0,
        critic_weight: float = 0.5,
        pool_size: int = 0,
    ) -> None:
        super().__init__()
        check(cycle_weight >= 0, "cycle_weight", cycle_weight, "0 or more")
        check(identity_weight >= 0, "identity_weight", identity_weight, "0 or more")
        self.losses, self.distance, self.critic_weight = losses, distance, critic_weight
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.pools = torch.nn.ModuleList(ImagePool(pool_size, data_shape) for _ in DOMAINS)

    def translators(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Game, cycle and identity, both directions."""
        real = laid_out(both_domains(batch), model)
        fake = [model.translators[to](real[1 - to]) for to in (0, 1)]
        back = [model.translators[to](fake[1 - to]) for to in (0, 1)]
        game = [self.losses.generator(model.critics[to](fake[to])) for to in (0, 1)]
        terms = {
            "game": (1.0, game[0] + game[1]),
            "cycle": (self.cycle_weight, self._distance(back, real)),
        }
        if self.identity_weight:
            same = [model.translators[to](real[to]) for to in (0, 1)]
            terms["identity"] = (self.identity_weight * self.cycle_weight, self._distance(same, real))
        return weighted_sum(terms)

    def critics(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Each critic on its domain's pictures and on translations into it, some of them older ones."""
        real = laid_out(both_domains(batch), model)
        with torch.no_grad():
            fake = tuple(model.translators[to](real[1 - to]) for to in (0, 1))
        losses = []
        for to, pool in enumerate(self.pools):
            assert isinstance(pool, ImagePool)
            losses.append(self.losses.critic(model.critics[to](real[to]), model.critics[to](pool.shown(fake[to]))))
        return Loss(self.critic_weight * (losses[0] + losses[1]), seen=fake)

    def after_step(self, model: Any, phase: str, seen: Sequence[tuple[Tensor, ...]]) -> None:
        """Store the translations that the critics were to see."""
        for fakes in seen if phase == "critics" else ():
            for pool, fake in zip(self.pools, fakes, strict=True):
                assert isinstance(pool, ImagePool)
                pool.take(fake)

    def _distance(self, made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        first, second = (self.distance(a, b) for a, b in zip(made, wanted, strict=True))
        return first + second


def cyclegan(
    *,
    config: TwoTranslatorsConfig = TwoTranslatorsConfig(),
    steps: int = 2000,
    batch_size: int = 16,
    cycle_weight: float = 10.0,
    identity_weight: float = 0.0,
    pool_size: int = 50,
    learning_rate: float = 2e-3,
) -> Recipe:
    """`cycle_weight`: the paper's lambda; `identity_weight`: of the identity term, as a share of it (0.5 in the paper
    for paintings, 0 elsewhere). `pool_size`: translations that are kept for the critics."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    objective = CycleGame(
        config.data_shape,
        least_squares((0.0, 1.0, 1.0)),
        cycle_weight=cycle_weight,
        identity_weight=identity_weight,
        pool_size=pool_size,
    )
    phases = (
        Phase(name="translators", parts=("translators",), optimizer=optimizer),
        Phase(name="critics", parts=("critics",), optimizer=optimizer),
    )
    stage = Stage(objective=objective, phases=phases, steps=steps, data=two_domains)
    return Recipe(name="cyclegan", model=TwoTranslators, config=config, stages=(stage,), batch_size=batch_size)
