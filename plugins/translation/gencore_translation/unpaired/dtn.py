"""Domain transfer network (Taigman, Polyak & Wolf 2017, "Unsupervised Cross-Domain Image Generation",
arXiv:1611.02200).

G = g(f(x)): a fixed f, trained beforehand on the labelled source domain s, and a decoder g that draws in the target
domain t. D names one of three kinds: G of the source (1), G of the target (2), real target pictures (3).
    critic      -E log D_1(G(s)) - E log D_2(G(t)) - E log D_3(t)                                          (equation 3)
    translator  -E log D_3(G(s)) - E log D_3(G(t))                                                         (equation 4)
                + alpha E |f(s) - f(G(s))|^2                                                               (equation 5)
                + beta E |t - G(t)|^2                                                                      (equation 6)
                + gamma TV(G(s))                                                                           (equation 7)
f must see the same things in both domains: here the log probabilities of a classifier that is trained on source
pictures and on their inverses, so that it does not depend on contrast. With the features under them the class was lost
in every setting tried. Either alpha or beta alone keeps the class; without both nothing does.

Deviations: small networks; f's codes are log probabilities, clamped at -`FLOOR` nats.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.recipes import later_steps

from ..parts.domains import both_domains, two_domains
from ..parts.paired import check_pictures
from ..parts.terms import weighted_sum

SYSTEM = SystemSpec(
    name="dtn",
    summary="A fixed classifier's view of a picture, drawn again in another domain; a critic of three kinds",
    paper=Paper(
        title="Unsupervised Cross-Domain Image Generation",
        authors="Taigman, Polyak & Wolf",
        year=2017,
        arxiv="1611.02200",
    ),
    model="DTN",
    recipe="dtn",
    roles=("encoder", "generator", "critic"),
    traits=("translate", "classify"),
    claims=("exact-data-parallel",),
    tiny={"hidden": (16,), "batch_size": 8},
)

FLOOR = 8.0
FROM_SOURCE, FROM_TARGET, REAL = 0, 1, 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DTNConfig(ModelConfig):
    """Dense networks on flattened pictures. `num_classes`: of the source's labels, on which f is trained."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    hidden: tuple[int, ...] = (256,)

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2: a labelled source domain")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")


class DTN(Model):
    """`classifier` is f, `generator` g, `critic` D."""

    config_class = DTNConfig
    config: DTNConfig
    regions = ("classifier", "generator", "critic")

    def __init__(self, config: DTNConfig) -> None:
        super().__init__(config)
        size, classes = math.prod(config.data_shape), config.num_classes
        self.classifier = nn.Sequential(nn.Flatten(), mlp((size, *config.hidden, classes)))
        drawn = mlp((classes, *config.hidden, size))
        self.generator = nn.Sequential(drawn, nn.Unflatten(1, config.data_shape), nn.Tanh())
        self.critic = nn.Sequential(nn.Flatten(), mlp((size, *config.hidden, 3)))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, *data_shape) of any of both domains -> f, log probabilities (N, num_classes)."""
        return self.classifier(x).log_softmax(1).clamp_min(-FLOOR)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes of f (N, num_classes) -> pictures (N, *data_shape) of the target domain."""
        drawn: Tensor = self.generator(z)
        return drawn

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, *data_shape) -> log probabilities (N, 3): drawn from source, drawn from target, real target."""
        return self.critic(x).log_softmax(1)

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, *data_shape) -> the same in the target domain; `to` is "b", or None for it."""
        check(to in (None, "b"), "to", to, '"b": this network has one direction')
        return self.generate(self.encode(x))

    def classify(self, x: Tensor) -> Tensor:
        """Pictures (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.encode(x).argmax(1)


class ContrastFreeClassification(Objective):
    """Phase "classifier": f on source pictures and their inverses, cross-entropy in nats.

    Logs `accuracy`.
    """

    def classifier(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], batch["label"]."""
        if "label" not in batch:
            raise GencoreError("The source domain has no labels, on which f is trained: take labelled data first.")
        x, label = torch.cat([batch["x"], -batch["x"]]), batch["label"].repeat(2)
        logits = model.classifier(x)
        return Loss(F.cross_entropy(logits, label), {"accuracy": (logits.argmax(1) == label).float().mean()})


class DomainTransfer(Objective):
    """Phases "critic" and "generator" on x, of the source, and x_b, of the target.

    Logs `game`, and `constancy`: mean square between the codes of a picture and of its drawing; lower is better.
    `identity`: mean square between pictures of the target domain and their drawings; lower is better. `variation`: mean
    change from place to place; neither way is better: little is smooth.
    """

    def __init__(self, *, alpha: float, beta: float, gamma: float) -> None:
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            check(value >= 0, name, value, "0 or more")
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The three kinds told apart."""
        source, target = both_domains(batch)
        with torch.no_grad():
            kinds = model.translate(source), model.translate(target), target
        return Loss(torch.stack([named(model.judge(x), kind) for kind, x in enumerate(kinds)]).sum())

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Both kinds of drawings look real; f is kept, the target too."""
        source, target = both_domains(batch)
        with torch.no_grad():
            code = model.encode(source)
        drawn, kept = model.generate(code), model.translate(target)
        game = named(model.judge(drawn), REAL) + named(model.judge(kept), REAL)
        return weighted_sum(
            {
                "game": (1.0, game),
                "constancy": (self.alpha, F.mse_loss(model.encode(drawn), code)),
                "identity": (self.beta, F.mse_loss(kept, target)),
                "variation": (self.gamma, total_variation(drawn)),
            }
        )


def named(log_probabilities: Tensor, kind: int) -> Tensor:
    """-E log D_kind from log probabilities (N, 3)."""
    return -log_probabilities[:, kind].mean()


def total_variation(x: Tensor) -> Tensor:
    """E sqrt((x_(i,j+1) - x_(i,j))^2 + (x_(i+1,j) - x_(i,j))^2) over places and channels of pictures (N, C, H, W)."""
    right = x[..., :-1, 1:] - x[..., :-1, :-1]
    down = x[..., 1:, :-1] - x[..., :-1, :-1]
    return (right.square() + down.square() + 1e-8).sqrt().mean()


def dtn(
    *,
    config: DTNConfig = DTNConfig(),
    steps: int = 300,
    translation_steps: int | None = None,
    batch_size: int = 64,
    alpha: float = 15.0,
    beta: float = 15.0,
    gamma: float = 0.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` of f on the labelled source domain, then `translation_steps` of g and D, None for four times as many.
    `alpha`, `beta`, `gamma`: the paper's, for f kept, the target kept, and smoothness."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=("generator",), optimizer=optimizer),
    )
    learned = Phase(name="classifier", parts=("classifier",), optimizer=Adam(learning_rate=learning_rate))
    return Recipe(
        name="dtn",
        model=DTN,
        config=config,
        stages=(
            Stage(name="classifier", objective=ContrastFreeClassification(), phases=(learned,), steps=steps),
            Stage(
                name="translation",
                objective=DomainTransfer(alpha=alpha, beta=beta, gamma=gamma),
                phases=phases,
                steps=later_steps(translation_steps, steps, 4),
                data=two_domains,
                frozen=("classifier",),
            ),
        ),
        batch_size=batch_size,
    )
