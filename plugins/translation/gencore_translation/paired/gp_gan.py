"""GP-GAN (Wu, Zheng, Zhang & Huang 2019, "GP-GAN: Towards Realistic High-Resolution Image Blending",
arXiv:1703.07195).

A piece of one picture is pasted into another. An encoder-decoder G repairs the colours of the small composite c:
    generator   mse_weight E (x - G(c))^2 - game_weight E D(G(c))                     (equation 3; weights 0.999, 0.001)
    critic      E D(G(c)) - E D(x), weights clipped to [-clip, clip]                  (equation 2; Wasserstein GAN)
and the picture of full size has these colours and the gradients of the two pictures: the Gaussian-Poisson equation
(section 3.2, gencore_translation.parts.gaussian_poisson), solved from coarse to fine, each level's result being the
colours of the next (section 3.3). Across the mask's border the gradients are the background's, so that nothing of the
jump there is kept.

Training has no pairs of blended pictures, so a piece of each picture is pasted back with its colours changed: per
channel times 0.6 to 1.3, plus -0.5 to 0.5. `x_input` is what is blended, joined: source, background, mask (white where
the source goes).

Deviations: beta 0.1, where the paper has 1: the colours of a small G are less to be trusted than the gradients. No
batch normalisation. At this size the critic's share of 0.001 changes nothing that could be measured. The unsupervised
form (a search in the latent space) is left out.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Model, ModelConfig, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import wasserstein
from gencore.config import check
from gencore.data.augmentation import degraded
from gencore.data.toys.degradations import mask_random
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder

from ..parts.gaussian_poisson import gradients, solve
from ..parts.paired import PairedTranslation, check_positive, cosine, players
from ..parts.views import has_inputs

SYSTEM = SystemSpec(
    name="gp-gan",
    summary="Blends a piece of one picture into another: a GAN's colours, the pictures' gradients",
    paper=Paper(
        title="GP-GAN: Towards Realistic High-Resolution Image Blending",
        authors="Wu, Zheng, Zhang & Huang",
        year=2019,
        arxiv="1703.07195",
    ),
    model="GPGAN",
    recipe="gp_gan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (3, 8, 8), "width": 4, "bottleneck": 8, "critic_width": 4, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GPGANConfig(ModelConfig):
    """`data_shape`: (channels, size, size) of the encoder-decoder, a power of two; pictures of any size are blended.
    `bottleneck`: numbers between encoder and decoder. `beta`, `sigma`: the weight of the colours against the gradients,
    and the Gaussian's width in pixels; the paper has 1 and 0.5."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    width: int = 32
    bottleneck: int = 256
    critic_width: int = 32
    beta: float = 0.1
    sigma: float = 0.5

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check_positive(self, "width", "bottleneck", "critic_width", "beta", "sigma")


class Colours(nn.Module):
    """Composites (N, C, H, W) -> their repaired colours (N, *data_shape), in [-1, 1]."""

    def __init__(self, config: GPGANConfig) -> None:
        super().__init__()
        self.size = config.data_shape[1]
        self.encoder = conv_encoder(config.data_shape, width=config.width, outputs=config.bottleneck)
        self.decoder = conv_decoder(config.data_shape, width=config.width, inputs=config.bottleneck)

    def forward(self, given: Tensor) -> Tensor:
        """From source, background and mask, joined: (N, 2 C + 1, H, W)."""
        small = resized(composite(*taken_apart(given)), (self.size, self.size))
        return torch.tanh(self.decoder(F.leaky_relu(self.encoder(small), 0.2))[:, 0])


class GPGAN(Model):
    """Parts "generator", the encoder-decoder, and "critic"."""

    config_class = GPGANConfig
    config: GPGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: GPGANConfig) -> None:
        super().__init__(config)
        self.generator = Colours(config)
        self.critic = nn.Sequential(
            conv_encoder(config.data_shape, width=config.critic_width, outputs=1), nn.Flatten(0)
        )

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Source, background and mask, joined (N, 2 C + 1, H, W) -> blended pictures (N, C, H, W) in [-1, 1]."""
        check(to is None, "to", to, "None: gp-gan has one direction")
        source, background, mask = taken_apart(x)
        low = resized(self.generator(x), sizes(x, self.config.data_shape[1])[0])
        for size in sizes(x, self.config.data_shape[1]):
            inside = (resized(mask, size) > 0.5).to(x)
            down, across = blended_gradients(resized(source, size), resized(background, size), inside)
            low = solve(down, across, resized(low, size), beta=self.config.beta, sigma=self.config.sigma)
        return low.clamp(-1, 1)

    def blend(self, source: Tensor, background: Tensor, mask: Tensor) -> Tensor:
        """`source` where `mask` (N, 1, H, W) is 1, `background` where it is 0, both (N, C, H, W), without a seam."""
        return self.translate(torch.cat([source, background, 2 * mask - 1], 1))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, *data_shape) -> (N,) scores, larger for real ones."""
        scores: Tensor = self.critic(x)
        return scores


def taken_apart(given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 2 C + 1, H, W) -> source and background (N, C, H, W) and mask (N, 1, H, W) in [0, 1]. Raises GencoreError."""
    channels = given.shape[1] // 2
    if given.shape[1] not in (3, 7):
        raise GencoreError(f"got {given.shape[1]} channels; expected source, background and mask joined, 3 or 7.")
    return given[:, :channels], given[:, channels:-1], (given[:, -1:] + 1) / 2


def composite(source: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """Copied and pasted."""
    return torch.lerp(background, source, mask)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) at another size, antialiased; clipped to the range of x, which bicubic leaves."""
    if tuple(x.shape[-2:]) == size:
        return x
    made = F.interpolate(x, size=size, mode="bicubic", antialias=True)
    return made.clamp(x.amin(), x.amax())


def sizes(x: Tensor, least: int) -> list[tuple[int, int]]:
    """The levels' sizes, coarse to fine: x's own, halved while both sides stay at `least` or more."""
    height, width = x.shape[-2:]
    found = [(height, width)]
    while min(found[0]) // 2 >= least:
        found.insert(0, (found[0][0] // 2, found[0][1] // 2))
    return found


def blended_gradients(source: Tensor, background: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Differences down and across: the source's where both pixels are in the mask (0 or 1), else the background's."""
    both = (mask[..., 1:, :] * mask[..., :-1, :], mask[..., 1:] * mask[..., :-1])
    inside = F.pad(both[0], (0, 0, 0, 1)), F.pad(both[1], (0, 1))
    pairs = zip(gradients(source), gradients(background), inside, strict=True)
    down, across = (torch.where(within > 0, s, b) for s, b, within in pairs)
    return down, across


def pasted(x: Tensor, seed: int, index: Tensor) -> Tensor:
    """Pictures (N, C, S, S) -> source, background and mask joined: a square of half the side, its colours changed."""
    channels = x.shape[1]
    draws = np.stack([np.random.default_rng((seed, int(i))).uniform(size=(2, channels)) for i in index])
    gain, offset = torch.from_numpy(draws).to(x).unbind(1)
    changed = x * (0.6 + 0.7 * gain[..., None, None]) + (offset[..., None, None] - 0.5)
    mask = mask_random(x.shape[-1], max(1, x.shape[-1] // 2), seed=seed, index=index)
    return torch.cat([changed.clamp(-1, 1), x, 2 * mask - 1], 1)


def pasted_view(source: Any, model: Any) -> Any:
    """The stage's view: whole pictures with `pasted` as x_input. Raises GencoreError for pairs."""
    if has_inputs(source):
        raise GencoreError(
            f"{source.name} has inputs of its own; gp-gan pastes pictures into themselves: give them alone."
        )
    return degraded(source, pasted, flip=True)


def gp_gan(
    *,
    config: GPGANConfig = GPGANConfig(),
    steps: int = 2000,
    batch_size: int = 16,
    mse_weight: float = 0.999,
    game_weight: float = 0.001,
    clip: float = 0.01,
    learning_rate: float = 2e-3,
    critic_learning_rate: float = 5e-4,
) -> Recipe:
    """`clip` bounds the critic's weights."""
    check(clip > 0, "clip", clip, "a positive number")

    def clipped(model: Any) -> None:
        for parameter in model.critic.parameters():
            parameter.clamp_(-clip, clip)

    objective = PairedTranslation(
        {"mse": (mse_weight, F.mse_loss)}, wasserstein, game_weight=game_weight, after_critic=clipped
    )
    phases = players(
        Adam(learning_rate=learning_rate),
        Adam(learning_rate=critic_learning_rate, betas=(0.5, 0.999)),
        schedule=cosine(steps),
    )
    stage = Stage(objective=objective, phases=phases, steps=steps, data=pasted_view)
    return Recipe(name="gp-gan", model=GPGAN, config=config, stages=(stage,), batch_size=batch_size, data="photos")
