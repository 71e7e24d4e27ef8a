"""Classifier guidance (Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis", arXiv:2105.05233).

    grad log p(x | y; sigma) = grad log p(x; sigma) + scale grad log p(y | x; sigma)     (equation 13)
and since x0 = x + sigma^2 score, denoise becomes denoise + scale sigma^2 grad_x log p(y | x; sigma). The classifier
must have been trained on noisy x: system `noisy-classifier`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.noisy_classifier import NoisyClassifier, NoisyClassifierConfig
from gencore_diffusion.parts.denoiser import Denoises, check_labels
from gencore_diffusion.parts.parametrization import Scalings, column, to_x0

SLACK = 1 + 1e-6  # rounding of the levels


class ClassifierGuided:
    """`model`, without labels of its own, steered by `classifier` (x (N, ...), sigma (N,)) -> logits (N, K).

    Give it to any sampler with the wanted classes as condition. x is x0 + sigma eps, unscaled. `scale` 1 is Bayes'
    rule, 0 the model alone. Raises GencoreError for a NoisyClassifier of other data or of a narrower range.
    """

    def __init__(self, model: Denoises, classifier: Callable[[Tensor, Tensor], Tensor], *, scale: float = 1.0) -> None:
        check(math.isfinite(scale), "scale", scale, "a finite number")
        if isinstance(classifier, NoisyClassifier):
            check_fit(model, classifier.config)
        self.model, self.classifier, self.scale = model, classifier, scale
        self.data_shape, self.preserves_variance = model.data_shape, model.preserves_variance
        self.sigma_min, self.sigma_max = model.sigma_min, model.sigma_max

    def scalings(self, sigma: Tensor) -> Scalings:
        """`predict` is x0 itself."""
        return Scalings(torch.zeros_like(sigma), torch.ones_like(sigma))

    def labels(self, condition: Tensor | None, count: int) -> Tensor | None:
        """The wanted classes, (count,) int64. Raises GencoreError where there are none."""
        if condition is None or condition.shape != (count,) or condition.is_floating_point():
            raise GencoreError(f"Classifier guidance needs the wanted classes, ({count},) integers; got {condition}.")
        if isinstance(self.classifier, NoisyClassifier):
            return check_labels(condition, count, self.classifier.config.num_classes)
        return condition

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The guided x0."""
        assert labels is not None
        unconditional = self.model.labels(None, len(x))
        clean = to_x0(self.model.predict(x, sigma, unconditional), x, self.model.scalings(sigma))
        return clean + self.scale * column(sigma.square(), x) * self._slope(x, sigma, labels)

    def grid(self, steps: int) -> list[float]:
        """The model's."""
        return self.model.grid(steps)

    def _slope(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """grad_x log p(label | x; sigma)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            chosen = self.classifier(x, sigma).log_softmax(1).gather(1, labels[:, None])
            return torch.autograd.grad(chosen.sum(), x)[0]


def check_fit(model: Denoises, config: NoisyClassifierConfig) -> None:
    """Raise GencoreError unless the classifier knows the model's data and noise levels."""
    if tuple(config.data_shape) != tuple(model.data_shape):
        raise GencoreError(
            f"The classifier is for data of shape {tuple(config.data_shape)}, the model for {tuple(model.data_shape)}."
        )
    if model.sigma_max > config.sigma_max * SLACK or model.sigma_min < config.sigma_min / SLACK:
        raise GencoreError(
            f"The classifier was trained from sigma {config.sigma_min:.6g} to {config.sigma_max:.6g}, but the model "
            f"samples from {model.sigma_max:.6g} to {model.sigma_min:.6g}: train it with sigma_min and sigma_max that "
            "hold the model's range."
        )
