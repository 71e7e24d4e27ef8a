"""DDPM (Ho, Jain & Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239).

    q(x_t | x0) = N(sqrt(abar_t) x0, (1 - abar_t))                                        (equation 4)
    loss        = E || eps - F(sqrt(abar_t) x0 + sqrt(1 - abar_t) eps, t) ||^2, t uniform  (equation 14, Algorithm 1)
In this family's coordinates x = x_t / sqrt(abar_t) = x0 + sigma_t eps, sigma_t = sqrt((1 - abar_t) / abar_t).
Also: the cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17), x0- and v-prediction (Salimans &
Ho 2022, arXiv:2202.00512), labels with classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), learned
variances (Nichol & Dhariwal: `gencore_diffusion.parts.learned_variance`).

Deviations: a small U-Net; a weight average by half-life. Between two trained levels the network is told the t that
is linear in log sigma, so that any sampler may ask for any sigma in the trained range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gencore import EMA, ModelConfig, Paper, Recipe, Sampler, SystemSpec
from gencore.config import check
from gencore_diffusion.networks.build import NetworkConfig, NetworkName, build_network, for_pictures, network_config
from gencore_diffusion.networks.unet import UNetConfig
from gencore_diffusion.parts import schedules
from gencore_diffusion.parts.denoiser import Denoiser
from gencore_diffusion.parts.learned_variance import LearnedVariance
from gencore_diffusion.parts.objective import DenoisingScoreMatching, check_label_drop, denoising_stages
from gencore_diffusion.parts.parametrization import Scalings, preserving_scale, scalings
from gencore_diffusion.parts.reverse_variance import check_learned
from gencore_diffusion.samplers.names import SAMPLERS, DDIMSampler

SYSTEM = SystemSpec(
    name="ddpm",
    summary="Discrete noise levels; predicts eps, x0 or v; classifier-free guidance",
    paper=Paper(
        title="Denoising Diffusion Probabilistic Models",
        authors="Ho, Jain & Abbeel",
        year=2020,
        arxiv="2006.11239",
    ),
    model="DDPM",
    recipe="ddpm",
    sized="sized",
    roles=("sampler",),
    claims=("compiles", "conditional"),
    tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8, "num_timesteps": 20},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DDPMConfig(ModelConfig):
    """`betas` overrides `schedule` (another library's model); it is then a number for each of `num_timesteps`.
    `variance` learned: the network has a second half of channels, v of gencore_diffusion.parts.learned_variance."""

    data_shape: tuple[int, ...] = (1, 32, 32)
    network: NetworkConfig = dataclasses.field(default_factory=UNetConfig)
    num_timesteps: int = 1000
    schedule: Literal["linear", "cosine"] = "linear"
    betas: tuple[float, ...] | None = None
    prediction: Literal["eps", "x0", "v"] = "eps"
    num_classes: int | None = None
    variance: Literal["fixed", "learned"] = "fixed"
    version: ClassVar[int] = 2
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
        1: lambda data: {**data, "variance": "fixed"}
    }

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.num_timesteps >= 2, "num_timesteps", self.num_timesteps, "at least 2")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")
        check(self.variance in ("fixed", "learned"), "variance", self.variance, '"fixed" or "learned"')
        scalings(self.prediction, torch.ones(()))
        if self.betas is not None:
            fits = len(self.betas) == self.num_timesteps and all(0 < beta < 1 for beta in self.betas)
            check(fits, "betas", self.betas, f"{self.num_timesteps} numbers between 0 and 1")


class DDPM(Denoiser):
    """A network that predicts eps, x0 or v at T discrete noise levels."""

    config_class = DDPMConfig
    config: DDPMConfig
    samplers = SAMPLERS
    preserves_variance = True

    def __init__(self, config: DDPMConfig) -> None:
        super().__init__(config)
        self.network = build_network(
            config.network,
            data_shape=config.data_shape,
            num_classes=config.num_classes,
            outputs=2 if self.learns_variance else 1,
        )
        with torch.device("cpu"):
            betas = (
                schedules.betas(config.schedule, config.num_timesteps)
                if config.betas is None
                else torch.tensor(config.betas, dtype=torch.float64)
            )
            self.alphas_cumprod = schedules.alphas_cumprod(betas)
            self.sigmas = schedules.sigmas_of(self.alphas_cumprod)

    @property
    def sigma_min(self) -> float:
        """sigma of t = 1."""
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        """sigma of t = T."""
        return self.sigmas[-1].item()

    @property
    def learns_variance(self) -> bool:
        """Whether the network tells the variance of the reverse steps."""
        return self.config.variance == "learned"

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """F, as `Denoiser.predict`."""
        return super().predict(x, sigma, labels)[:, : x.shape[1]]

    def predict_with_variance(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """F and v (gencore_diffusion.parts.learned_variance), each of x's shape; GencoreError where none is learned."""
        check_learned(self)
        first, second = super().predict(x, sigma, labels).chunk(2, 1)
        return first, second

    def scalings(self, sigma: Tensor) -> Scalings:
        """Those of the prediction."""
        return scalings(self.config.prediction, sigma)

    def input_scale(self, sigma: Tensor) -> Tensor:
        """sqrt(abar): the network sees x_t."""
        return preserving_scale(sigma)

    def level(self, sigma: Tensor) -> Tensor:
        """t counted from 0, exact at the trained levels, linear in log sigma between them."""
        known = self.sigmas.to(sigma.device).log()
        wanted = sigma.log()
        above = torch.searchsorted(known, wanted.contiguous()).clamp(1, len(known) - 1)
        share = (wanted - known[above - 1]) / (known[above] - known[above - 1])
        return above - 1 + share.clamp(0, 1)

    def grid(self, steps: int) -> list[float]:
        """Timesteps evenly from T to 1, rounded."""
        total = len(self.sigmas)
        check(1 <= steps <= total, "the number of steps", steps, f"1 to {total}, the model's num_timesteps")
        places = torch.linspace(total - 1, 0, steps, dtype=torch.float64).round().long()
        return self.sigmas[places].tolist()

    def draw_sigma(self, count: int) -> Tensor:
        """Timesteps uniformly."""
        return self.sigmas[torch.randint(len(self.sigmas), (count,))]

    def default_sampler(self) -> Sampler:
        """DDIM in 50 steps, x0 clamped to [-1, 1] where the data are images."""
        clip = 1.0 if len(self.data_shape) == 3 else None
        return DDIMSampler(steps=min(50, self.config.num_timesteps), clip=clip)


def sized(data_shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """For pictures whose sides are 24 and more and multiples of 4 the cosine schedule, v-prediction, a U-Net of three
    levels of 16, 32 and 32 channels, 5,000 iterations of batches of 32 (a quarter of an hour); from 48 pixels on 48, 96
    and 96 channels on patches of 4 x 4, from 96 on of 8 x 8, and x0-prediction: the noise that v has in it does not fit
    through the channels of a patch (Li & He 2025, arXiv:2511.13720)."""
    network = for_pictures(data_shape, given)
    return network and {**network, "schedule": "cosine", "prediction": "v" if network["patch_size"] == 1 else "x0"}


def ddpm(
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
    num_timesteps: int = 1000,
    schedule: Literal["linear", "cosine"] = "linear",
    prediction: Literal["eps", "x0", "v"] = "eps",
    variance: Literal["fixed", "learned"] = "fixed",
    bins: int | None = 256,
    label_drop: float = 0.1,
    learning_rate: float = 5e-4,
    ema_half_life: float = 500.0,
) -> Recipe:
    """`width`, `depth`, `levels`, `patch_size`: see networks.network_config. `num_classes`: class-conditional, labels
    dropped with probability `label_drop`. `variance` learned: see learned_variance, for data of `bins` levels (null:
    a density). `ema_half_life`: in iterations."""
    check_label_drop(num_classes, label_drop)
    return Recipe(
        name="ddpm",
        model=DDPM,
        config=DDPMConfig(
            data_shape=data_shape,
            network=network_config(
                network, width=width, depth=depth, levels=levels, patch_size=patch_size, clean=prediction == "x0"
            ),
            num_timesteps=num_timesteps,
            schedule=schedule,
            prediction=prediction,
            num_classes=num_classes,
            variance=variance,
        ),
        stages=denoising_stages(
            LearnedVariance(label_drop=label_drop, bins=bins)
            if variance == "learned"
            else DenoisingScoreMatching(label_drop=label_drop),
            steps=steps,
            learning_rate=learning_rate,
        ),
        batch_size=batch_size,
        ema=(EMA.half_life(ema_half_life),),
    )
