"""DANN: features that do not tell the domain (Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", JMLR
17(59), arXiv:1505.07818).

    min over f, y   E_s CE(y(f(x)), label) - lambda L_d,   min over d   L_d                         (equations 12 to 14)
    L_d = E_s BCE(d(f(x)), 1) + E_t BCE(d(f(x)), 0), s the source domain and t the target           (equation 10)
in one step: d follows its own slope, and f that of L_d times -lambda, by gradient reversal (equations 15 to 17), with
    lambda_p = 2 / (1 + exp(-10 p)) - 1, p the part of the training that is done                    (section 5.2.2)

Deviations: L_d is the mean of the two expectations, not their sum, as in the authors' code; by default Adam at a
constant rate and small networks, which do for the moons. Pictures want the paper's: `network` "pooled" (figure 4a) and
`rule` "sgd", with momentum 0.9 and the rate mu_p = learning_rate / (1 + 10 p)^0.75. With the small encoder, whose code
is 100 numbers after a ReLU, under Adam, MNIST-M's pictures ended in one class. The paper leaves the networks of its toy
at one hidden layer. At 45 degrees and more the moons cannot be aligned: the features of the classes cross before they
meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import SGD, Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.config import check
from gencore.nn.dense import mlp
from gencore_adaptation.parts.networks import ClassifierConfig, DomainClassifier
from gencore_adaptation.parts.reversal import reverse_gradient
from gencore_adaptation.parts.streams import two_domains

SYSTEM = SystemSpec(
    name="dann",
    summary="A classifier whose features hide the domain, by gradient reversal",
    paper=Paper(
        title="Domain-Adversarial Training of Neural Networks", authors="Ganin et al.", year=2016, arxiv="1505.07818"
    ),
    model="DANN",
    recipe="dann",
    roles=("encoder", "critic"),
    traits=("classify",),
    claims=("compiles", "twice-differentiable", "exact-data-parallel"),
    tiny={"data_shape": (2,), "num_classes": 2, "code_dim": 4, "width": 8, "batch_size": 8},
)


LEAST_SIDE = 16  # of pictures through the pooled network: 16 -> 12 -> 6 -> 2 -> 1 places


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DANNConfig(ClassifierConfig):
    """`network`: "small", or the paper's for digits, "pooled", for pictures of any size from 16 pixels. With "pooled"
    the code is the map of features, flattened; `width` are the first layer's channels (32 in the paper) and `code_dim`
    the units of the hidden layers after the code (100 in the paper)."""

    network: Literal["small", "pooled"] = "small"

    def __post_init__(self) -> None:
        check(self.network in ("small", "pooled"), "network", self.network, '"small" or "pooled"')
        if self.network == "small":
            ClassifierConfig.__post_init__(self)
            return
        fits = len(self.data_shape) == 3 and min(self.data_shape[1:]) >= LEAST_SIDE
        check(fits, "data_shape", self.data_shape, f"pictures (channels, height, width) of {LEAST_SIDE} or more")
        for name in ("code_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")


def pooled_encoder(config: DANNConfig) -> tuple[nn.Sequential, int]:
    """Pictures (N, *data_shape) -> codes (N, D), not negative; and D. Two 5 x 5 convolutions, each pooled by halves."""
    channels, *sides = config.data_shape
    second = config.width * 3 // 2
    layers: list[nn.Module] = []
    for before, after in ((channels, config.width), (config.width, second)):
        layers += [nn.Conv2d(before, after, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        sides = [(side - 4) // 2 for side in sides]
    return nn.Sequential(*layers, nn.Flatten()), second * sides[0] * sides[1]


class DANN(DomainClassifier):
    """The family's classifier and critic, or the paper's, as `network` says."""

    config_class = DANNConfig
    config: DANNConfig

    def __init__(self, config: DANNConfig) -> None:
        super().__init__(config)
        if config.network == "pooled":
            hidden = config.code_dim
            self.encoder, features = pooled_encoder(config)
            self.head = mlp((features, hidden, hidden, config.num_classes), slope=0.0)
            self.critic = mlp((features, hidden, 1), slope=0.0)


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
    config: DANNConfig = DANNConfig(data_shape=(2,), num_classes=2),
    steps: int = 2500,
    batch_size: int = 64,
    strength: float = 1.0,
    rule: Literal["adam", "sgd"] = "adam",
    learning_rate: float | None = None,
) -> Recipe:
    """`strength`: lambda at the end; 0 trains on the source alone (the critic learns on). `rule`: "sgd" is the paper's,
    whose rate falls. `learning_rate`: by default 0.001 for Adam, 0.01 for SGD."""
    check(rule in ("adam", "sgd"), "rule", rule, '"adam" or "sgd"')
    rate = learning_rate if learning_rate is not None else {"adam": 1e-3, "sgd": 1e-2}[rule]
    phase = Phase(
        name="adaptation",
        parts=("encoder", "head", "critic"),
        optimizer=Adam(learning_rate=rate) if rule == "adam" else SGD(learning_rate=rate, momentum=0.9),
        schedule=None if rule == "adam" else lambda step: (1 + 10 * step / max(steps, 1)) ** -0.75,
    )
    objective = DomainAdversarial(steps=steps, strength=strength)
    return Recipe(
        name="dann",
        model=DANN,
        config=config,
        stages=(Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
        data="moons",
    )
