"""Training on attacks of the model itself (Goodfellow, Shlens & Szegedy 2015, "Explaining and Harnessing Adversarial
Examples", ICLR, arXiv:1412.6572, section 6).

    min   alpha J(x, y) + (1 - alpha) J(x + epsilon sign(grad_x J(x, y)), y),   alpha = 0.5
J is the cross-entropy; the attack is made anew with the weights of each step, and no gradient goes through it.
attack="pgd" takes the many-step attack from a random start of Madry et al. 2018 (arXiv:1706.06083, equation 2; with
alpha = 0 their equation 1).

Deviations: the family's convolutional classifier in place of a maxout network; epsilon is on the scale of [-1, 1], so
that the paper's 0.25 for MNIST is 0.5 here. At 8 x 8 pixels, where a stroke is one pixel wide, 0.5 erases digits; the
default is 0.25. Attacked pictures are not clipped to [-1, 1], as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.evaluation.attacks import fgsm, pgd
from gencore.noise import GlobalNoise
from gencore_adaptation.parts.networks import Classifier, ClassifierConfig

SYSTEM = SystemSpec(
    name="adversarial-training",
    summary="A classifier trained on attacks on itself, by FGSM or PGD",
    paper=Paper(
        title="Explaining and Harnessing Adversarial Examples",
        authors="Goodfellow, Shlens & Szegedy",
        year=2015,
        arxiv="1412.6572",
    ),
    model="RobustClassifier",
    recipe="adversarial_training",
    roles=("encoder", "critic"),
    traits=("classify",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 8, "width": 8, "batch_size": 8},
)

Attack = Literal["fgsm", "pgd"]


class RobustClassifier(Classifier):
    """The family's classifier, its logits for all to see, and to attack."""

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N, num_classes) logits."""
        return self.head(self.encode(x))


class AdversarialTraining(Objective):
    """Phase "classifier".

    Logs `clean` and `attacked`: cross-entropy, nats, of data and of attacked data; lower is better.
    `attacked_accuracy`: share of attacked data named right; higher is better.
    """

    def __init__(self, *, attack: Attack, epsilon: float, clean_weight: float, attack_steps: int) -> None:
        super().__init__()
        check(attack in ("fgsm", "pgd"), "attack", attack, '"fgsm" or "pgd"')
        check(epsilon >= 0, "epsilon", epsilon, "0 or more")
        check(0 <= clean_weight <= 1, "clean_weight", clean_weight, "a number in [0, 1]")
        check(attack_steps >= 1, "attack_steps", attack_steps, "at least 1")
        self.attack, self.epsilon, self.clean_weight, self.attack_steps = attack, epsilon, clean_weight, attack_steps

    def attacked(self, model: Any, x: Tensor, label: Tensor) -> Tensor:
        """x within epsilon of itself, where the loss is larger; detached."""
        if self.attack == "fgsm":
            return fgsm(model.judge, x, label, epsilon=self.epsilon)
        noise = GlobalNoise.like(x)
        return pgd(model.judge, x, label, epsilon=self.epsilon, steps=self.attack_steps, noise=noise)

    def classifier(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and batch["label"]."""
        if "label" not in batch:
            raise GencoreError(f"The batch has no labels, only {sorted(batch)}: a classifier needs labelled data.")
        x, label = batch["x"], batch["label"]
        clean = F.cross_entropy(model.judge(x), label)
        logits = model.judge(self.attacked(model, x, label))
        attacked = F.cross_entropy(logits, label)
        total = self.clean_weight * clean + (1 - self.clean_weight) * attacked
        right = (logits.argmax(1) == label).float().mean()
        return Loss(total, {"clean": clean, "attacked": attacked, "attacked_accuracy": right})


def adversarial_training(
    *,
    config: ClassifierConfig = ClassifierConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    attack: Attack = "fgsm",
    epsilon: float = 0.25,
    clean_weight: float = 0.5,
    attack_steps: int = 10,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`clean_weight` is alpha; 1 is ordinary training. `attack_steps`: of PGD."""
    objective = AdversarialTraining(
        attack=attack, epsilon=epsilon, clean_weight=clean_weight, attack_steps=attack_steps
    )
    phase = Phase(name="classifier", parts=("encoder", "head"), optimizer=Adam(learning_rate=learning_rate))
    return Recipe(
        name="adversarial-training",
        model=RobustClassifier,
        config=config,
        stages=(Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
    )
