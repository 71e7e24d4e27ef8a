"""Classification on an autoencoder's codes, with few labels (Bengio et al. 2006, "Greedy layer-wise training of deep
networks", NIPS; jointly: Ranzato & Szummer 2008, "Semi-supervised learning of compact document representations with
deep networks", ICML).

    two-stage   min E_x ||x - g(f(x))||^2, then with f frozen  min E_labelled CE(y, h(f(x)))
    fine-tune   the same, but f goes on learning in the second stage, at a tenth of the head's rate
    joint       min E_x ||x - g(f(x))||^2 + lambda E_labelled CE(y, h(f(x)))
h is linear. Expect little: codes beat those of an untrained encoder by far, but with an MLP on MNIST they are no better
than the raw pixels at 100 labels.

Deviations: the autoencoder is trained as a whole, not layer by layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.data import Source, labelled_and_unlabelled, subset
from gencore.data.by_class import few_labels
from gencore_ae.parts.losses import squared_error
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.reconstruction import Reconstruction, one_phase

SYSTEM = SystemSpec(
    name="autoencoder-classifier",
    summary="A linear classifier on codes, with few labels: two-stage, fine-tuned or joint",
    paper=Paper(
        title="Semi-Supervised Learning of Compact Document Representations with Deep Networks",
        authors="Ranzato & Szummer",
        year=2008,
    ),
    model="AutoencoderClassifier",
    recipe="autoencoder_classifier",
    roles=("encoder", "generator", "critic"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8, "hidden": (16,)},
)

Method = Literal["two-stage", "fine-tune", "joint"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderClassifierConfig(DenseAutoencoderConfig):
    """The autoencoder's, and the number of classes."""

    num_classes: int = 10

    def __post_init__(self) -> None:
        DenseAutoencoderConfig.__post_init__(self)
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")


class AutoencoderClassifier(DenseAutoencoder):
    """Encoder, decoder, and a linear head on the code."""

    config_class = AutoencoderClassifierConfig
    config: AutoencoderClassifierConfig

    def __init__(self, config: AutoencoderClassifierConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.code_dim, config.num_classes)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N, num_classes) logits."""
        return self.head(self.encode(x))


def classification(model: Any, batch: Mapping[str, Tensor]) -> Loss:
    """Cross-entropy of the head on batch["x"], batch["label"], in nats, with the accuracy."""
    logits = model.judge(batch["x"])
    accuracy = (logits.argmax(1) == batch["label"]).float().mean()
    return Loss(F.cross_entropy(logits, batch["label"]), {"accuracy": accuracy})


class Classification(Objective):
    """Phases "head", "encoder" and "network": each minimises the head's cross-entropy.

    Logs `accuracy`.
    """

    def head(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and batch["label"]."""
        return classification(model, batch)

    encoder = network = head


class JointObjective(Objective):
    """Phase "joint": reconstruction of batch["x_unlabelled"], and `weight` times the cross-entropy of the labelled.

    Logs `accuracy`, `reconstruction` and `cross_entropy`.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        check(weight >= 0, "label_weight", weight, "0 or more")
        self.weight = weight

    def joint(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Both streams, in one step."""
        unlabelled = batch["x_unlabelled"]
        reconstruction = squared_error(model.reconstruct(unlabelled), unlabelled).mean()
        labelled = classification(model, batch)
        total = reconstruction + self.weight * labelled.total
        return Loss(total, {"reconstruction": reconstruction, "cross_entropy": labelled.total, **labelled.metrics})


def autoencoder_classifier(
    *,
    config: AutoencoderClassifierConfig = AutoencoderClassifierConfig(data_shape=(1, 8, 8), code_dim=16, hidden=(128,)),
    steps: int = 1500,
    classifier_steps: int | None = None,
    batch_size: int = 64,
    method: Method = "two-stage",
    num_labels: int = 100,
    label_weight: float = 10.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_labels` examples, the same number of each class, keep their labels. `classifier_steps`: of the second
    stage, as many as `steps` if None. `label_weight` is lambda, for "joint".
    """
    optimizer = Adam(learning_rate=learning_rate)

    def labelled(source: Source) -> Tensor:
        return few_labels(source, config.num_classes, num_labels, batch_size)

    def few(source: Source, model: Model) -> Source:
        return subset(source, labelled(source))

    if method == "joint":
        stages: tuple[Stage, ...] = (
            Stage(
                name="joint",
                objective=JointObjective(label_weight),
                phases=(Phase(name="joint", parts=("encoder", "decoder", "head"), optimizer=optimizer),),
                steps=steps,
                data=lambda source, model: labelled_and_unlabelled(source, labelled(source)),
            ),
        )
    else:
        slow = Phase(name="encoder", parts=("encoder",), optimizer=Adam(learning_rate=0.1 * learning_rate))
        stages = (
            *one_phase(Reconstruction(), optimizer, steps=steps),
            Stage(
                name="classifier",
                objective=Classification(),
                phases=(
                    Phase(name="head", parts=("head",), optimizer=Adam(learning_rate=10 * learning_rate)),
                    *((slow,) if method == "fine-tune" else ()),
                ),
                steps=steps if classifier_steps is None else classifier_steps,
                data=few,
                frozen=("decoder",) if method == "fine-tune" else ("encoder", "decoder"),
            ),
        )
    return Recipe(
        name="autoencoder-classifier", model=AutoencoderClassifier, config=config, stages=stages, batch_size=batch_size
    )
