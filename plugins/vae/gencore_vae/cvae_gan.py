"""CVAE-GAN (Bao, Chen, Wen, Li & Hua 2017, "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training",
arXiv:1703.10155, Algorithm 1).

A conditional VAE, a critic D and a classifier C with features f_D, f_C. With z_q ~ q(z | x, y), z_p ~ N(0, I), and
sp(u) = log(1 + exp(u)):
    D                  sp(-D(x)) + sp(D(G(z_q, y))) + sp(D(G(z_p, y)))
    C                  -log P(y | x), on real data
    pairs              1/2 ||x - x_q||^2 + 1/2 ||f_D(x) - f_D(x_q)||^2 + 1/2 ||f_C(x) - f_C(x_q)||^2      (equation 9)
    matching           1/2 || E f_D(x) - E f_D(G(z_p, y)) ||^2                                            (equation 5)
                     + sum_c 1/2 || E_c f_C(x) - E_c f_C(G(z_p, c)) ||^2                                  (equation 7)
    encoder, decoder   kl_weight KL + pair_weight pairs + matching_weight matching
The training is asymmetric: D and C have cross-entropies, but the decoder never sees these, it matches mean features,
whose gradient does not vanish. The encoder has no part in the matching.

The paper keeps class means as moving averages, without saying how: here they are those of the batch, classes that it
lacks are left out. Its weights are 3, 1, 0.001 for nets of another size. Perceptrons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.adversarial.objective import condition_of
from gencore.conditions import ClassLabel, Condition
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.nn.distributions import DiagonalGaussian
from gencore.nn.labels import one_hot
from gencore.noise import GlobalNoise, NoiseSource
from gencore_vae.vae_gan import feature_distance

SYSTEM = SystemSpec(
    name="cvae-gan",
    summary="A conditional VAE whose images match a critic's and a classifier's mean features",
    paper=Paper(
        title="CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training",
        authors="Bao et al.",
        year=2017,
        arxiv="1703.10155",
    ),
    model="CVAEGAN",
    recipe="cvae_gan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct", "classify"),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 3, "hidden": (16,), "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CVAEGANConfig(ModelConfig):
    """`hidden`: widths of all networks, the last of them the critic's and the classifier's features."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    latent_dim: int = 8
    hidden: tuple[int, ...] = (256, 128)

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2: data with labels")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")

    @property
    def size(self) -> int:
        """Numbers of one example."""
        return math.prod(self.data_shape)


def trunk_and_head(widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Data (N, ...) -> (N, outputs); [0] gives the features (N, widths[-1])."""
    return nn.Sequential(nn.Sequential(nn.Flatten(), mlp(widths), nn.LeakyReLU(0.2)), nn.Linear(widths[-1], outputs))


class CVAEGAN(Model):
    """Encoder and decoder are told the class; `critic` and `classifier` are not."""

    config_class = CVAEGANConfig
    config: CVAEGANConfig
    regions = ("encoder", "decoder", "critic", "classifier")

    def __init__(self, config: CVAEGANConfig) -> None:
        super().__init__(config)
        size, classes = config.size, config.num_classes
        self.encoder = mlp((size + classes, *config.hidden, 2 * config.latent_dim))
        widths = (config.latent_dim + classes, *config.hidden[::-1], size)
        last = nn.Tanh() if len(config.data_shape) == 3 else nn.Identity()
        self.decoder = nn.Sequential(mlp(widths), nn.Unflatten(1, config.data_shape), last)
        self.critic = trunk_and_head((size, *config.hidden), 1)
        self.classifier = trunk_and_head((size, *config.hidden), classes)

    @property
    def condition(self) -> Condition:
        """The class."""
        return ClassLabel(count=self.config.num_classes)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> DiagonalGaussian:
        """x (N, *data_shape), classes (N,) -> q(z | x, y), event (latent_dim,). Without classes: those that C reads."""
        label = self.classify(x) if condition is None else condition
        told = torch.cat([x.flatten(1), one_hot(label, self.config.num_classes, x)], 1)
        mean, log_variance = self.encoder(told).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), classes (N,) -> data (N, *data_shape). Raises GencoreError without classes."""
        if condition is None:
            raise GencoreError("CVAEGAN draws the class that it is told: give condition=...")
        return self.decoder(torch.cat([z, one_hot(condition, self.config.num_classes, z)], 1))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real, whatever the class."""
        return rearrange(self.critic(x), "n 1 -> n")

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.classifier(x).argmax(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The image at the mean of q(z | x, y), y the class that C reads."""
        label = self.classify(x)
        return self.generate(self.encode(x, condition=label).mean, condition=label)


def class_mean_distance(a: Tensor, b: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Half the squared distance of the class means of features a and b (N, F), both of classes `label` (N,), summed
    over the classes."""
    members = one_hot(label, num_classes, a)
    means = members.T @ (a - b) / members.sum(0).clamp_min(1)[:, None]
    return 0.5 * means.square().sum()


class AsymmetricTraining(Objective):
    """Phases "critic", "classifier" and "autoencoder".

    Logs `kl`, and `pixels`: half the squared distance of rebuilt data; lower is better. `matching`: half the squared
    distance of mean features of data and of new examples; lower is better.
    """

    def __init__(self, *, kl_weight: float, pixel_weight: float, feature_weight: float, matching_weight: float) -> None:
        super().__init__()
        weights = {"kl_weight": kl_weight, "pixel_weight": pixel_weight, "feature_weight": feature_weight}
        for name, value in {**weights, "matching_weight": matching_weight}.items():
            check(value >= 0, name, value, "0 or more")
        self.kl_weight, self.pixel_weight = kl_weight, pixel_weight
        self.feature_weight, self.matching_weight = feature_weight, matching_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real data against reconstructions and new ones."""
        x, label, noise = batch["x"], condition_of(model, batch), GlobalNoise.like(batch["x"])
        with torch.no_grad():
            rebuilt = model.generate(model.encode(x, condition=label).draw(noise)[0], condition=label)
            new = model.generate(model.draw_prior(noise), condition=label)
        total = logistic_critic_loss(model.judge(x), model.judge(rebuilt)) + softplus(model.judge(new)).mean()
        return Loss(total)

    def classifier(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Cross-entropy on real data, nats."""
        label = condition_of(model, batch)
        assert label is not None
        return Loss(cross_entropy(model.classifier(batch["x"]), label))

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """KL, pairs and matching; no cross-entropy."""
        x, label, noise = batch["x"], condition_of(model, batch), GlobalNoise.like(batch["x"])
        assert label is not None
        posterior = model.encode(x, condition=label)
        rebuilt = model.generate(posterior.draw(noise)[0], condition=label)
        new = model.generate(model.draw_prior(noise), condition=label)
        trunks = (model.critic[0], model.classifier[0])
        with torch.no_grad():
            real = [trunk(x) for trunk in trunks]
        pixels = feature_distance(rebuilt.flatten(1), x.flatten(1))
        pairs = [feature_distance(trunk(rebuilt), seen) for trunk, seen in zip(trunks, real, strict=True)]
        drawn = [trunk(new) for trunk in trunks]
        matching = feature_distance(drawn[0].mean(0, keepdim=True), real[0].mean(0, keepdim=True))
        matching = matching + class_mean_distance(drawn[1], real[1], label, model.config.num_classes)
        kl = posterior.kl_to_standard_normal().mean()
        total = self.kl_weight * kl + self.pixel_weight * pixels + self.feature_weight * (pairs[0] + pairs[1])
        total = total + self.matching_weight * matching
        return Loss(total, {"kl": kl, "pixels": pixels, "matching": matching})


def cvae_gan(
    *,
    config: CVAEGANConfig = CVAEGANConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    kl_weight: float = 0.3,
    pixel_weight: float = 1.0,
    feature_weight: float = 1.0,
    matching_weight: float = 0.064,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`feature_weight`: of the pairs in both networks' features. `matching_weight`: of both mean distances."""
    objective = AsymmetricTraining(
        kl_weight=kl_weight,
        pixel_weight=pixel_weight,
        feature_weight=feature_weight,
        matching_weight=matching_weight,
    )
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    players = {"critic": ("critic",), "classifier": ("classifier",), "autoencoder": ("encoder", "decoder")}
    phases = tuple(Phase(name=name, parts=parts, optimizer=optimizer) for name, parts in players.items())
    return Recipe(
        name="cvae-gan",
        model=CVAEGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
    )
