"""EDM (Karras, Aittala, Aila & Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
arXiv:2206.00364).

    D(x, s) = skip x + out F(in x, log(s) / 4)                                  (equation 7, table 1)
    skip = d^2 / (s^2 + d^2),  out = s d / sqrt(s^2 + d^2),  in = 1 / sqrt(s^2 + d^2),  d = sigma_data
    loss = E lambda(s) || D(x0 + s eps, s) - x0 ||^2,  lambda = 1 / out^2,  log s ~ N(P_mean, P_std^2)  (equations 2, 8)
so that F's input, its target and the weighted loss at initialisation have unit variance at every noise level.

Deviations: a small U-Net, no augmentation, dropout as the network's config says; the sinusoids are given 1000 times the
paper's log(s) / 4. From 48 pixels on the U-Net works on patches and passes a share of the picture by, and P_mean is 0.3
and d 0.7 (the paper: -1.2 and 0.5).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gencore import EMA, ModelConfig, Paper, Recipe, Sampler, SystemSpec
from gencore.config import check
from gencore_diffusion.networks.build import NetworkConfig, NetworkName, build_network, for_pictures, network_config
from gencore_diffusion.networks.unet import UNetConfig
from gencore_diffusion.parts import schedules
from gencore_diffusion.parts.denoiser import Denoiser
from gencore_diffusion.parts.objective import DenoisingScoreMatching, check_label_drop, denoising_stages
from gencore_diffusion.parts.parametrization import Scalings
from gencore_diffusion.samplers.names import SAMPLERS, HeunSampler

SYSTEM = SystemSpec(
    name="edm",
    summary="A preconditioned denoiser at log-normal noise levels, Heun's sampler",
    paper=Paper(
        title="Elucidating the Design Space of Diffusion-Based Generative Models",
        authors="Karras, Aittala, Aila & Laine",
        year=2022,
        arxiv="2206.00364",
    ),
    model="EDM",
    recipe="edm",
    sized="sized",
    roles=("sampler",),
    claims=("compiles", "conditional"),
    tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8},
)

LEVEL_SCALE = 1000.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EDMConfig(ModelConfig):
    """`sigma_data`: the data's standard deviation. `p_mean`, `p_std`: of log sigma in training."""

    data_shape: tuple[int, ...] = (1, 32, 32)
    network: NetworkConfig = dataclasses.field(default_factory=UNetConfig)
    sigma_data: float = 0.5
    sigma_max: float = 80.0
    sigma_min: float = 0.002
    p_mean: float = -1.2
    p_std: float = 1.2
    num_classes: int | None = None

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.sigma_data > 0, "sigma_data", self.sigma_data, "a positive number")
        check(0 < self.sigma_min < self.sigma_max, "sigma_min", self.sigma_min, f"0 < it < sigma_max {self.sigma_max}")
        check(self.p_std > 0, "p_std", self.p_std, "a positive number")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")


class EDM(Denoiser):
    """A preconditioned denoiser."""

    config_class = EDMConfig
    config: EDMConfig
    samplers = SAMPLERS

    def __init__(self, config: EDMConfig) -> None:
        super().__init__(config)
        self.network = build_network(config.network, data_shape=config.data_shape, num_classes=config.num_classes)

    @property
    def sigma_min(self) -> float:
        """Where sampling stops before 0."""
        return self.config.sigma_min

    @property
    def sigma_max(self) -> float:
        """Where sampling begins."""
        return self.config.sigma_max

    def scalings(self, sigma: Tensor) -> Scalings:
        """skip and out of table 1."""
        return preconditioning(sigma, self.config.sigma_data)

    def input_scale(self, sigma: Tensor) -> Tensor:
        """in of table 1."""
        return (sigma.square() + self.config.sigma_data**2).rsqrt()

    def level(self, sigma: Tensor) -> Tensor:
        """log(sigma) / 4, scaled for the sinusoids."""
        return LEVEL_SCALE * sigma.log() / 4

    def grid(self, steps: int) -> list[float]:
        """Equation 5, rho = 7."""
        return schedules.karras(self.sigma_max, self.sigma_min, steps)

    def draw_sigma(self, count: int) -> Tensor:
        """Log-normal."""
        return (self.config.p_mean + self.config.p_std * torch.randn(count, dtype=torch.float64)).exp()

    def default_sampler(self) -> Sampler:
        """Heun in 18 steps, x0 clamped to [-1, 1] where the data are images."""
        return HeunSampler(clip=1.0 if len(self.data_shape) == 3 else None)


def preconditioning(sigma: Tensor, sigma_data: float) -> Scalings:
    """skip and out of table 1, for sigma > 0 of any shape."""
    total = sigma.square() + sigma_data**2
    return Scalings(sigma_data**2 / total, sigma * sigma_data / total.sqrt())


def sized(data_shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """For pictures whose sides are 24 and more and multiples of 4 a U-Net of three levels of 16, 32 and 32 channels,
    5,000 iterations of batches of 32 (a quarter of an hour); from 48 pixels on 48, 96 and 96 channels on patches of
    4 x 4, from 96 on of 8 x 8, and a log sigma of 0.3 +- 1.2: more pixels that tell the same need more noise to hide
    it."""
    network = for_pictures(data_shape, given)
    return network if network.get("patch_size", 1) == 1 else {**network, "p_mean": 0.3, "sigma_data": 0.7}


def edm(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    num_classes: int | None = None,
    steps: int = 10_000,
    batch_size: int = 64,
    network: NetworkName = "unet",
    width: int = 32,
    depth: int = 1,
    levels: int = 2,
    patch_size: int | None = None,
    sigma_data: float = 0.5,
    p_mean: float = -1.2,
    p_std: float = 1.2,
    label_drop: float = 0.1,
    learning_rate: float = 5e-4,
    ema_half_life: float = 500.0,
) -> Recipe:
    """`width`, `depth`, `levels` and `patch_size`: see networks.network_config. `sigma_data`: the data's standard
    deviation."""
    check_label_drop(num_classes, label_drop)
    return Recipe(
        name="edm",
        model=EDM,
        config=EDMConfig(
            data_shape=data_shape,
            network=network_config(network, width=width, depth=depth, levels=levels, patch_size=patch_size),
            sigma_data=sigma_data,
            p_mean=p_mean,
            p_std=p_std,
            num_classes=num_classes,
        ),
        stages=denoising_stages(
            DenoisingScoreMatching(label_drop=label_drop), steps=steps, learning_rate=learning_rate
        ),
        batch_size=batch_size,
        ema=(EMA.half_life(ema_half_life),),
    )
