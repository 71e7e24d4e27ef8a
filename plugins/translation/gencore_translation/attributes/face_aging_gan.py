"""acGAN, also Age-cGAN (Antipov, Baccouche & Dugelay 2017, "Face Aging with Conditional Generative Adversarial
Networks", arXiv:1702.01983).

A conditional GAN makes faces G(z, y) of an age group y. For a given face x of group y_0
    z_0 = E(x), E trained on made pairs: E |E(G(z, y)) - z|^2
    z*  = argmin_z |FR(x) - FR(G(z, y_0))|^2 + prior_weight |z|^2 / 2, from z_0, by L-BFGS
    the face at another age: G(z*, y)
with FR a fixed face recogniser; the paper's baseline searches the pixels instead.

Deviations: FR reads the toy face's identity, is trained in a stage of its own (the paper has OpenFace); small
networks; the critic sees y by projection; a weak prior holds z near where G was trained. The group y_0 of a face, which
the paper knows, is where it is not told that in which G(E(x), y_0) is nearest to x in pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, two_players
from gencore.conditions import ClassLabel
from gencore.config import check
from gencore.latent.inversion import Inversion, Likeness, Search, invert
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder
from gencore.nn.labels import one_hot
from gencore.noise import GlobalNoise, NoiseSource
from gencore.recipes import later_steps

from ..parts.paired import check_positive
from .reading import Projection, reading_stage
from .views import in_age_groups

SYSTEM = SystemSpec(
    name="face-aging-gan",
    summary="A face at another age: its code is found by who it shows, then generated for another group",
    paper=Paper(
        title="Face Aging with Conditional Generative Adversarial Networks",
        authors="Antipov, Baccouche & Dugelay",
        year=2017,
        arxiv="1702.01983",
    ),
    model="FaceAgingGAN",
    recipe="face_aging_gan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct", "translate"),
    tiny={"latent_dim": 4, "width": 4, "batch_size": 4, "search_steps": 2, "reader_steps": 4, "encoder_steps": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FaceAgingConfig(ModelConfig):
    """`num_groups` of ages; `identity_dim`: the numbers that say who a face is; `search_steps` of L-BFGS a face."""

    data_shape: tuple[int, ...] = (1, 16, 16)
    num_groups: int = 6
    identity_dim: int = 5
    latent_dim: int = 16
    width: int = 24
    search_steps: int = 20
    prior_weight: float = 0.02

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check_positive(self, "identity_dim", "latent_dim", "width")
        check(self.num_groups >= 2, "num_groups", self.num_groups, "at least 2")
        check(self.search_steps >= 0, "search_steps", self.search_steps, "0 or more")
        check(self.prior_weight >= 0, "prior_weight", self.prior_weight, "0 or more")


class GroupCritic(nn.Module):
    """Pictures (N, C, H, W) and one-hot groups (N, groups) -> logits (N,)."""

    def __init__(self, config: FaceAgingConfig) -> None:
        super().__init__()
        features = 4 * config.width
        self.trunk = nn.Sequential(
            conv_encoder(config.data_shape, width=config.width, outputs=features), nn.LeakyReLU(0.2)
        )
        self.groups = nn.Linear(config.num_groups, features, bias=False)
        self.projection = Projection(features)

    def forward(self, x: Tensor, groups: Tensor) -> Tensor:
        """Larger for real pictures of that group."""
        judged: Tensor = self.projection(self.trunk(x), self.groups(groups))
        return judged


class FaceAgingGAN(Model):
    """Parts "generator", "critic", "encoder" (E), "reader" (FR)."""

    config_class = FaceAgingConfig
    config: FaceAgingConfig

    def __init__(self, config: FaceAgingConfig) -> None:
        super().__init__(config)
        shape, width = config.data_shape, config.width
        self.generator = conv_decoder(shape, width=width, inputs=config.latent_dim + config.num_groups)
        self.critic = GroupCritic(config)
        self.encoder = conv_encoder(shape, width=width, outputs=config.latent_dim)
        self.reader = conv_encoder(shape, width=width, outputs=config.identity_dim)

    @property
    def condition(self) -> ClassLabel:
        """The age group."""
        return ClassLabel(count=self.config.num_groups)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """Standard normal codes (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, latent_dim) and groups (N,) -> pictures (N, C, H, W) in [-1, 1]."""
        made: Tensor = self.generator(torch.cat([z, 2 * self._groups(condition, z)], 1))[:, 0]
        return made.tanh()

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) and groups (N,) -> logits (N,)."""
        logits: Tensor = self.critic(x, self._groups(condition, x))
        return logits

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> E(x), (N, latent_dim), from which the search starts."""
        code: Tensor = self.encoder(x)
        return code

    def group_of(self, x: Tensor) -> Tensor:
        """The group (N,) in which G(E(x), y) is nearest to x in pixels."""
        z = self.encode(x)
        groups = (torch.full((len(x),), y, device=x.device) for y in range(self.config.num_groups))
        return torch.stack([(self.generate(z, condition=y) - x).square().flatten(1).sum(1) for y in groups]).argmin(0)

    def search(self, x: Tensor, group: Tensor | None = None, *, pixels: bool = False) -> Inversion:
        """z* for pictures x (N, C, H, W) of age groups (N,); `pixels`: the baseline that compares pixels."""
        likeness = Likeness(
            pixel_weight=float(pixels),
            feature_weight=float(not pixels),
            features=self.reader,
            prior_weight=self.config.prior_weight,
        )
        return invert(
            self,
            x,
            likeness=likeness,
            search=Search(method="lbfgs", steps=self.config.search_steps, learning_rate=1.0),
            start="encoder",
            condition=self.group_of(x) if group is None else group,
        )

    def reconstruct(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) -> G(z*, y_0)."""
        return self.search(x).x

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> the same persons in age group `to`, its number; None is the oldest."""
        groups = self.config.num_groups
        word = str(groups - 1) if to is None else str(to)
        check(word in map(str, range(groups)), "to", to, f"the number of an age group, 0 to {groups - 1}")
        return self.generate(self.search(x).z, condition=torch.full((len(x),), int(word), device=x.device))

    def _groups(self, condition: Tensor | None, like: Tensor) -> Tensor:
        check(condition is not None, "condition", condition, "an age group for each example")
        assert condition is not None
        return one_hot(condition, self.config.num_groups, like)


class CodeRecovery(Objective):
    """Phase "encoder": E of what G makes, against the code it was made of. The batch lends its size alone."""

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Mean squared error over codes of the prior and groups at random."""
        noise = GlobalNoise.like(batch["x"])
        z = model.draw_prior(noise)
        with torch.no_grad():
            made = model.generate(z, condition=model.condition.draw(noise))
        return Loss(F.mse_loss(model.encode(made), z))


def face_aging_gan(
    *,
    config: FaceAgingConfig = FaceAgingConfig(),
    steps: int = 1200,
    reader_steps: int | None = None,
    encoder_steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    encoder_learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` of the game, `encoder_steps` of E, and `reader_steps` of FR, None for half as many. Toy faces
    get the age group as label; other data have it, and a key `identity`, (N, identity_dim)."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.99))
    (game,) = two_players(Adversarial(non_saturating), optimizer, steps=steps)
    recover = Phase(name="encoder", parts=("encoder",), optimizer=Adam(learning_rate=encoder_learning_rate))

    def grouped(source: Any, model: Any) -> Any:
        return in_age_groups(source, config.num_groups)

    return Recipe(
        name="face-aging-gan",
        model=FaceAgingGAN,
        config=config,
        stages=(
            dataclasses.replace(game, name="game", data=grouped),
            Stage(
                name="encoder",
                objective=CodeRecovery(),
                phases=(recover,),
                steps=later_steps(encoder_steps, steps, 1 / 2),
                data=grouped,
            ),
            reading_stage(("identity",), steps=later_steps(reader_steps, steps, 1 / 2)),
        ),
        batch_size=batch_size,
        data="faces",
    )
