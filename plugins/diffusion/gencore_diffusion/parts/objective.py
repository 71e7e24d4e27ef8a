"""The one objective of the family: denoising score matching in the network's own units.

With x = x0 + sigma eps and F the network's prediction,

    loss = mean || F - (x0 - skip x) / out ||^2   =   1/out(sigma)^2 mean || denoise(x, sigma) - x0 ||^2

which is, for its own skip and out, each paper's own loss: DDPM's L_simple (arXiv:2006.11239, equation 14), Song &
Ermon's l(sigma) with weight sigma^2 (arXiv:1907.05600, equations 5 and 6), EDM's with lambda = 1/out^2
(arXiv:2206.00364, equation 8), v-prediction's with weight 1 + SNR (arXiv:2202.00512, section 4).
That || s(x) - grad log q(x | x0) ||^2 has the same minimiser as score matching is Vincent 2011's theorem.
Classifier-free guidance: each label is dropped with a probability (Ho & Salimans 2022, arXiv:2207.12598, Algorithm 1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore import Adam, Loss, Objective, Phase, Stage
from gencore.config import check
from gencore.errors import GencoreError
from gencore.objective import Batch
from gencore_diffusion.parts.parametrization import column, from_x0


class DenoisingScoreMatching(Objective):
    """Phase "denoiser". `label_drop`: the probability that an example is shown without its label."""

    def __init__(self, *, label_drop: float = 0.1) -> None:
        super().__init__()
        check(0 <= label_drop <= 1, "label_drop", label_drop, "a probability")
        self.label_drop = label_drop

    def denoiser(self, model: Any, batch: Batch) -> Loss:
        """Of batch["x"], and batch["label"] where the model takes labels."""
        clean = batch["x"]
        noisy, sigma = noised(model, clean)
        prediction = model.predict(noisy, sigma, self.labels(model, batch))
        target = from_x0(clean, noisy, model.scalings(sigma))
        return Loss((prediction - target).square().mean())

    def labels(self, model: Any, batch: Batch) -> Tensor | None:
        """The batch's labels, some of them dropped; None for an unconditional model."""
        if model.config.num_classes is None:
            return None
        if "label" not in batch:
            raise GencoreError("This model takes a label with every example; the data have none.")
        given = batch["label"]
        labels, null = model.labels(given, len(given)), model.labels(None, len(given))
        return torch.where(torch.rand(len(given), device=given.device) < self.label_drop, null, labels)


def noised(model: Any, clean: Tensor) -> tuple[Tensor, Tensor]:
    """x0 + sigma eps and sigma (N,) float64, at the model's training levels, from torch's global streams."""
    sigma = model.draw_sigma(len(clean)).to(clean.device)
    return clean + column(sigma, clean) * torch.randn_like(clean), sigma


def check_label_drop(num_classes: int | None, label_drop: float) -> None:
    """Raise GencoreError where a class-conditional recipe would never train one of guidance's two predictions."""
    if num_classes is not None and not 0 < label_drop < 1:
        raise GencoreError(
            f"label_drop is {label_drop}; expected 0 < label_drop < 1, such as 0.1: guidance needs predictions with "
            "and without the label."
        )


def denoising_stages(objective: Objective, *, steps: int, learning_rate: float) -> tuple[Stage, ...]:
    """One stage, one phase: Adam on the network, gradients clipped to norm 1, the rate warmed up."""
    phase = Phase(
        name="denoiser",
        parts=("network",),
        optimizer=Adam(learning_rate=learning_rate),
        max_gradient_norm=1.0,
        schedule=warm_up,
    )
    return (Stage(objective=objective, phases=(phase,), steps=steps),)


def warm_up(iteration: int) -> float:
    """A linear rise to 1 over 200 iterations."""
    return min(1.0, (iteration + 1) / 200)
