"""NCSN (Song & Ermon 2019, "Generative Modeling by Estimating Gradients of the Data Distribution", arXiv:1907.05600).

    l(sigma) = 1/2 E || s(x + sigma eps, sigma) + eps / sigma ||^2,  weighted by sigma^2     (equations 5 and 6)
at L geometric levels sigma_1 > ... > sigma_L, drawn uniformly; sampling is annealed Langevin dynamics (Algorithm 1).
The network is s times sigma, which the paper finds of about constant size (section 4.2), so that the weighted loss is
|| F + eps ||^2, and denoise(x, sigma) = x + sigma F = x + sigma^2 s.

Deviations: one scalar network told log sigma instead of conditional instance normalisation; its input is divided by
sqrt(1 + sigma^2) (Song & Ermon 2020, arXiv:2006.09011, meet the same need by other means); a small U-Net; a weight
average, which the paper of 2020 adds.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gencore import EMA, ModelConfig, Paper, Recipe, Sampler, SystemSpec
from gencore.config import check
from gencore_diffusion.networks.build import NetworkConfig, NetworkName, build_network, network_config
from gencore_diffusion.networks.embedding import log_level
from gencore_diffusion.networks.unet import UNetConfig
from gencore_diffusion.parts import schedules
from gencore_diffusion.parts.denoiser import Denoiser, noise_levels
from gencore_diffusion.parts.objective import DenoisingScoreMatching, check_label_drop, denoising_stages
from gencore_diffusion.parts.parametrization import Scalings, from_x0, preserving_scale, scalings
from gencore_diffusion.samplers.langevin import AnnealedLangevinSampler
from gencore_diffusion.samplers.names import SAMPLERS

SYSTEM = SystemSpec(
    name="ncsn",
    summary="A score network at geometric noise levels, annealed Langevin dynamics",
    paper=Paper(
        title="Generative Modeling by Estimating Gradients of the Data Distribution",
        authors="Song & Ermon",
        year=2019,
        arxiv="1907.05600",
    ),
    model="NCSN",
    recipe="ncsn",
    roles=("sampler",),
    claims=("compiles", "conditional"),
    tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8, "num_levels": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NCSNConfig(ModelConfig):
    """Noise levels in units of the data: the largest about the data's diameter, the smallest invisible."""

    data_shape: tuple[int, ...] = (1, 32, 32)
    network: NetworkConfig = dataclasses.field(default_factory=UNetConfig)
    sigma_max: float = 10.0
    sigma_min: float = 0.01
    num_levels: int = 20
    num_classes: int | None = None

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.num_levels >= 2, "num_levels", self.num_levels, "at least 2")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")
        check(0 < self.sigma_min < self.sigma_max, "sigma_min", self.sigma_min, f"0 < it < sigma_max {self.sigma_max}")


class NCSN(Denoiser):
    """A noise-conditional score network: `score(x, sigma)` is grad log p(x; sigma)."""

    config_class = NCSNConfig
    config: NCSNConfig
    samplers = SAMPLERS

    def __init__(self, config: NCSNConfig) -> None:
        super().__init__(config)
        self.network = build_network(config.network, data_shape=config.data_shape, num_classes=config.num_classes)

    @property
    def sigma_min(self) -> float:
        """sigma_L."""
        return self.config.sigma_min

    @property
    def sigma_max(self) -> float:
        """sigma_1."""
        return self.config.sigma_max

    def scalings(self, sigma: Tensor) -> Scalings:
        """x0 = x + sigma F."""
        return Scalings(torch.ones_like(sigma), sigma)

    def input_scale(self, sigma: Tensor) -> Tensor:
        """1 / sqrt(1 + sigma^2)."""
        return preserving_scale(sigma)

    def level(self, sigma: Tensor) -> Tensor:
        """log sigma, scaled for the sinusoids."""
        return log_level(sigma)

    def grid(self, steps: int) -> list[float]:
        """Geometric levels from sigma_1 to sigma_L."""
        return schedules.geometric(self.sigma_max, self.sigma_min, steps)

    def draw_sigma(self, count: int) -> Tensor:
        """The L levels uniformly."""
        levels = torch.tensor(self.grid(self.config.num_levels), dtype=torch.float64)
        return levels[torch.randint(len(levels), (count,))]

    def score(self, x: Tensor, sigma: Tensor | float, condition: Tensor | None = None) -> Tensor:
        """grad log p(x; sigma), x's shape; arguments and errors as `denoise`."""
        clean = self.denoise(x, sigma, condition)
        return from_x0(clean, x, scalings("score", noise_levels(sigma, x)))

    def default_sampler(self) -> Sampler:
        """Annealed Langevin dynamics at the trained levels, as many steps and as large as their spacing asks."""
        return AnnealedLangevinSampler(steps=self.config.num_levels)


def ncsn(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    num_classes: int | None = None,
    steps: int = 10_000,
    batch_size: int = 64,
    network: NetworkName = "unet",
    width: int = 32,
    depth: int = 1,
    sigma_max: float = 10.0,
    sigma_min: float = 0.01,
    num_levels: int = 20,
    label_drop: float = 0.1,
    learning_rate: float = 5e-4,
    ema_half_life: float = 500.0,
) -> Recipe:
    """`width` and `depth`: see networks.network_config. `num_levels` geometric noise levels."""
    check_label_drop(num_classes, label_drop)
    return Recipe(
        name="ncsn",
        model=NCSN,
        config=NCSNConfig(
            data_shape=data_shape,
            network=network_config(network, width=width, depth=depth),
            sigma_max=sigma_max,
            sigma_min=sigma_min,
            num_levels=num_levels,
            num_classes=num_classes,
        ),
        stages=denoising_stages(
            DenoisingScoreMatching(label_drop=label_drop), steps=steps, learning_rate=learning_rate
        ),
        batch_size=batch_size,
        ema=(EMA.half_life(ema_half_life),),
    )
