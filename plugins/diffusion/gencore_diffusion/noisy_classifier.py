"""The noise-conditional classifier of classifier guidance (Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image
Synthesis", arXiv:2105.05233, section 4).

    loss = E -log p(y | x0 + sigma eps, sigma)
for sigma over the range of the diffusion model that it will steer. Its slope in x is what guidance adds to the score
(equation 13; `gencore_diffusion.samplers.guidance`), so that it must know the class of what the sampler shows it:
noise, at first. A classifier of clean data does not.

Deviations: log sigma is drawn uniformly, not through a schedule's timesteps, so that one classifier serves models of
any schedule; the downward half of this family's U-Net ends in a mean over places instead of attention pooling; or a
dense network; a weight average.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import EMA, Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.objective import Batch
from gencore_diffusion.networks.build import DenseConfig, DenseNetwork, check_image, network_config
from gencore_diffusion.networks.embedding import log_level
from gencore_diffusion.networks.unet import UNetConfig, down_path, fold, level_embedding, run_part
from gencore_diffusion.parts.denoiser import check_labels, noise_levels
from gencore_diffusion.parts.objective import noised, warm_up
from gencore_diffusion.parts.parametrization import column, preserving_scale

SYSTEM = SystemSpec(
    name="noisy-classifier",
    summary="p(y | x; sigma) of noisy data, to steer an unconditional model (classifier guidance)",
    paper=Paper(
        title="Diffusion Models Beat GANs on Image Synthesis",
        authors="Dhariwal & Nichol",
        year=2021,
        arxiv="2105.05233",
    ),
    model="NoisyClassifier",
    recipe="noisy_classifier",
    roles=("critic",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoisyClassifierConfig(ModelConfig):
    """`sigma_min`, `sigma_max`: noise levels in units of the data; no less than the range of the model to steer."""

    data_shape: tuple[int, ...] = (1, 32, 32)
    network: UNetConfig | DenseConfig = dataclasses.field(default_factory=UNetConfig)
    num_classes: int = 10
    sigma_min: float = 0.002
    sigma_max: float = 160.0

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")
        check(0 < self.sigma_min < self.sigma_max, "sigma_min", self.sigma_min, f"0 < it < sigma_max {self.sigma_max}")


class DownNetwork(nn.Module):
    """The downward half of the U-Net, normalised, averaged over places, and a linear layer."""

    def __init__(self, config: UNetConfig, *, image_channels: int, outputs: int) -> None:
        super().__init__()
        self.patch = config.patch_size
        self.embedding = level_embedding(config, None)
        self.stem = nn.Conv2d(image_channels * self.patch**2, config.channels[0], 3, padding=1)
        self.down, widths = down_path(config)
        self.norm = nn.GroupNorm(config.norm_groups, widths[-1], eps=config.norm_eps)
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor, level: Tensor, label: None) -> Tensor:
        """x (N, C, H, W), level (N,) -> (N, outputs)."""
        embedded = self.embedding(level, label)
        x = self.stem(fold(x, self.patch))
        for part in self.down:
            x = run_part(part, x, embedded)
        return self.head(F.silu(self.norm(x)).mean((2, 3)))


class NoisyClassifier(Model):
    """`classifier(x, sigma)` are logits at noise level sigma: what `ClassifierGuided` takes."""

    config_class = NoisyClassifierConfig
    config: NoisyClassifierConfig
    regions = ("network",)

    def __init__(self, config: NoisyClassifierConfig) -> None:
        super().__init__(config)
        shape, classes = config.data_shape, config.num_classes
        self.network: DenseNetwork | DownNetwork
        if isinstance(config.network, DenseConfig):
            self.network = DenseNetwork(config.network, data_shape=shape, num_classes=None, out_shape=(classes,))
        else:
            check_image(config.network, shape)
            self.network = DownNetwork(config.network, image_channels=shape[0], outputs=classes)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Logits (N, num_classes) for x (N, *data_shape) = x0 + sigma eps and sigma (N,) float64."""
        return self.network(x * column(preserving_scale(sigma), x), log_level(sigma).float(), None)

    def judge(self, x: Tensor, *, condition: Tensor | None = None, sigma: Tensor | float | None = None) -> Tensor:
        """log p(y | x; sigma) in nats: (N, num_classes), or (N,) of the labels `condition` (N,).

        x: (N, *data_shape), of noise level `sigma`, a number or (N,); None: sigma_min, for clean data. Raises
        GencoreError for labels or levels that do not fit.
        """
        levels = noise_levels(self.config.sigma_min if sigma is None else sigma, x)
        logs = self(x, levels).log_softmax(1)
        if condition is None:
            return logs
        return logs.gather(1, check_labels(condition, len(x), self.config.num_classes)[:, None])[:, 0]

    def draw_sigma(self, count: int) -> Tensor:
        """(count,) float64 noise levels of a training batch, log sigma uniform, from torch's global stream."""
        low, high = math.log(self.config.sigma_min), math.log(self.config.sigma_max)
        return (low + (high - low) * torch.rand(count, dtype=torch.float64)).exp()


class NoisyClassification(Objective):
    """Phase "classifier": cross-entropy on noised examples; batches need "label".

    Logs `accuracy`: share of noised examples named right, over all noise levels; higher is better.
    """

    def classifier(self, model: NoisyClassifier, batch: Batch) -> Loss:
        """Of batch["x"] and batch["label"], nats."""
        if "label" not in batch:
            raise GencoreError("A classifier needs a label with every example; the data have none.")
        noisy, sigma = noised(model, batch["x"])
        labels = check_labels(batch["label"], len(noisy), model.config.num_classes)
        logits = model(noisy, sigma)
        return Loss(F.cross_entropy(logits, labels), {"accuracy": (logits.argmax(1) == labels).float().mean()})


def noisy_classifier(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    num_classes: int = 10,
    steps: int = 5_000,
    batch_size: int = 64,
    network: Literal["unet", "dense"] = "unet",
    width: int = 32,
    depth: int = 1,
    levels: int = 2,
    sigma_min: float = 0.002,
    sigma_max: float = 160.0,
    learning_rate: float = 5e-4,
    ema_half_life: float = 500.0,
) -> Recipe:
    """`width`, `depth`, `levels`: see networks.network_config. The default range holds that of ddpm, ncsn and edm."""
    chosen = network_config(network, width=width, depth=depth, levels=levels)
    if not isinstance(chosen, UNetConfig | DenseConfig):
        raise GencoreError(f'network is {network!r}; expected "unet" or "dense" for a classifier.')
    phase = Phase(
        name="classifier",
        parts=("network",),
        optimizer=Adam(learning_rate=learning_rate),
        max_gradient_norm=1.0,
        schedule=warm_up,
    )
    return Recipe(
        name="noisy-classifier",
        model=NoisyClassifier,
        config=NoisyClassifierConfig(
            data_shape=data_shape, network=chosen, num_classes=num_classes, sigma_min=sigma_min, sigma_max=sigma_max
        ),
        stages=(Stage(objective=NoisyClassification(), phases=(phase,), steps=steps),),
        batch_size=batch_size,
        ema=(EMA.half_life(ema_half_life),),
    )
