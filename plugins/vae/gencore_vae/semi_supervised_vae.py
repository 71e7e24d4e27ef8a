"""M2, the semi-supervised VAE (Kingma, Rezende, Mohamed & Welling 2014, "Semi-supervised Learning with Deep Generative
Models", arXiv:1406.5298, section 3).

    p(x, y, z) = p(y) N(z; 0, I) p(x | y, z),  y one of C classes, p(y) = 1 / C                         (equation 2)
    q(y, z | x) = q(y | x) q(z | x, y)                                                                  (equation 4)
    L(x, y) = E_q(z|x,y) log p(x | y, z) + log p(y) - KL(q(z | x, y) || N(0, I))   <= log p(x, y)       (equation 6)
    U(x)    = sum_y q(y | x) L(x, y) + H(q(y | x))                                 <= log p(x)          (equation 7)
    maximise  E_unlabelled U(x) + E_labelled [L(x, y) + label_weight log q(y | x)]                (equations 8 and 9)
The sum over y is exact: the unlabelled batch costs C times as much. As Terms, log_likelihood - kl: the labelled KL
holds log C, that of a known class from the uniform prior; the unlabelled one holds KL(q(y | x) || p(y)).

Deviations: both streams are means over a batch, where the paper sums over all examples, so that few labels weigh more;
dense networks of LeakyReLU.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from gencore import Loss, Noise, Objective, Paper, Recipe, Sampler, SystemSpec
from gencore.conditions import ClassLabel, Condition
from gencore.config import check
from gencore.data import labelled_and_unlabelled
from gencore.data.by_class import few_labels
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.nn.distributions import DiagonalGaussian, Drawable, OneHot
from gencore.nn.labels import one_hot
from gencore.nn.likelihood import Scale, gaussian_log_prob, kl_to_standard_normal, log_mean_exp
from gencore.noise import GlobalNoise, NoiseSource
from gencore_vae.parts.binary import BINARIZATIONS, Binarization, binarize, check_binary
from gencore_vae.parts.latent_variable import LatentVariableModel, PriorThenDecoder, Terms
from gencore_vae.parts.networks import (
    NUM_PARAMETERS,
    VAEConfig,
    data_distribution,
    make_decoder,
    make_encoder,
)
from gencore_vae.vae import one_player

SYSTEM = SystemSpec(
    name="semi-supervised-vae",
    summary="M2: a class and a normal latent, from a few labelled and many unlabelled images",
    paper=Paper(
        title="Semi-supervised Learning with Deep Generative Models",
        authors="Kingma, Rezende, Mohamed & Welling",
        year=2014,
        arxiv="1406.5298",
    ),
    model="SemiSupervisedVAE",
    recipe="semi_supervised_vae",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct", "classify", "bound"),
    claims=("compiles", "conditional"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8, "num_labels": 10},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SemiSupervisedVAEConfig(VAEConfig):
    """Dense networks; `num_classes` classes."""

    num_classes: int = 10

    def __post_init__(self) -> None:
        VAEConfig.__post_init__(self)
        check(self.network == "dense", "network", self.network, '"dense"')
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")


class SemiSupervisedVAE(LatentVariableModel):
    """`encoder` sees the image and the class, `decoder` z and the class, `classifier` the image."""

    config_class = SemiSupervisedVAEConfig
    config: SemiSupervisedVAEConfig
    regions = ("encoder", "decoder", "classifier")

    def __init__(self, config: SemiSupervisedVAEConfig) -> None:
        super().__init__(config)
        classes, size = config.num_classes, config.latent_dim
        self.encoder = mlp((math.prod(config.data_shape) + classes, *config.hidden, 2 * size))
        self.decoder = make_decoder(config, size + classes, num_parameters=NUM_PARAMETERS[config.likelihood])
        self.classifier = make_encoder(config, classes)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent_dim,): z; the class is the condition."""
        return (self.config.latent_dim,)

    @property
    def likelihood_scale(self) -> Scale:
        """As the decoder's."""
        return self.config.scale

    @property
    def condition(self) -> Condition | None:
        """A class, where the model has classes."""
        return ClassLabel(count=self.config.num_classes) if self.config.num_classes else None

    def check_data(self, x: Tensor) -> None:
        """As the VAE's."""
        super().check_data(x)
        if self.config.likelihood == "bernoulli":
            check_binary(x)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> logits of q(y | x), (N, num_classes)."""
        return self.classifier(x)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> DiagonalGaussian:
        """x (N, *data_shape), labels (N,) -> q(z | x, y), event (latent_dim,). Without labels: y = argmax q(y | x)."""
        classes = one_hot(self.classify(x) if condition is None else condition, self.config.num_classes, x)
        mean, log_variance = self.encoder(torch.cat([x.flatten(1), classes], 1)).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance)

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.judge(x).argmax(1)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Drawable:
        """z (N, latent_dim), labels (N,) -> p(x | y, z), event data_shape. Raises GencoreError without labels."""
        if condition is None:
            raise GencoreError("This decoder needs a class: pass condition, (N,) integer labels.")
        classes = one_hot(condition, self.config.num_classes, z)
        return data_distribution(self.decoder(torch.cat([z, classes], 1)), self.config)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x | y, z) at the likeliest y and the mean of q(z | x, y): (N, *data_shape)."""
        label = self.classify(x)
        return self.generate(self.encode(x, condition=label).mean, condition=label).mean

    def proposal(self, x: Tensor) -> DiagonalGaussian:
        """q(z | x, y) of every class y, event (num_classes, latent_dim)."""
        count = self.config.num_classes
        images = repeat(x.flatten(1), "n d -> (n c) d", c=count)
        classes = torch.eye(count, device=x.device).repeat(len(x), 1)
        numbers = rearrange(self.encoder(torch.cat([images, classes], 1)), "(n c) l -> n c l", c=count)
        return DiagonalGaussian(*numbers.chunk(2, -1))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | y, z) of x (N, ...) under every class y, with z (k, N, num_classes, latent_dim): (k, N,
        num_classes) nats."""
        k, _, count, _ = z.shape
        classes = torch.eye(count, device=z.device).repeat(k * len(x), 1)
        numbers = self.decoder(torch.cat([rearrange(z, "k n c l -> (k n c) l"), classes], 1))
        images = repeat(x, "n ... -> (k n c) ...", k=k, c=count)
        log_prob = data_distribution(numbers, self.config).log_prob(images)
        return rearrange(log_prob, "(k n c) -> k n c", k=k, c=count)

    def log_weights(self, x: Tensor, proposal: Any, noise: NoiseSource, k: int) -> Tensor:
        """log w of k samples of each example with y summed out, (k, N): w = sum_y p(y) p(x, z_y | y) / q(z_y | x, y).

        E w = p(x), and L_1 lies between U(x) and log p(x).
        """
        z, zero = proposal.draw(noise, k), torch.zeros((), device=x.device)
        log_q = gaussian_log_prob(z, proposal.mean, proposal.log_variance, 1)
        return log_mean_exp(self.log_likelihood(x, z) + gaussian_log_prob(z, zero, zero, 1) - log_q, -1)

    def terms(self, x: Tensor, noise: NoiseSource) -> Terms:
        """U(x), from one z for each class."""
        posterior, label = self.proposal(x), OneHot(self.judge(x))
        log_likelihood = self.log_likelihood(x, posterior.draw(noise))[0]
        kl = kl_to_standard_normal(posterior.mean, posterior.log_variance).sum(-1)
        share = label.mean
        return Terms((share * log_likelihood).sum(1), (share * kl).sum(1) + label.kl_to_uniform())

    def labelled_terms(self, x: Tensor, label: Tensor, noise: NoiseSource) -> Terms:
        """L(x, y) of labels (N,)."""
        posterior = self.encode(x, condition=label)
        log_likelihood = self.generate(posterior.draw(noise)[0], condition=label).log_prob(x)
        return Terms(log_likelihood, posterior.kl_to_standard_normal() + math.log(self.config.num_classes))

    def default_sampler(self) -> Sampler:
        """A class, z from the prior, then the mean of p(x | y, z)."""
        return ClassThenPrior()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassThenPrior:
    """y as the condition says, or uniform; then as PriorThenDecoder."""

    output: Literal["mean", "sample"] = "mean"

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of noise."""
        label = noise.integers(model.config.num_classes) if condition is None else condition
        return PriorThenDecoder(output=self.output).sample(model, noise, condition=label, callback=callback)


class SemiSupervisedBound(Objective):
    """Phase "autoencoder": the objective of the header on x, label (few) and x_unlabelled (all).

    Logs `labelled` and `unlabelled`: bounds of log p(x, y) and log p(x), nats an example; higher is better.
    `cross_entropy`: of the classes, nats; lower is better.
    """

    def __init__(self, *, label_weight: float, binarization: Binarization) -> None:
        super().__init__()
        check(label_weight >= 0, "label_weight", label_weight, "0 or more")
        check(binarization in BINARIZATIONS, "binarization", binarization, f"one of {list(BINARIZATIONS)}")
        self.label_weight, self.binarization = label_weight, binarization

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Nats per example, mean over each stream's batch."""
        x, unlabelled = (binarize(batch[key], self.binarization) for key in ("x", "x_unlabelled"))
        labelled = model.labelled_terms(x, batch["label"], GlobalNoise(len(x), x.device))
        terms = model.terms(unlabelled, GlobalNoise(len(unlabelled), x.device))
        cross_entropy = F.cross_entropy(model.judge(x), batch["label"])
        bounds = [(part.log_likelihood - part.kl).mean() for part in (labelled, terms)]
        total = self.label_weight * cross_entropy - bounds[0] - bounds[1]
        return Loss(total, {"labelled": bounds[0], "unlabelled": bounds[1], "cross_entropy": cross_entropy})


def semi_supervised_vae(
    *,
    config: SemiSupervisedVAEConfig = SemiSupervisedVAEConfig(data_shape=(1, 8, 8), hidden=(128, 128)),
    steps: int = 4000,
    batch_size: int = 64,
    num_labels: int = 100,
    label_weight: float = 50.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_labels` examples, equally many of each class, keep their labels. `label_weight`: the paper's alpha, on the
    cross-entropy of the labelled batch. A "bernoulli" likelihood draws the pixels at every step."""
    binarization: Binarization = "dynamic" if config.likelihood == "bernoulli" else "none"
    objective = SemiSupervisedBound(label_weight=label_weight, binarization=binarization)
    parts = ("encoder", "decoder", "classifier")
    (stage,) = one_player(objective, steps=steps, learning_rate=learning_rate, parts=parts)

    def few(source: Any, model: Any) -> Any:
        return labelled_and_unlabelled(source, few_labels(source, config.num_classes, num_labels, batch_size))

    return Recipe(
        name="semi-supervised-vae",
        model=SemiSupervisedVAE,
        config=config,
        stages=(dataclasses.replace(stage, data=few),),
        batch_size=batch_size,
    )
