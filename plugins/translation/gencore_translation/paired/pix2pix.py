"""pix2pix (Isola, Zhu, Zhou & Efros 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
arXiv:1611.07004).

With c the given picture, x its target, G a U-Net, D a patch critic that sees c beside the picture, and D its logit
    critic      1/2 [ E sp(-D(c, x)) + E sp(D(c, G(c))) ]            (equation 1; halved: section 3.3)
    generator   game_weight E sp(-D(c, G(c))) + l1_weight E |x - G(c)|      (equations 1, 3 and 4, non-saturating)
where sp(u) = log(1 + exp(u)). The only noise is dropout, which the paper leaves on at test time, too: give `translate`
a `noise` for that. Without one it is off, and a picture has one translation.

Deviations: neither normalisation nor dropout by default: small networks do worse with them (scenes of 16 pixels, 500
steps, the L1 distance from the likest possible scene: 0.09 without, 0.30 with dropout 0.5). The paper has dropout 0.5,
and batch normalisation with a batch of one, which is `norm` "instance". l1_weight 10 and a learning rate of 1e-3, where
the paper has 100 and 2e-4: with small networks and few steps the critic changes nothing at 100. A critic of 16-pixel
patches for pictures of 16 pixels (`critic_halvings` 3 is the paper's of 70). Of a grey picture light and dark stay, of
one with holes the pixels around them, and the network is shown such a hole filled by a smooth membrane, to which it
adds; the paper paints all anew (`keep`). The critic does not tell matched pairs from
others, as measured: only one that is shown mismatched pairs learns that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from gencore import Adam, Model, ModelConfig, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check, replace
from gencore.data.augmentation import degradation as degradation_of
from gencore.errors import GencoreError
from gencore.noise import NoiseSource
from gencore.tiling import Tiling

from ..parts.critics import least_side, patch_critic
from ..parts.keeping import Keeps, check_keeps, kept_of
from ..parts.norms import Norm, check_norm
from ..parts.paired import PairedTranslation, check_pictures, check_positive, players
from ..parts.unet import UNet
from ..parts.unet_files import published_unet
from ..parts.views import pairs_or_augmented, pairs_or_degraded

SYSTEM = SystemSpec(
    name="pix2pix",
    summary="A U-Net turns a picture into its pair, against a critic of patches that sees both",
    paper=Paper(
        title="Image-to-Image Translation with Conditional Adversarial Networks",
        authors="Isola, Zhu, Zhou & Efros",
        year=2017,
        arxiv="1611.07004",
    ),
    model="Pix2Pix",
    recipe="pix2pix",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles",),
    tiny={"width": 4, "critic_width": 4, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pix2PixConfig(ModelConfig):
    """`data_shape`: the target's (channels, height, width) in training; `input_shape`: the given picture's. Pictures
    of any size are translated. `width`: channels at half the size. `depth`: halvings of the U-Net; the paper has 8
    for 256 pixels. `dropout`: in three levels next to the
    innermost one. `critic_halvings`: 1, 2, 3 for patches of 16, 34, 70 pixels. `keeps`: what of the given picture
    stands in the result as it is: "luma" of a grey one, "known", all but what is mid grey, of one with holes."""

    data_shape: tuple[int, ...] = (3, 16, 16)
    input_shape: tuple[int, ...] = (3, 16, 16)
    width: int = 32
    depth: int = 3
    norm: Norm = "none"
    dropout: float = 0.0
    critic_width: int = 32
    critic_halvings: int = 1
    keeps: Keeps = "nothing"

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_pictures("input_shape", self.input_shape)
        check_positive(self, "width", "critic_width", "critic_halvings")
        check(self.depth >= 2, "depth", self.depth, "at least 2")
        check_norm(self.norm)
        check_keeps(self.keeps, self.input_shape[0], self.data_shape[0])
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")


class Pix2Pix(Model):
    """Parts "generator" and "critic"."""

    config_class = Pix2PixConfig
    config: Pix2PixConfig
    regions = ("generator", "critic")

    def __init__(self, config: Pix2PixConfig) -> None:
        super().__init__(config)
        given, made = config.input_shape[0], config.data_shape[0]
        self.generator = UNet(
            given,
            made,
            width=config.width,
            depth=config.depth,
            norm=config.norm,
            dropout=config.dropout,
            keeps=config.keeps,
        )
        self.critic = patch_critic(
            given + made, width=config.critic_width, halvings=config.critic_halvings, norm=config.norm
        )

    @property
    def tiling(self) -> Tiling | None:
        """How a picture may be cut (gencore.tiling)."""
        return self.generator.tiling

    def translate(self, x: Tensor, *, to: str | None = None, noise: NoiseSource | None = None) -> Tensor:
        """Given pictures (N, C, H, W) -> their translations (N, C', H, W) in [-1, 1]; `noise` draws the dropout."""
        check(to is None, "to", to, "None: pix2pix has one direction")
        made: Tensor = self.generator(x, noise)
        return made.clamp(-1, 1)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> Pix2Pix:
        """The model of a U-Net's checkpoint of pytorch-CycleGAN-and-pix2pix (netG), with a new critic of 70 pixels.

        Batch normalisation takes the statistics of its training, as that program does with --eval. Raises
        GencoreError for a key too many, too few, or of another shape.
        """
        file = published_unet(tensors)
        side = max(2**file.depth, least_side(3))
        config = Pix2PixConfig(
            data_shape=(file.channels_out, side, side),
            input_shape=(file.channels_in, side, side),
            width=file.width,
            depth=file.depth,
            norm=file.norm,
            dropout=0.5,
            critic_halvings=3,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = cls(config)
        try:
            model.generator.load_state_dict(file.tensors)
        except RuntimeError as error:
            raise GencoreError(f"The checkpoint does not fit a U-Net: {error}") from error
        return model.eval()

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures x (N, C', H, W) with those that they were made from -> logits of patches, larger for real ones."""
        if condition is None or condition.shape[-2:] != x.shape[-2:]:
            got = None if condition is None else tuple(condition.shape)
            raise GencoreError(f"condition is {got}; expected the picture that x was made from, of its size.")
        logits: Tensor = self.critic(torch.cat([condition, x], 1))
        return logits


def pix2pix(
    *,
    config: Pix2PixConfig = Pix2PixConfig(),
    steps: int = 2000,
    batch_size: int = 16,
    degradation: str = "",
    crop: int = 0,
    keep: bool = True,
    l1_weight: float = 10.0,
    game_weight: float = 1.0,
    learning_rate: float = 1e-3,
    critic_learning_rate: float = 5e-4,
) -> Recipe:
    """Pairs, or pictures alone whose inputs `degradation` makes, such as grey or hole:10 (gencore.data.augmentation).
    `crop`: the side of random squares, 0 for whole pictures. `keep`: what the degradation leaves as it was, light and
    dark of a grey picture, the pixels around a hole, stands in the result as it is; False: all is painted anew."""
    check(crop >= 0, "crop", crop, "0 or more")
    view = pairs_or_augmented(crop=crop)
    if degradation:
        degrade = degradation_of(degradation)
        given = degrade(torch.zeros(1, *config.data_shape), 0, torch.zeros(1).long()).shape[1:]
        check(given[1:] == config.data_shape[1:], "degradation", degradation, "one that keeps the picture's size")
        keeps = {"keeps": kept_of(degradation)} if keep and config.keeps == "nothing" else {}
        config = replace(config, {"input_shape": tuple(given), **keeps})
        view = pairs_or_degraded(degrade, crop=crop or min(config.data_shape[1:]))
    least, side = least_side(config.critic_halvings), crop or min(config.data_shape[1:])
    check(side >= least, "critic_halvings", config.critic_halvings, f"fewer: pictures of {side} are below {least}")
    objective = PairedTranslation(
        {"l1": (l1_weight, F.l1_loss)}, non_saturating, game_weight=game_weight, critic_weight=0.5, sees_input=True
    )
    betas = (0.5, 0.999)
    phases = players(
        Adam(learning_rate=learning_rate, betas=betas), Adam(learning_rate=critic_learning_rate, betas=betas)
    )
    stage = Stage(objective=objective, phases=phases, steps=steps, data=view)
    return Recipe(name="pix2pix", model=Pix2Pix, config=config, stages=(stage,), batch_size=batch_size, data="scenes")
