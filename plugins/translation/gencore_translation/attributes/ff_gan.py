"""FF-GAN (Yin, Yu, Sohn, Liu & Chandraker 2017, "Towards Large-Pose Face Frontalization in the Wild",
arXiv:1704.06244).

A face x in any pose is turned to the front by a generator that is told the coefficients R(x) of a face model:
    generator   recon_weight |G(x, R(x)) - x_f|, where the frontal view x_f is known
                + variation_weight TV(G) + symmetry_weight |m (G - flip(G))|
                + identity_weight (C(G) - C(x))^2 + game_weight E sp(-D(G))
    critic      E sp(-D(x_f)) + E sp(D(G)), on frontal views of anybody
with m a mask that keeps the face, flip the mirror, sp(u) = log(1 + exp(u)).

Deviations: the 3DMM is the toy faces' own model: R is a network trained on its parameters in the first stage and
fixed; C is R's identity part, where the paper has a recogniser. The mask is an ellipse. The weights, which the paper
does not make certain, are ours. Few faces have a known frontal view, else |.| alone gives G all that C could. Symmetry
hardly shows at toy size (measured in a prototype): unit tests hold it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder
from gencore.recipes import later_steps

from ..parts.paired import check_positive, players
from ..parts.terms import weighted_sum
from ..unpaired.dtn import total_variation
from .reading import reading_stage
from .views import profiles

SYSTEM = SystemSpec(
    name="ff-gan",
    summary="A face turned to the front with the help of a face model's coefficients, from few known frontal views",
    paper=Paper(
        title="Towards Large-Pose Face Frontalization in the Wild",
        authors="Yin, Yu, Sohn, Liu & Chandraker",
        year=2017,
        arxiv="1704.06244",
    ),
    model="FFGAN",
    recipe="ff_gan",
    roles=("critic",),
    traits=("translate",),
    tiny={"code_dim": 4, "width": 4, "batch_size": 4, "game_steps": 4},
)

COEFFICIENTS = ("yaw", "age", "glasses", "expression", "identity")
"""What R reads, by the batch's keys; who it is stands last."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FFGANConfig(ModelConfig):
    """`num_coefficients` that R reads, the last `identity_dim` of which say who it is."""

    data_shape: tuple[int, ...] = (1, 16, 16)
    num_coefficients: int = 10
    identity_dim: int = 5
    code_dim: int = 64
    width: int = 24

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check_positive(self, "num_coefficients", "code_dim", "width")
        fits = 0 < self.identity_dim <= self.num_coefficients
        check(fits, "identity_dim", self.identity_dim, f"a number from 1 to {self.num_coefficients}")


class FFGAN(Model):
    """Parts "reader" (R), "encoder" and "decoder" (G), "critic"."""

    config_class = FFGANConfig
    config: FFGANConfig

    def __init__(self, config: FFGANConfig) -> None:
        super().__init__(config)
        shape, width = config.data_shape, config.width
        self.reader = conv_encoder(shape, width=width, outputs=config.num_coefficients)
        self.encoder = conv_encoder(shape, width=width, outputs=config.code_dim)
        self.decoder = conv_decoder(shape, width=width, inputs=config.code_dim + config.num_coefficients)
        self.critic = nn.Sequential(conv_encoder(shape, width=width, outputs=1), nn.Flatten(0))

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Faces (N, C, H, W) in any pose -> the same from the front, in [-1, 1]."""
        check(to in (None, "front"), "to", to, '"front": this network has one direction')
        made: Tensor = self.decoder(torch.cat([self.encoder(x), self.reader(x)], 1))[:, 0]
        return made.tanh()

    def identity(self, x: Tensor) -> Tensor:
        """Who R takes faces (N, C, H, W) for, (N, identity_dim)."""
        read: Tensor = self.reader(x)
        return read[:, -self.config.identity_dim :]

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> logits (N,), larger for real frontal faces."""
        logits: Tensor = self.critic(x)
        return logits


def face_mask(height: int, width: int) -> Tensor:
    """1 in the ellipse that touches the picture's borders, 0 outside: (height, width) float32."""
    down, across = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (height, width))
    return (down[:, None].square() + across.square() <= 1).float()


def asymmetry(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over examples, channels and the mask's places of |x - its mirror image|; x (N, C, H, W), mask (H, W)."""
    return (mask * (x - x.flip(-1)).abs()).sum((-2, -1)).mean() / mask.sum()


class Frontalization(Objective):
    """Phases "critic" and "generator" on pairs x_input and x, and on x_input_b and x_b, which belong to nobody.

    Logs `game`, and `recon`: mean distance from the true frontal view; lower is better. `variation`: mean change from
    place to place; neither way is better: little is smooth. `symmetry`: mean distance from the mirror image; lower is
    better. `identity`: mean square between the features of the person before and after; lower is better.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        for name, weight in weights.items():
            check(weight >= 0, f"{name}_weight", weight, "0 or more")
        self.weights = dict(weights)

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Frontal views against what is made of other photographs."""
        _, _, photos, fronts = four(batch)
        with torch.no_grad():
            made = model.translate(photos)
        return Loss(non_saturating.critic(model.judge(fronts), model.judge(made)))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """All five terms; the reconstruction on the pairs alone."""
        given, target, photos, _ = four(batch)
        photos = torch.cat([given, photos])
        made = model.translate(photos)
        with torch.no_grad():
            wanted = model.identity(photos)
        terms = {
            "recon": F.l1_loss(made[: len(given)], target),
            "variation": total_variation(made),
            "symmetry": asymmetry(made, face_mask(*made.shape[-2:]).to(made)),
            "identity": F.mse_loss(model.identity(made), wanted),
            "game": non_saturating.generator(model.judge(made)),
        }
        return weighted_sum({name: (self.weights[name], value) for name, value in terms.items()})


def four(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_input, x, x_input_b, x_b. Raises GencoreError where one is missing."""
    keys = ("x_input", "x", "x_input_b", "x_b")
    if missing := [key for key in keys if key not in batch]:
        raise GencoreError(f"The batch lacks {missing}; expected pairs: a face in any pose and its frontal view.")
    return batch["x_input"], batch["x"], batch["x_input_b"], batch["x_b"]


def ff_gan(
    *,
    config: FFGANConfig = FFGANConfig(),
    steps: int = 500,
    game_steps: int | None = None,
    batch_size: int = 32,
    paired: int = 30,
    recon_weight: float = 5.0,
    variation_weight: float = 0.02,
    symmetry_weight: float = 1.0,
    identity_weight: float = 3.0,
    game_weight: float = 0.05,
    learning_rate: float = 1e-3,
    critic_learning_rate: float = 5e-4,
) -> Recipe:
    """`steps` of R, then `game_steps`, None for 6 / 5 as many, each on `batch_size` of the first
    `paired` pairs and as many other faces."""
    check(paired >= 1, "paired", paired, "at least 1")
    weights = {
        "recon": recon_weight,
        "variation": variation_weight,
        "symmetry": symmetry_weight,
        "identity": identity_weight,
        "game": game_weight,
    }
    betas = (0.5, 0.99)
    critic, generator = players(
        Adam(learning_rate=learning_rate, betas=betas), Adam(learning_rate=critic_learning_rate, betas=betas)
    )
    return Recipe(
        name="ff-gan",
        model=FFGAN,
        config=config,
        stages=(
            reading_stage(COEFFICIENTS, steps=steps),
            Stage(
                name="game",
                objective=Frontalization(weights),
                phases=(critic, dataclasses.replace(generator, parts=("encoder", "decoder"))),
                steps=later_steps(game_steps, steps, 6 / 5),
                data=lambda source, model: profiles(source, paired),
                frozen=("reader",),
            ),
        ),
        batch_size=batch_size,
        data="faces",
    )
