"""ADDA: a second encoder that takes the target domain to the source's codes (Tzeng et al. 2017, "Adversarial
Discriminative Domain Adaptation", CVPR, arXiv:1702.05464).

    1. source       min over M_s, C   E_s CE(C(M_s(x)), label)                                      (equation 6)
    2. adaptation   M_t starts as M_s, which stays as it is with C;
       critic       min over D        E_s sp(-D(M_s(x))) + E_t sp(D(M_t(x)))                        (equation 7)
       encoder      min over M_t      E_t sp(-D(M_t(x)))                                            (equation 8)
with sp(u) = log(1 + exp(u)). Target data are classified by C(M_t(x)). The inverted labels of equation 8 are not the
reversed gradient of equation 7: stronger at the start, and less stable.

Deviations: networks of gencore_adaptation.parts instead of LeNet; the paper fixes no length: a few hundred steps align
the moons, many more let the encoder wander.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore_adaptation.parts.networks import ClassifierConfig, DomainClassifier, encoder_of
from gencore_adaptation.parts.streams import two_domains

SYSTEM = SystemSpec(
    name="adda",
    summary="A target encoder that fools a critic of codes, from a source encoder that stays",
    paper=Paper(
        title="Adversarial Discriminative Domain Adaptation", authors="Tzeng et al.", year=2017, arxiv="1702.05464"
    ),
    model="ADDA",
    recipe="adda",
    roles=("encoder", "critic"),
    traits=("classify",),
    claims=("exact-data-parallel",),
    tiny={"data_shape": (2,), "num_classes": 2, "code_dim": 4, "width": 8, "batch_size": 8},
)


class ADDA(DomainClassifier):
    """`source` is M_s; `encoder` is M_t, of use from the second stage on; `head` is C and `critic` D."""

    regions = ()

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.source = encoder_of(config)


def begin_adaptation(model: Model) -> None:
    """M_t = M_s."""
    assert isinstance(model, ADDA)
    model.encoder.load_state_dict(model.source.state_dict())


class SourceClassification(Objective):
    """Phase "source".

    Logs `accuracy`.
    """

    def source(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Cross-entropy on batch["x"] and batch["label"]."""
        x, label, _ = two_domains(batch)
        logits = model.head(model.source(x))
        return Loss(F.cross_entropy(logits, label), {"accuracy": (logits.argmax(1) == label).float().mean()})


class CodeGame(Objective):
    """Phases "critic" and "encoder"."""

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Codes of the source by M_s against codes of the target by M_t."""
        x, _, target = two_domains(batch)
        with torch.no_grad():
            real, fake = model.source(x), model.encoder(target)
        return Loss(non_saturating.critic(model.critic(real), model.critic(fake)))

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Codes of the target, for the critic to take for the source's."""
        return Loss(non_saturating.generator(model.critic(model.encoder(two_domains(batch)[2]))))


def adda(
    *,
    config: ClassifierConfig = ClassifierConfig(data_shape=(2,), num_classes=2),
    steps: int = 1000,
    adaptation_steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    adaptation_learning_rate: float = 2e-4,
) -> Recipe:
    """`steps` of the first stage; `adaptation_steps` of the second, as many if None."""
    first = Phase(name="source", parts=("source", "head"), optimizer=Adam(learning_rate=learning_rate))
    optimizer = Adam(learning_rate=adaptation_learning_rate, betas=(0.5, 0.999))
    players = tuple(Phase(name=name, parts=(name,), optimizer=optimizer) for name in ("critic", "encoder"))
    return Recipe(
        name="adda",
        model=ADDA,
        config=config,
        stages=(
            Stage(name="source", objective=SourceClassification(), phases=(first,), steps=steps),
            Stage(
                name="adaptation",
                objective=CodeGame(),
                phases=players,
                steps=steps if adaptation_steps is None else adaptation_steps,
                begin=begin_adaptation,
                frozen=("source", "head"),
            ),
        ),
        batch_size=batch_size,
        data="moons",
    )
