"""DR-GAN (Tran, Yin & Liu 2017, "Disentangled Representation Learning GAN for Pose-Invariant Face Recognition", CVPR
2017; extended as "Representation Learning by Rotating Your Faces", arXiv:1705.11136).

An encoder makes of a picture x of person y in pose p a code f(x) and a weight w(x) in (0, 1); a decoder makes of f, any
pose c and noise z the same person in that pose. The critic has a head for N persons and one further class, "made", and
one for poses:
    critic      CE(person(x), y) + CE(pose(x), p) + CE(person(G(f, c, z)), N)
    generator   person_weight CE(person(G(f, c, z)), y) + pose_weight CE(pose(G(f, c, z)), c)
Several pictures x_1 ... x_n of a person have one code
    f = sum_i w_i f_i / sum_i w_i
so that f depends on c, and with it on the pose of x, only as far as the person does.

Deviations: f of two pictures of a person in one half of a batch, of one picture in the other, where the paper's losses
have a term for each. Real and made pictures go through the critic apart, for its batch normalisation. At toy size a
fused code is hardly better than that of one picture (measured in a prototype): unit tests hold the fusion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape, conv_encoder
from gencore.nn.labels import one_hot
from gencore.noise import GlobalNoise, NoiseSource

from ..parts.paired import check_positive, players
from ..parts.terms import weighted_sum
from .views import in_poses

SYSTEM = SystemSpec(
    name="dr-gan",
    summary="A face turned to any pose: a critic that knows persons and poses frees the code of the pose",
    paper=Paper(
        title="Disentangled Representation Learning GAN for Pose-Invariant Face Recognition",
        authors="Tran, Yin & Liu",
        year=2017,
        arxiv="1705.11136",
    ),
    model="DRGAN",
    recipe="dr_gan",
    roles=("encoder", "generator", "critic"),
    traits=("translate", "classify"),
    tiny={"width": 4, "code_dim": 4, "noise_dim": 2, "critic_width": 4, "num_people": 5, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DRGANConfig(ModelConfig):
    """`num_people` of the training data. `poses`: the yaws that the pose classes stand for, from left to right."""

    data_shape: tuple[int, ...] = (1, 16, 16)
    num_people: int = 40
    poses: tuple[float, ...] = (-0.8, 0.0, 0.8)
    code_dim: int = 32
    noise_dim: int = 8
    width: int = 24
    critic_width: int = 24

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check_positive(self, "num_people", "code_dim", "noise_dim", "width", "critic_width")
        rising = len(self.poses) >= 2 and all(a < b for a, b in zip(self.poses, self.poses[1:], strict=False))
        inside = rising and self.poses[0] >= -1 and self.poses[-1] <= 1
        check(inside, "poses", self.poses, "two or more yaws in [-1, 1], rising")


class TwoHeads(nn.Module):
    """The critic: pictures -> logits of persons (N, num_people + 1), the last for made pictures, and of poses."""

    def __init__(self, config: DRGANConfig) -> None:
        super().__init__()
        channels, width = config.data_shape[0], config.critic_width
        places = config.data_shape[1] * config.data_shape[2] // 16
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Flatten(),
        )  # fmt: skip
        self.person = nn.Linear(2 * width * places, config.num_people + 1)
        self.pose = nn.Linear(2 * width * places, len(config.poses))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, num_people + 1), (N, poses)."""
        features = self.trunk(x)
        return self.person(features), self.pose(features)


def normalised_decoder(config: DRGANConfig, inputs: int) -> nn.Sequential:
    """Codes (N, inputs) -> pictures (N, *data_shape) in [-1, 1]. Batch normalisation holds it off the ends of the tanh,
    where, without, the critic drives it within 100 steps."""
    channels, height, across = config.data_shape
    width, places = config.width, (height // 4, across // 4)
    return nn.Sequential(
        nn.Linear(inputs, 2 * width * places[0] * places[1]), nn.Unflatten(1, (2 * width, *places)),
        nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2), nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        nn.BatchNorm2d(width), nn.LeakyReLU(0.2), nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


class DRGAN(Model):
    """Parts "encoder", "decoder", "critic". A code that is generated from is f and the noise, side by side."""

    config_class = DRGANConfig
    config: DRGANConfig

    def __init__(self, config: DRGANConfig) -> None:
        super().__init__(config)
        codes = config.code_dim + config.noise_dim + len(config.poses)
        self.encoder = conv_encoder(config.data_shape, width=config.width, outputs=config.code_dim + 1)
        self.decoder = normalised_decoder(config, codes)
        self.critic = TwoHeads(config)

    def weighted_code(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (N, C, H, W) -> f (N, code_dim) and w (N,) in (0, 1), how much each says of its person."""
        f, w = self.encoder(x).split([self.config.code_dim, 1], 1)
        return f, w.sigmoid().flatten()

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> f (N, code_dim)."""
        return self.weighted_code(x)[0]

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """f and noise (N, code_dim + noise_dim) -> pictures (N, C, H, W) in [-1, 1], in the poses `condition` (N,), or
        in the middle one."""
        poses = len(self.config.poses)
        pose = torch.full((len(z),), poses // 2, device=z.device) if condition is None else condition
        made: Tensor = self.decoder(torch.cat([z, one_hot(pose, poses, z)], 1))
        return made

    def turned(self, f: Tensor, pose: Tensor, noise: NoiseSource | None = None) -> Tensor:
        """f (N, code_dim) in poses (N,) -> pictures (N, C, H, W); without `noise` z is 0."""
        z = f.new_zeros(len(f), self.config.noise_dim) if noise is None else noise.normal(self.config.noise_dim)
        return self.generate(torch.cat([f, z], 1), condition=pose)

    def translate(self, x: Tensor, *, to: str | None = None, noise: NoiseSource | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> the same persons in pose `to`, the number of one of `poses`; None is the middle."""
        poses = len(self.config.poses)
        word = str(poses // 2) if to is None else str(to)
        check(word in map(str, range(poses)), "to", to, f"the number of a pose, 0 to {poses - 1}")
        pose = torch.full((len(x),), int(word), device=x.device)
        return self.turned(self.encode(x), pose, noise)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> logits (N, num_people + 1), of persons and, last, of made pictures."""
        persons: Tensor = self.critic(x)[0]
        return persons

    def classify(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) -> the likeliest person, (N,) int64."""
        return self.judge(x)[:, :-1].argmax(1)


def fused(f: Tensor, w: Tensor) -> Tensor:
    """sum_i w_i f_i / sum_i w_i of codes (N, n, D) with weights (N, n): (N, D)."""
    return torch.einsum("nkd,nk->nd", f, w / w.sum(1, keepdim=True))


def companion(label: Tensor) -> Tensor:
    """For each of labels (N,) the place of an example of its class, itself perhaps, at random: (N,) int64."""
    return torch.multinomial((label[:, None] == label).float(), 1).flatten()


class Rotation(Objective):
    """Phases "critic" and "generator" on batch["x"], its person `label` and its `pose`.

    Logs `person` and `pose`: cross-entropies, nats, of data in phase "critic" and of made pictures in "generator";
    lower is better. `made`: cross-entropy of made pictures with the class of such, nats; neither way is better: low is
    a critic that is never fooled.
    """

    def __init__(self, *, person_weight: float, pose_weight: float) -> None:
        super().__init__()
        for name, value in (("person_weight", person_weight), ("pose_weight", pose_weight)):
            check(value >= 0, name, value, "0 or more")
        self.person_weight, self.pose_weight = person_weight, pose_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Persons and poses of real pictures; made ones are of the class after the last person."""
        person, pose = known(batch)
        with torch.no_grad():
            made, _ = self._made(model, batch["x"], person)
        persons, poses = model.critic(batch["x"])
        judged = model.judge(made)
        last = torch.full_like(person, judged.shape[1] - 1)
        terms = {"person": F.cross_entropy(persons, person), "pose": F.cross_entropy(poses, pose)}
        terms["made"] = F.cross_entropy(judged, last)
        return weighted_sum({name: (1.0, value) for name, value in terms.items()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """What is made is the person, in the pose that was drawn."""
        person, _ = known(batch)
        made, pose = self._made(model, batch["x"], person)
        persons, poses = model.critic(made)
        return weighted_sum(
            {
                "person": (self.person_weight, F.cross_entropy(persons, person)),
                "pose": (self.pose_weight, F.cross_entropy(poses, pose)),
            }
        )

    def _made(self, model: Any, x: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
        """A picture for each of x, in a pose at random, and the poses; the first half's codes are fused of two."""
        noise, half = GlobalNoise.like(x), len(x) // 2
        f, w = model.weighted_code(x)
        beside = companion(person)[:half]
        both = [torch.stack([values[:half], values[beside]], 1) for values in (f, w)]
        code = torch.cat([fused(*both), f[half:]])
        pose = noise.integers(len(model.config.poses))
        return model.turned(code, pose, noise), pose


def known(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The batch's persons and poses, (N,) each. Raises GencoreError where it lacks one."""
    if not {"label", "pose"} <= set(batch):
        raise GencoreError(f"The batch has the keys {sorted(batch)}; expected label, the person, and pose.")
    return batch["label"], batch["pose"]


def dr_gan(
    *,
    config: DRGANConfig = DRGANConfig(),
    steps: int = 600,
    batch_size: int = 64,
    person_weight: float = 1.0,
    pose_weight: float = 1.0,
    learning_rate: float = 5e-4,
) -> Recipe:
    """Toy faces become those of `num_people` persons in `poses`; other data have persons as labels, and a key pose."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.99))
    critic, generator = players(optimizer, optimizer)
    phases = (critic, dataclasses.replace(generator, parts=("encoder", "decoder")))
    stage = Stage(
        objective=Rotation(person_weight=person_weight, pose_weight=pose_weight),
        phases=phases,
        steps=steps,
        data=lambda source, model: in_poses(source, config.num_people, config.poses),
    )
    return Recipe(name="dr-gan", model=DRGAN, config=config, stages=(stage,), batch_size=batch_size, data="faces")
