"""IAN (Brock, Lim, Ritchie & Weston 2017, "Neural Photo Editing with Introspective Adversarial Networks",
arXiv:1609.07093).

Introspective: the encoder is two linear heads on the critic's trunk f, and trains these alone, on features that are
held fixed. The critic C is ternary: real, generated or reconstructed. With CE the cross-entropy, x_q = G(z_q),
x_p = G(z_p), z_q ~ q(z | x), z_p ~ N(0, I):
    critic    CE(C(x), real) + CE(C(x_p), generated) + CE(C(x_q), reconstructed)                      (section 3.1)
    decoder   pixel_weight mean |x - x_q| + feature_weight mean (f(x) - f(x_q))^2
              + adversarial_weight [CE(C(x_p), real) + CE(C(x_q), real)] + orthogonal_weight sum |W W' - I|
    encoder   the first two terms + kl_weight KL(q(z | x) || N(0, I))
The orthogonal term (section 3.3) sums absolute values, the diagonal with the rest, over the decoder's linear layers.
The photo editor puts a change of the reconstruction, not the reconstruction, on the photograph: `edit`, section 2.

Deviations: perceptrons; neither the multiscale dilated blocks (section 3.2) nor the MADE posterior; weights for this
size where the authors' program has 3, 1, 1 and 1e-3. That the encoder sits on the critic's trunk does not show in any
figure here; the test holds it by its parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, mse_loss

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.nn.distributions import DiagonalGaussian
from gencore.noise import GlobalNoise, NoiseSource

SYSTEM = SystemSpec(
    name="ian",
    summary="The encoder reads the critic's own features; the critic tells real, drawn and rebuilt apart",
    paper=Paper(
        title="Neural Photo Editing with Introspective Adversarial Networks",
        authors="Brock et al.",
        year=2017,
        arxiv="1609.07093",
    ),
    model="IAN",
    recipe="ian",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 3, "hidden": (16,), "batch_size": 8},
)

REAL, GENERATED, RECONSTRUCTED = range(3)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IANConfig(ModelConfig):
    """`hidden`: widths of the critic's trunk, and backwards of the decoder."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    latent_dim: int = 8
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")


class IAN(Model):
    """`critic.trunk` serves `critic.kinds`, the ternary head, and `encoder`, the linear heads."""

    config_class = IANConfig
    config: IANConfig
    regions = ("critic.trunk", "decoder")

    def __init__(self, config: IANConfig) -> None:
        super().__init__(config)
        size, shape, width = math.prod(config.data_shape), config.data_shape, config.hidden[-1]
        trunk = nn.Sequential(nn.Flatten(), mlp((size, *config.hidden)), nn.LeakyReLU(0.2))
        self.critic = nn.ModuleDict({"trunk": trunk, "kinds": nn.Linear(width, 3)})
        self.encoder = nn.Linear(width, 2 * config.latent_dim)
        last = nn.Tanh() if len(shape) == 3 else nn.Identity()
        self.decoder = nn.Sequential(mlp((config.latent_dim, *config.hidden[::-1], size)), nn.Unflatten(1, shape), last)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def features(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the critic's features, (N, hidden[-1])."""
        return self.critic["trunk"](x)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> DiagonalGaussian:
        """x (N, *data_shape) -> q(z | x), event (latent_dim,); no gradient reaches the critic's trunk."""
        mean, log_variance = self.encoder(self.features(x).detach()).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape)."""
        return self.decoder(z)

    def kinds(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> logits (N, 3) of real, generated, reconstructed."""
        return self.critic["kinds"](self.features(x))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) log-odds of real against both others."""
        logits = self.kinds(x)
        return logits[:, REAL] - logits[:, GENERATED:].logsumexp(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The image at the mean of q(z | x)."""
        return self.generate(self.encode(x).mean)

    def edit(self, x: Tensor, z: Tensor, mask: Tensor) -> Tensor:
        """x + mask (G(z) - G(z_x)), z_x the code of x: what changes from z_x to z (N, latent_dim) is painted on x
        (N, *data_shape) where mask, which broadcasts with x, is 1. Images are cut to [-1, 1]."""
        try:
            edited = x + mask * (self.generate(z) - self.reconstruct(x))
        except RuntimeError as error:
            raise GencoreError(
                f"x is {tuple(x.shape)}, z {tuple(z.shape)} and mask {tuple(mask.shape)}; expected one code and one "
                "mask for each x."
            ) from error
        return edited.clamp(-1, 1) if len(self.config.data_shape) == 3 else edited


def orthogonality(weights: list[Tensor]) -> Tensor:
    """sum |W W' - I| over all entries and matrices, a scalar; the rows want to be orthogonal and of length 1."""
    gaps = [(w @ w.T - torch.eye(len(w), dtype=w.dtype, device=w.device)).abs().sum() for w in weights]
    return torch.stack(gaps).sum()


class Introspection(Objective):
    """Phases "critic", "decoder", "encoder".

    Logs `kl`, `game`, and `accuracy`: share of the three kinds of pictures that the critic tells right; neither way is
    better: 1/3 is a draw. `likeness`: distance of rebuilt data in pixels and features; lower is better.
    """

    def __init__(
        self,
        *,
        pixel_weight: float,
        feature_weight: float,
        adversarial_weight: float,
        orthogonal_weight: float,
        kl_weight: float,
    ) -> None:
        super().__init__()
        self.weights = {
            "pixel_weight": pixel_weight,
            "feature_weight": feature_weight,
            "adversarial_weight": adversarial_weight,
            "orthogonal_weight": orthogonal_weight,
            "kl_weight": kl_weight,
        }
        for name, value in self.weights.items():
            check(value >= 0, name, value, "0 or more")

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Which of the three kinds an image is."""
        x, noise = batch["x"], GlobalNoise.like(batch["x"])
        with torch.no_grad():
            images = [x, model.generate(model.draw_prior(noise)), model.generate(model.encode(x).draw(noise)[0])]
        logits = model.kinds(torch.cat(images))
        kinds = torch.arange(3, device=x.device).repeat_interleave(len(x))
        right = (logits.argmax(1) == kinds).float().mean()
        return Loss(3 * cross_entropy(logits, kinds), {"accuracy": right})

    def decoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Rebuild x in pixels and features, pass for real, stay orthogonal."""
        x, noise = batch["x"], GlobalNoise.like(batch["x"])
        with torch.no_grad():
            z = model.encode(x).draw(noise)[0]
        rebuilt, new = model.generate(z), model.generate(model.draw_prior(noise))
        likeness = self.likeness(model, x, rebuilt)
        kinds = model.kinds(torch.cat([new, rebuilt]))
        game = 2 * cross_entropy(kinds, torch.full_like(kinds[:, 0], REAL, dtype=torch.int64))
        linear = [module.weight for module in model.decoder.modules() if isinstance(module, nn.Linear)]
        total = likeness + self.weights["adversarial_weight"] * game
        total = total + self.weights["orthogonal_weight"] * orthogonality(linear)
        return Loss(total, {"likeness": likeness, "game": game})

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Rebuild x, near the prior."""
        x = batch["x"]
        posterior = model.encode(x)
        kl = posterior.kl_to_standard_normal().mean()
        likeness = self.likeness(model, x, model.generate(posterior.draw(GlobalNoise.like(x))[0]))
        return Loss(likeness + self.weights["kl_weight"] * kl, {"kl": kl})

    def likeness(self, model: Any, x: Tensor, rebuilt: Tensor) -> Tensor:
        """Weighted mean errors in pixels and in the critic's features."""
        with torch.no_grad():
            seen = model.features(x)
        features = mse_loss(model.features(rebuilt), seen)
        return self.weights["pixel_weight"] * l1_loss(rebuilt, x) + self.weights["feature_weight"] * features


def ian(
    *,
    config: IANConfig = IANConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    pixel_weight: float = 3.0,
    feature_weight: float = 1.0,
    adversarial_weight: float = 0.1,
    orthogonal_weight: float = 1e-6,
    kl_weight: float = 0.02,
    critic_learning_rate: float = 5e-4,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`learning_rate`: of decoder and encoder."""
    objective = Introspection(
        pixel_weight=pixel_weight,
        feature_weight=feature_weight,
        adversarial_weight=adversarial_weight,
        orthogonal_weight=orthogonal_weight,
        kl_weight=kl_weight,
    )
    rates = {"critic": critic_learning_rate, "decoder": learning_rate, "encoder": learning_rate}
    phases = tuple(
        Phase(name=name, parts=(name,), optimizer=Adam(learning_rate=rate, betas=(0.5, 0.999)))
        for name, rate in rates.items()
    )
    return Recipe(
        name="ian",
        model=IAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
    )
