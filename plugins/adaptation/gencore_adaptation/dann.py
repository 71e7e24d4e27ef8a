"""DANN: features that do not tell the domain (Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", JMLR
17(59), arXiv:1505.07818).

    min over f, y   E_s CE(y(f(x)), label) - lambda L_d,   min over d   L_d                         (equations 12 to 14)
    L_d = E_s BCE(d(f(x)), 1) + E_t BCE(d(f(x)), 0), s the source domain and t the target           (equation 10)
in one step: d follows its own slope, and f that of L_d times -lambda, by gradient reversal (equations 15 to 17), with
    lambda_p = 2 / (1 + exp(-10 p)) - 1, p the part of the training that is done                    (section 5.2.2)

Deviations: L_d is the mean of the two expectations, not their sum, as in the authors' code; Adam at a constant rate in
place of SGD with the rate mu_p = 0.01 / (1 + 10 p)^0.75; the paper leaves the networks of its toy at one hidden layer.
At 45 degrees and more the moons cannot be aligned: the features of the classes cross before they meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.config import check
from gencore_adaptation.parts.networks import ClassifierConfig, DomainClassifier
from gencore_adaptation.parts.reversal import reverse_gradient
from gencore_adaptation.parts.streams import two_domains

SYSTEM = SystemSpec(
    name="dann",
    summary="A classifier whose features hide the domain, by gradient reversal",
    paper=Paper(
        title="Domain-Adversarial Training of Neural Networks", authors="Ganin et al.", year=2016, arxiv="1505.07818"
    ),
    model="gencore_adaptation.parts.networks:DomainClassifier",
    recipe="dann",
    roles=("encoder", "critic"),
    traits=("classify",),
    claims=("compiles", "twice-differentiable", "exact-data-parallel"),
    tiny={"data_shape": (2,), "num_classes": 2, "code_dim": 4, "width": 8, "batch_size": 8},
)


def strength_at(progress: Tensor) -> Tensor:
    """lambda_p, from 0 at p = 0 to nearly 1 at p = 1."""
    return torch.tanh(5 * progress)  # = 2 / (1 + exp(-10 p)) - 1


class DomainAdversarial(Objective):
    """Phase "adaptation". `steps` of the training are p = 1; `strength` multiplies lambda_p.

    Logs `class`, and `domain`: the critic's loss in telling the domains, nats; neither way is better: log 2 is a draw.
    `domain_accuracy`: share of domains told right; neither way is better: 0.5 is a draw.
    """

    step: Tensor

    def __init__(self, *, steps: int, strength: float) -> None:
        super().__init__()
        check(strength >= 0, "strength", strength, "0 or more")
        self.steps, self.strength = max(steps, 1), strength
        self.register_buffer("step", torch.zeros(()))

    def adaptation(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], batch["label"] of the source and batch["x_b"] of the target."""
        x, label, target = two_domains(batch)
        source_code, target_code = model.encode(torch.cat([x, target])).split([len(x), len(target)])
        class_loss = F.cross_entropy(model.head(source_code), label)
        scale = self.strength * strength_at(self.step / self.steps)
        real, fake = (model.critic(reverse_gradient(code, scale))[:, 0] for code in (source_code, target_code))
        domain_loss = logistic_critic_loss(real, fake) / 2
        right = torch.cat([real > 0, fake <= 0]).float().mean()
        return Loss(class_loss + domain_loss, {"class": class_loss, "domain": domain_loss, "domain_accuracy": right})

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """One step further."""
        self.step += 1


def dann(
    *,
    config: ClassifierConfig = ClassifierConfig(data_shape=(2,), num_classes=2),
    steps: int = 2500,
    batch_size: int = 64,
    strength: float = 1.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`strength`: lambda at the end; 0 trains on the source alone (the critic learns on)."""
    phase = Phase(name="adaptation", parts=("encoder", "head", "critic"), optimizer=Adam(learning_rate=learning_rate))
    objective = DomainAdversarial(steps=steps, strength=strength)
    return Recipe(
        name="dann",
        model=DomainClassifier,
        config=config,
        stages=(Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
        data="moons",
    )
