"""A VAE that splits the code into what the label says and the rest (Mathieu, Zhao, Sprechmann, Ramesh & LeCun 2016,
"Disentangling factors of variation in deep representations using adversarial training", arXiv:1611.03383, section 3).

    s = f(x), specified: shared by the images of a class;  z ~ q(z | x), unspecified;  image G(z, s)
With x' of x's class, x_o any other image with label y_o, z_p ~ N(0, I), D the critic's logit for an image and a label,
and sp(u) = log(1 + exp(u)):
    autoencoder   ||x - G(z, f(x))||^2 / 2 v + ||x - G(z, f(x'))||^2 / 2 v + KL(q(z | x) || N(0, I))
                  + game_weight [sp(-D(G(z, f(x_o)), y_o)) + sp(-D(G(z_p, f(x_o)), y_o))]
    critic        sp(-D(x, y)) + [sp(D(G(z, f(x_o)), y_o)) + sp(D(G(z_p, f(x_o)), y_o))] / 2
with v = pixel_std^2, and the constant of the Gaussian left out. The swap within a class alone is met by a z that holds
everything and an s that holds nothing; the game is not: an image with the s of another class must be of that class.

A large v frees z of the class by its KL alone; a small one needs the game.

Deviations: the critic sees the label by projection (Miyato & Koyama 2018, arXiv:1802.05637, equation 3): with labels
concatenated to features the game was lost here; no label smoothing; x' and x_o are drawn from the batch, x' is x itself
where its class has no other image there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.distributions import DiagonalGaussian
from gencore.nn.labels import one_hot
from gencore.noise import GlobalNoise
from gencore_vae.parts.networks import AutoencoderConfig, make_decoder, make_encoder

SYSTEM = SystemSpec(
    name="specified-factors-vae",
    summary="What the label says in one half of the code, the rest in the other; exchanged between images",
    paper=Paper(
        title="Disentangling factors of variation in deep representations using adversarial training",
        authors="Mathieu et al.",
        year=2016,
        arxiv="1611.03383",
    ),
    model="SpecifiedFactorsVAE",
    recipe="specified_factors_vae",
    roles=("encoder", "generator", "critic"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8, "specified_dim": 3},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpecifiedFactorsConfig(AutoencoderConfig):
    """`latent_dim` unspecified numbers, `specified_dim` specified ones; labels of `num_classes` classes."""

    specified_dim: int = 16
    num_classes: int = 10
    critic_features: int = 64

    def __post_init__(self) -> None:
        AutoencoderConfig.__post_init__(self)
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")
        for name in ("specified_dim", "critic_features"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")


class LabelCritic(nn.Module):
    """Is this image real, and of this class? psi(phi(x)) + <V y, phi(x)> of images (N, *data_shape) and one-hot labels
    (N, C): logits (N,)."""

    def __init__(self, config: SpecifiedFactorsConfig) -> None:
        super().__init__()
        self.trunk = make_encoder(config, config.critic_features)
        self.head = nn.Linear(config.critic_features, 1)
        self.classes = nn.Linear(config.num_classes, config.critic_features, bias=False)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """Larger for real."""
        features = F.leaky_relu(self.trunk(x), 0.2)
        return rearrange(self.head(features), "n 1 -> n") + (features * self.classes(classes)).sum(1)


class SpecifiedFactorsVAE(Model):
    """`specified` makes s, `encoder` q(z | x), `decoder` the image. A code is (N, specified_dim + latent_dim): s, z."""

    config_class = SpecifiedFactorsConfig
    config: SpecifiedFactorsConfig
    regions = ("specified", "encoder", "decoder", "critic")

    def __init__(self, config: SpecifiedFactorsConfig) -> None:
        super().__init__(config)
        self.specified = make_encoder(config, config.specified_dim)
        self.encoder = make_encoder(config, 2 * config.latent_dim)
        self.decoder = make_decoder(config, config.specified_dim + config.latent_dim, num_parameters=1)
        self.critic = LabelCritic(config)

    def unspecified(self, x: Tensor) -> DiagonalGaussian:
        """x (N, *data_shape) -> q(z | x), event (latent_dim,)."""
        return DiagonalGaussian(*self.encoder(x).chunk(2, 1))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> f(x) and the mean of q(z | x), (N, specified_dim + latent_dim)."""
        return torch.cat([self.specified(x), self.unspecified(x).mean], 1)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, specified_dim + latent_dim) -> images (N, *data_shape) in [-1, 1]."""
        return self.decoder(z)[:, 0].tanh()

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, then generate."""
        return self.generate(self.encode(x))

    def swap(self, x: Tensor, class_of: Tensor) -> Tensor:
        """The images x (N, *data_shape) as they would be with the specified factors of `class_of`, the same shape."""
        return self.generate(torch.cat([self.specified(class_of), self.unspecified(x).mean], 1))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) and labels (N,) -> (N,) logits, larger for real images of that class."""
        if condition is None:
            raise GencoreError("This critic judges an image for a class: pass condition, (N,) integer labels.")
        return self.critic(x, one_hot(condition, self.config.num_classes, x))


def same_class_partner(label: Tensor) -> Tensor:
    """For each of labels (N,) the position of another example of its class, at random; its own where there is none.

    Draws (N, N) numbers from torch's global streams.
    """
    chance = torch.rand(len(label), len(label), device=label.device)
    chance = chance.masked_fill(torch.eye(len(label), dtype=torch.bool, device=label.device), -1.0)
    return chance.masked_fill(label[:, None] != label[None], -2.0).argmax(1)


class FactorSwapping(Objective):
    """Phases "autoencoder" and "critic".

    Logs `kl`, and `own` and `swapped`: error of data rebuilt from their own code and with another's of their class,
    nats; lower is better.
    """

    def __init__(self, *, game_weight: float, pixel_std: float) -> None:
        super().__init__()
        check(game_weight >= 0, "game_weight", game_weight, "0 or more")
        check(pixel_std > 0, "pixel_std", pixel_std, "a positive standard deviation")
        self.game_weight, self.pixel_std = game_weight, pixel_std

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real images against exchanged ones, means over the batch."""
        x, label = _labelled(batch)
        noise, other = GlobalNoise(len(x), x.device), torch.randperm(len(x), device=x.device)
        with torch.no_grad():
            fakes = self._exchanged(model, model.specified(x)[other], model.unspecified(x).draw(noise)[0], noise)
        judged = model.judge(torch.cat([x, *fakes]), condition=torch.cat([label, label[other], label[other]]))
        real, *fake = judged.chunk(3)
        return Loss(F.softplus(-real).mean() + F.softplus(torch.cat(fake)).mean())

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Own and swapped reconstruction, KL and game, means over the batch."""
        x, label = _labelled(batch)
        noise, other = GlobalNoise(len(x), x.device), torch.randperm(len(x), device=x.device)
        specified, posterior = model.specified(x), model.unspecified(x)
        z = posterior.draw(noise)[0]
        own, swapped = (self._error(model, x, s, z) for s in (specified, specified[same_class_partner(label)]))
        kl = posterior.kl_to_standard_normal().mean()
        judged = [
            model.judge(image, condition=label[other]) for image in self._exchanged(model, specified[other], z, noise)
        ]
        game = sum(F.softplus(-logits).mean() for logits in judged)
        return Loss(own + swapped + kl + self.game_weight * game, {"own": own, "swapped": swapped, "kl": kl})

    def _error(self, model: Any, x: Tensor, specified: Tensor, z: Tensor) -> Tensor:
        rebuilt = model.generate(torch.cat([specified, z], 1))
        return (x - rebuilt).square().flatten(1).sum(1).mean() / (2 * self.pixel_std**2)

    def _exchanged(self, model: Any, specified: Tensor, z: Tensor, noise: GlobalNoise) -> tuple[Tensor, Tensor]:
        """Images with the specified factors of others: z of the data, and z of the prior."""
        prior = noise.normal(z.shape[1])
        return model.generate(torch.cat([specified, z], 1)), model.generate(torch.cat([specified, prior], 1))


def _labelled(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    if "label" not in batch:
        raise GencoreError("The batch has no labels: the specified factors are those of a label. Label the data.")
    return batch["x"], batch["label"]


def specified_factors_vae(
    *,
    config: SpecifiedFactorsConfig = SpecifiedFactorsConfig(data_shape=(1, 8, 8), hidden=(128, 128)),
    steps: int = 4000,
    batch_size: int = 64,
    game_weight: float = 3.0,
    pixel_std: float = 0.25,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Needs labelled data. `game_weight` 0 leaves out the game: then z holds the class too."""
    phases = (
        Phase(
            name="autoencoder",
            parts=("specified", "encoder", "decoder"),
            optimizer=Adam(learning_rate=learning_rate),
        ),
        Phase(name="critic", parts=("critic",), optimizer=Adam(learning_rate=learning_rate, betas=(0.5, 0.999))),
    )
    objective = FactorSwapping(game_weight=game_weight, pixel_std=pixel_std)
    return Recipe(
        name="specified-factors-vae",
        model=SpecifiedFactorsVAE,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
    )
