"""3D-VAE-GAN (Wu, Zhang, Xue, Freeman & Tenenbaum 2016, "Learning a Probabilistic Latent Space of Object Shapes via 3D
Generative-Adversarial Modeling", arXiv:1610.07584, section 3.3): a solid shape from one picture of it.

An encoder E of pictures y beside the generator G and the critic D of 3D-GAN (`3d-gan`), whose z is theirs:
    L = L_3DGAN + kl_weight KL(q(z | y) || N(0, I)) + reconstruction_weight ||G(E(y)) - x||_2
with weights 5 and 1e-4 in the paper. Three steps an iteration: the critic; the encoder, by KL and reconstruction; the
generator, by the game and the reconstruction. The critic rests as in `3d-gan`.

Deviations: z ~ N(0, I), which the KL asks for; the squared distance, mean over the batch; the weights are 0.05 and 1
for short trainings. Where the data hold no pictures under x_input, they
are drawn: the shape's depth seen along its last axis but one, near is bright.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import reduce
from torch import Tensor, nn

from gencore import Adam, Loss, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.data.source import Batch
from gencore.data.views import View
from gencore.nn.distributions import DiagonalGaussian
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.parts.accuracy_gate import AccuracyGate, critic_accuracy
from gencore_gan.parts.volumes import HALVINGS, VolumeGAN, VolumeGANConfig

SYSTEM = SystemSpec(
    name="3d-vae-gan",
    summary="3D-GAN with an encoder: a solid shape from one picture of it",
    paper=Paper(
        title="Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling",
        authors="Wu, Zhang, Xue, Freeman & Tenenbaum",
        year=2016,
        arxiv="1610.07584",
    ),
    model="VolumeVAEGAN",
    recipe="vae_gan_3d",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("translate",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "width": 2, "batch_size": 8},
)


def depth_pictures(grids: Tensor) -> Tensor:
    """Grids (N, C, S, S, S) -> pictures (N, 1, S, S) in [-1, 1]: 1 where the first occupied voxel along y is in the
    first plane, -1 where there is none."""
    solid = reduce(grids > 0.5, "n c z y x -> n z y x", "max")
    size = solid.shape[2]
    nearness = torch.arange(size, 0, -1, device=grids.device, dtype=grids.dtype)[:, None] / size
    return 2 * (solid * nearness).amax(2)[:, None] - 1


class Pictured(View):
    """A source of grids whose batches have a picture of each, under x_input."""

    def fetch(self, indices: Tensor) -> Batch:
        """The source's batch, and the pictures that it lacks."""
        batch = self.source.fetch(indices)
        return batch if "x_input" in batch else {**batch, "x_input": depth_pictures(batch["x"])}


def pictured(source: Any, model: Any) -> Pictured:
    """The source with pictures."""
    return Pictured(source)


def picture_encoder(config: VolumeGANConfig) -> nn.Sequential:
    """Pictures (N, 1, S, S) -> (N, 2 latent_dim), mean and log variance."""
    size, width = config.data_shape[1] >> HALVINGS, config.width
    return nn.Sequential(
        nn.Conv2d(1, 2 * width, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(4 * width * size**2, 2 * config.latent_dim),
    )


class VolumeVAEGAN(VolumeGAN):
    """With an encoder of pictures."""

    regions = ("encoder", "generator", "critic")

    def __init__(self, config: VolumeGANConfig) -> None:
        super().__init__(config)
        self.encoder = picture_encoder(config)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> DiagonalGaussian:
        """Pictures (N, 1, S, S) in [-1, 1] -> q(z | picture)."""
        expected = (1, *self.config.data_shape[2:])
        check(tuple(x.shape[1:]) == expected, "shape of the pictures", tuple(x.shape[1:]), str(expected))
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance)

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, 1, S, S) -> the shape at the mean of q(z | picture), (N, *data_shape) in [0, 1]."""
        check(to is None, "to", to, "None: 3D-VAE-GAN has one direction")
        return self.generate(self.encode(x).mean)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b||^2 of (N, ...), mean over the batch."""
    return (a - b).flatten(1).square().sum(1).mean()


class PicturedGame(AccuracyGate):
    """Phases "critic", "encoder" and "generator".

    Logs `kl`, and `distance`: squared distance of rebuilt shapes; lower is better. `accuracy`: share that the critic
    tells right; neither way is better: 0.5 is a draw, and above most_accurate it rests.
    """

    def __init__(self, *, most_accurate: float, kl_weight: float, reconstruction_weight: float) -> None:
        super().__init__(most_accurate)
        check(kl_weight >= 0, "kl_weight", kl_weight, "0 or more")
        check(reconstruction_weight >= 0, "reconstruction_weight", reconstruction_weight, "0 or more")
        self.kl_weight, self.reconstruction_weight = kl_weight, reconstruction_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated shapes."""
        x = batch["x"]
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)))
        return Loss(non_saturating.critic(model.judge(x), model.judge(fake)))

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """KL and reconstruction."""
        posterior = model.encode(batch["x_input"])
        rebuilt = model.generate(posterior.draw(GlobalNoise.like(batch["x"]))[0])
        kl, distance = posterior.kl_to_standard_normal().mean(), squared_distance(rebuilt, batch["x"])
        return Loss(self.kl_weight * kl + self.reconstruction_weight * distance, {"kl": kl, "distance": distance})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The game on new shapes, and reconstruction; hands over how often the critic is right."""
        x, noise = batch["x"], GlobalNoise.like(batch["x"])
        with torch.no_grad():
            z = model.encode(batch["x_input"]).draw(noise)[0]
        distance = squared_distance(model.generate(z), x)
        judged = model.judge(model.generate(model.draw_prior(noise)))
        with torch.no_grad():
            accuracy = critic_accuracy(model.judge(x), judged)
        total = non_saturating.generator(judged) + self.reconstruction_weight * distance
        return Loss(total, {"accuracy": accuracy}, seen=accuracy)


def vae_gan_3d(
    *,
    config: VolumeGANConfig = VolumeGANConfig(),
    steps: int = 2000,
    batch_size: int = 48,
    most_accurate: float = 0.8,
    kl_weight: float = 0.05,
    reconstruction_weight: float = 1.0,
    generator_rate: float = 1e-3,
    critic_rate: float = 3e-4,
) -> Recipe:
    """`most_accurate`: the accuracy above which the critic rests. `reconstruction_weight`: for each wrong voxel."""
    generator, critic = (Adam(learning_rate=rate, betas=(0.5, 0.999)) for rate in (generator_rate, critic_rate))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=critic, gate=lambda objective: objective.gate()),
        Phase(name="encoder", parts=("encoder",), optimizer=generator),
        Phase(name="generator", parts=("generator",), optimizer=generator),
    )
    objective = PicturedGame(
        most_accurate=most_accurate, kl_weight=kl_weight, reconstruction_weight=reconstruction_weight
    )
    return Recipe(
        name="3d-vae-gan",
        model=VolumeVAEGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps, data=pictured),),
        batch_size=batch_size,
        data="voxels",
    )
