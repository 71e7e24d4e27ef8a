"""M1, a classifier on the latents of a VAE (Kingma, Rezende, Mohamed & Welling 2014, "Semi-supervised Learning with
Deep Generative Models", arXiv:1406.5298, section 2.1, "Latent-feature discriminative model").

    all images        maximise  E_q(z|x) log p(x | z) - KL(q(z | x) || N(0, I))          the VAE's bound, equation 5
    labelled images   minimise  E_q(z|x) CE(y, softmax(W z + b)),  q and p frozen        multinomial regression
The classifier is trained on samples of q(z | x), as in the paper, and asked at its mean. Its features, the VAE's
latents, have seen no label; M2 (`semi-supervised-vae`) lets the labels shape them.

Deviations: of the paper's two classifiers the linear one, not the transductive support vector machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.data import Source, subset
from gencore.data.by_class import few_labels
from gencore.noise import GlobalNoise
from gencore_vae.parts.networks import VAEConfig
from gencore_vae.vae import VAE, VariationalBound, one_player

SYSTEM = SystemSpec(
    name="latent-classifier-vae",
    summary="M1: a linear classifier on the latents of a VAE, from a few labelled and many unlabelled images",
    paper=Paper(
        title="Semi-supervised Learning with Deep Generative Models",
        authors="Kingma, Rezende, Mohamed & Welling",
        year=2014,
        arxiv="1406.5298",
    ),
    model="LatentClassifierVAE",
    recipe="latent_classifier_vae",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8, "num_labels": 10},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LatentClassifierVAEConfig(VAEConfig):
    """The VAE's, and the number of classes."""

    num_classes: int = 10

    def __post_init__(self) -> None:
        VAEConfig.__post_init__(self)
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")


class LatentClassifierVAE(VAE):
    """`encoder`, `decoder`, and `classifier`, linear on z."""

    config_class = LatentClassifierVAEConfig
    config: LatentClassifierVAEConfig

    def __init__(self, config: LatentClassifierVAEConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.latent_dim, config.num_classes)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> logits (N, num_classes), at the mean of q(z | x)."""
        return self.classifier(self.encode(x).mean)


class LatentClassification(Objective):
    """Phase "classifier": cross-entropy in nats on batch["x"], batch["label"], one z ~ q(z | x) an image.

    Logs `accuracy`.
    """

    def classifier(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Mean over the batch, with the accuracy."""
        x, label = batch["x"], batch["label"]
        logits = model.classifier(model.encode(x).draw(GlobalNoise(len(x), x.device))[0])
        return Loss(F.cross_entropy(logits, label), {"accuracy": (logits.argmax(1) == label).float().mean()})


def latent_classifier_vae(
    *,
    config: LatentClassifierVAEConfig = LatentClassifierVAEConfig(data_shape=(1, 8, 8), latent_dim=16),
    steps: int = 4000,
    classifier_steps: int | None = None,
    batch_size: int = 64,
    num_labels: int = 100,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_labels` examples, equally many of each class, keep their labels. `classifier_steps`: of the second stage, a
    quarter of `steps` if None. The classifier learns at ten times `learning_rate`."""
    given = config.likelihood
    check(given != "bernoulli", "likelihood", given, '"gaussian" or "gaussian-diagonal", of the pictures as they are')
    parts = ("encoder", "decoder")

    def few(source: Source, model: Model) -> Source:
        return subset(source, few_labels(source, config.num_classes, num_labels, batch_size))

    classifier = Phase(name="classifier", parts=("classifier",), optimizer=Adam(learning_rate=10 * learning_rate))
    return Recipe(
        name="latent-classifier-vae",
        model=LatentClassifierVAE,
        config=config,
        stages=(
            *one_player(VariationalBound(), steps=steps, learning_rate=learning_rate, parts=parts),
            Stage(
                name="classifier",
                objective=LatentClassification(),
                phases=(classifier,),
                steps=steps // 4 if classifier_steps is None else classifier_steps,
                data=few,
                frozen=parts,
            ),
        ),
        batch_size=batch_size,
    )
