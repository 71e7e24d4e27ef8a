"""StyleGAN (Karras, Laine & Aila 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks",
arXiv:1812.04948).

    mapping      w = f(z), a multi-layer perceptron on z / rms(z), a hundred times slower than the rest   (section 2)
    synthesis    from a learned constant of 4 x 4; after each convolution noise, LeakyReLU and
                 AdaIN(x, y) = y_s (x - mean(x)) / std(x) + y_b, (y_s, y_b) = A w                        (equation 1)
    noise        one image of N(0, 1) for each layer, times a scale for each channel that begins at 0     (section 2)
    mixing       with probability 0.9 two codes make a picture, the second from a random layer on       (section 3.1)
    truncation   w' = w_avg + psi (w - w_avg), w_avg an average of w over the training                  (appendix B)
    losses       E sp(-D(x)) + E sp(D(G(z))) + 10/2 E ||grad D(x)||^2 for the critic, E sp(-D(G(z))) for the generator,
                 sp(u) = log(1 + exp(u))                                                                (appendix C)
The critic is that of gencore_gan.architectures.progressive_gan. A code is z and the noise images together; one of z
alone is without noise. Adam with rate 2e-3 and betas (0, 0.99), an average of the generator's weights to sample from.

Deviations: no growing; bilinear enlarging where the paper filters after enlarging by repetition; the critic halves by
averages; an average of decay 0.99, for trainings of thousands of steps.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from gencore import EMA, Adam, Loss, Model, ModelConfig, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial
from gencore.adversarial.penalties import R1
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes
from gencore.nn.conv import check_image_shape
from gencore.noise import GlobalNoise, Noise, NoiseSource
from gencore_gan.parts.equalised import EqualisedConv2d, EqualisedLinear, widened
from gencore_gan.parts.growing import channels_by_level, whole_critic
from gencore_gan.parts.styles import NoiseInput, for_layers, mapping_network, mixed, truncated

SYSTEM = SystemSpec(
    name="stylegan",
    summary="A mapping network's styles steer each layer of the generator; noise draws the details",
    paper=Paper(
        title="A Style-Based Generator Architecture for Generative Adversarial Networks",
        authors="Karras, Laine & Aila",
        year=2019,
        arxiv="1812.04948",
    ),
    model="StyleGAN",
    recipe="stylegan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "style_dim": 8, "mapping_layers": 2, "width": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleGANConfig(ModelConfig):
    """Square images of 4, 8, 16, ... pixels. `width`: channels at the full size, doubled at each halving, up to 16
    `width`. `style_dim`: numbers of w."""

    data_shape: tuple[int, int, int] = (1, 8, 8)
    latent_dim: int = 64
    style_dim: int = 64
    mapping_layers: int = 4
    width: int = 32

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check(self.data_shape[0] > 0, "data_shape", self.data_shape, "a positive number of channels")
        for name in ("latent_dim", "style_dim", "mapping_layers", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels by level, from 4 x 4."""
        return channels_by_level(self.data_shape[1], self.width)

    @property
    def sides(self) -> tuple[int, ...]:
        """The size of the maps of each layer; two layers a level."""
        return tuple(4 * 2**level for level in range(len(self.channels)) for _ in range(2))


def adaptive_instance_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float = 1e-8) -> Tensor:
    """Maps (N, C, H, W), each made normal over its places, with scale and shift (N, C)."""
    wide = widened(x)
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    normal = ((wide - mean) * (variance + eps).rsqrt()).to(x.dtype)
    return normal * rearrange(scale, "n c -> n c 1 1") + rearrange(shift, "n c -> n c 1 1")


class StyledLayer(nn.Module):
    """Noise, LeakyReLU and AdaIN on top of maps."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.noise = NoiseInput(channels)
        self.style = EqualisedLinear(style_dim, 2 * channels, gain=1.0)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """x (N, channels, H, W), w (N, style_dim), noise (N, 1, H, W)."""
        scale, shift = self.style(w).chunk(2, 1)
        return adaptive_instance_norm(leaky_relu(self.noise(x, noise), 0.2), 1 + scale, shift)


class Synthesis(nn.Module):
    """Styles and noise -> images of no fixed range."""

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        channels = [c for c in config.channels for _ in range(2)]
        self.sides = config.sides
        self.constant = nn.Parameter(torch.ones(channels[0], 4, 4))
        pairs = itertools.pairwise(channels)
        self.convolutions = nn.ModuleList(EqualisedConv2d(inputs, outputs, 3) for inputs, outputs in pairs)
        self.layers = nn.ModuleList(StyledLayer(c, config.style_dim) for c in channels)
        self.to_image = EqualisedConv2d(channels[-1], config.data_shape[0], 1, gain=1.0)

    def forward(self, styles: Tensor, noise: Tensor) -> Tensor:
        """styles (N, L, style_dim), noise (N, sum of side^2) -> (N, *data_shape)."""
        images = [
            rearrange(flat, "n (h w) -> n 1 h w", h=side)
            for flat, side in zip(noise.split([side**2 for side in self.sides], 1), self.sides, strict=True)
        ]
        x = self.constant.expand(len(styles), -1, -1, -1)
        for place, layer in enumerate(self.layers):
            if place:
                if self.sides[place] > self.sides[place - 1]:
                    x = interpolate(x, scale_factor=2, mode="bilinear")
                x = self.convolutions[place - 1](x)
            x = layer(x, styles[:, place], images[place])
        return self.to_image(x)


class StyleGAN(Model):
    """Mapping, synthesis, a critic, and the average of w."""

    config_class = StyleGANConfig
    config: StyleGANConfig
    regions = ("mapping", "synthesis", "critic")

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__(config)
        self.mapping = mapping_network(config.latent_dim, config.style_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)
        self.critic = whole_critic(config.channels, config.data_shape[0])
        self.style_average: Tensor
        self.register_buffer("style_average", torch.zeros(config.style_dim))

    def styles(self, z: Tensor) -> Tensor:
        """z (N, latent_dim or more, of which the rest is noise) -> w for each layer, (N, L, style_dim)."""
        return for_layers(self.mapping(z[:, : self.config.latent_dim]), len(self.config.sides))

    def synthesise(self, styles: Tensor, z: Tensor) -> Tensor:
        """Styles (N, L, style_dim) and the noise in codes z -> images of no fixed range."""
        noise = z[:, self.config.latent_dim :]
        if not noise.shape[1]:
            noise = z.new_zeros(len(z), sum(side**2 for side in self.config.sides))
        return self.synthesis(styles, noise)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes of `draw_prior`, or z (N, latent_dim) alone for no noise -> images (N, *data_shape) in [-1, 1]."""
        return self.synthesise(self.styles(z), z).clamp(-1, 1)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> (N,) logits, larger for real."""
        return rearrange(self.critic(x), "n 1 -> n")

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z and the noise images, all N(0, 1), (n, latent_dim + sum of side^2)."""
        return noise.normal(self.config.latent_dim + sum(side**2 for side in self.config.sides))

    def default_sampler(self) -> StyleSampler:
        """Without truncation: model.sample(n, truncation=0.7) asks for it."""
        return StyleSampler()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleSampler:
    """`truncation`: psi; 1 is none, 0 the picture of the average style, below 0 its opposite."""

    truncation: float = 1.0

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One image for each stream of noise."""
        z = model.draw_prior(noise)
        styles = truncated(model.styles(z), model.style_average, self.truncation)
        images: Tensor = model.synthesise(styles, z).clamp(-1, 1)
        if callback:
            callback(1, 1)
        return images


class Mixing:
    """The model as it trains: some pictures have two codes, and images are not clamped. Keeps the mean of w."""

    condition = None

    def __init__(self, model: Any, probability: float) -> None:
        self.model, self.probability = model, probability
        self.draw_prior, self.judge = model.draw_prior, model.judge

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes of `draw_prior` -> images of no fixed range; the noise is that of z throughout."""
        noise, styles = GlobalNoise.like(z), self.model.styles(z)
        others, layers = self.model.styles(noise.normal(self.model.config.latent_dim)), styles.shape[1]
        mix = noise.uniform() < self.probability
        crossover = torch.where(mix, 1 + noise.integers(layers - 1), layers)
        self.mean_style = styles[:, 0].detach().mean(0)
        return self.model.synthesise(mixed(styles, others, crossover), z)


class StyleAdversarial(Adversarial):
    """The non-saturating game with R1 and mixed styles; the model's average of w follows the generator's steps."""

    def __init__(self, *, r1: float, mixing: float, average_decay: float = 0.995) -> None:
        check(0 <= mixing <= 1, "mixing", mixing, "a probability")
        super().__init__(non_saturating, penalties=(R1(weight=r1),))
        self.mixing, self.average_decay = mixing, average_decay

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, on mixed styles."""
        return super().critic(Mixing(model, self.mixing), batch)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, on mixed styles."""
        view = Mixing(model, self.mixing)
        return super().generator(view, batch)._replace(seen=view.mean_style)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """w_avg <- decay w_avg + (1 - decay) mean of w, over all processes."""
        if phase == "generator":
            mean = sum_over_processes(torch.stack(list(seen)).mean(0).float()) / process_count()
            model.style_average.lerp_(mean, 1 - self.average_decay)


def stylegan(
    *,
    config: StyleGANConfig = StyleGANConfig(),
    steps: int = 2000,
    batch_size: int = 16,
    r1: float = 10.0,
    mixing: float = 0.9,
    learning_rate: float = 2e-3,
    ema_decay: float = 0.99,
) -> Recipe:
    """`r1`: the paper's gamma. `mixing`: the probability that a picture has two codes."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.99))
    generator = ("mapping", "synthesis")
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=generator, optimizer=optimizer),
    )
    return Recipe(
        name="stylegan",
        model=StyleGAN,
        config=config,
        stages=(Stage(objective=StyleAdversarial(r1=r1, mixing=mixing), phases=phases, steps=steps),),
        batch_size=batch_size,
        ema=(EMA(decay=ema_decay, parts=generator),) if ema_decay else (),
    )
