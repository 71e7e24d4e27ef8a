"""GAWWN (Reed, Akata, Mohan, Tenka, Schiele & Lee 2016, "Learning What and Where to Draw", arXiv:1610.02454), told
where by a bounding box (section 4.1).

The sentence says what, a box says where. The generator has two pathways. The local one draws maps that are pasted into
the box, 0 outside; the global one draws coarse maps of the whole picture; convolutions make the picture of both. The
critic looks at the whole picture and at the box cut out of it, and is told the sentence last. With t the sentence's
embedding, b the box and sp(u) = log(1 + exp(u)), the losses are GAN-CLS's, with b beside every t:
    critic      E sp(-D(x, t, b)) + 1/2 [ E sp(D(x, t_w, b)) + E sp(D(G(z, t, b), t, b)) ]
    generator   E sp(-D(G(z, t, b), t, b))
Cutting and pasting are spatial transformers (Jaderberg et al. 2015, arXiv:1506.02025): bilinear, along the box.

Deviations: small networks; the global pathway takes z and t alone, where the paper's reads a map of t in the box; a
box that nobody tells is drawn, square and uniform, as part of the prior. With key points: gawwn-keypoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, interpolate

from gencore import Adam, Loss, Model, ModelConfig, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.conditions import Condition, Tokens
from gencore.config import check
from gencore.data.toys.captions import WORDS
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape, conv_encoder
from gencore.nn.dense import mlp
from gencore.noise import NoiseSource
from gencore.recipes import later_steps
from gencore_gan.conditional.gan_cls import JointEmbedding, MatchingAwareGame, TextEncoder, told_tokens

SYSTEM = SystemSpec(
    name="gawwn",
    summary="Pictures from a sentence that says what, and a box that says where",
    paper=Paper(
        title="Learning What and Where to Draw",
        authors="Reed, Akata, Mohan, Tenka, Schiele & Lee",
        year=2016,
        arxiv="1610.02454",
    ),
    model="PlacingGAN",
    recipe="gawwn",
    roles=("generator", "critic", "sampler"),
    tiny={"latent_dim": 4, "text_dim": 8, "width": 4, "batch_size": 8, "game_steps": 4},
)

COARSE = 4  # side of the global pathway's maps


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlacingGANConfig(ModelConfig):
    """`condition`: the words that sentences have, and how many at most. `text_dim`: numbers in a sentence's embedding.
    `width`: channels. `sides`: of boxes that are drawn, from least to most, in shares of the picture's side."""

    data_shape: tuple[int, ...] = (3, 16, 16)
    condition: Tokens = Tokens(length=6, words=WORDS)
    latent_dim: int = 16
    text_dim: int = 64
    width: int = 24
    sides: tuple[float, float] = (0.25, 0.5)

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check(self.data_shape[1] >= 8, "data_shape", self.data_shape, "pictures of at least 8 x 8")
        for name in ("latent_dim", "text_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        good = len(self.sides) == 2 and 0 < self.sides[0] <= self.sides[1] <= 1
        check(good, "sides", self.sides, "two shares, 0 < least <= most <= 1")

    @property
    def local(self) -> tuple[int, int, int]:
        """The shape of a box that is cut out: half the picture's side."""
        channels, height, width = self.data_shape
        return channels, height // 2, width // 2


def cut(x: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, H, W) within boxes (N, 4), x0, y0, x1, y1 in pixels of the map -> (N, C, *size), bilinear.

    What lies outside the map is 0.
    """
    middle, half = _in_grid(box, x)
    return _sampled(x, half, middle, size)


def paste(maps: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, h, w) laid into boxes (N, 4), in pixels, of empty maps -> (N, C, *size), bilinear, 0 outside."""
    middle, half = _in_grid(box, maps.new_empty(1, 1, *size))
    return _sampled(maps, 1 / half, -middle / half, size)


def _in_grid(box: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Middles and half sides of boxes, each (N, 2), x first, where the map runs from -1 to 1."""
    sides = box.new_tensor([x.shape[3], x.shape[2]])
    low, high = 2 * box[:, :2] / sides - 1, 2 * box[:, 2:] / sides - 1
    return (low + high) / 2, (high - low) / 2


def _sampled(x: Tensor, scale: Tensor, shift: Tensor, size: tuple[int, int]) -> Tensor:
    """x (N, C, H, W) at scale * place + shift, of every place of a map of `size`."""
    turn = torch.diag_embed(scale)
    grid = affine_grid(torch.cat([turn, shift[:, :, None]], 2), [len(x), 1, *size], align_corners=False)
    return grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class TwoPathways(nn.Module):
    """Local maps, pasted into the box, and coarse global ones, side by side; then two convolutions."""

    def __init__(self, config: PlacingGANConfig) -> None:
        super().__init__()
        self.size = (config.data_shape[1], config.data_shape[2])
        told, width, (_, height, across) = config.latent_dim + config.text_dim, config.width, config.local
        self.here = nn.Sequential(
            mlp((told, 4 * config.text_dim, width * height * across)),
            nn.Unflatten(1, (width, height, across)),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.everywhere = nn.Sequential(
            mlp((told, config.text_dim, width * COARSE**2)), nn.Unflatten(1, (width, COARSE, COARSE))
        )
        self.joined = nn.Sequential(
            nn.Conv2d(2 * width + 1, 2 * width, 3, 1, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, config.data_shape[0], 3, 1, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, text: Tensor, box: Tensor) -> Tensor:
        """z (N, latent_dim), embeddings (N, text_dim), boxes (N, 4) in pixels -> pictures in [-1, 1]."""
        told = torch.cat([z, text], 1)
        here = self.here(told)
        placed = paste(torch.cat([here, torch.ones_like(here[:, :1])], 1), box, self.size)
        drawn: Tensor = self.joined(torch.cat([placed, interpolate(self.everywhere(told), self.size)], 1))
        return drawn


class TwoLooks(nn.Module):
    """Features of the picture, features of the box cut out of it, and the sentence, judged together."""

    def __init__(self, config: PlacingGANConfig) -> None:
        super().__init__()
        self.size = config.local[1:]
        outputs = 2 * config.text_dim
        self.whole = conv_encoder(config.data_shape, width=config.width, outputs=outputs)
        self.part = conv_encoder(config.local, width=config.width, outputs=outputs)
        self.head = nn.Sequential(nn.LeakyReLU(0.2), mlp((5 * config.text_dim, 3 * config.text_dim, 1)))

    def forward(self, x: Tensor, text: Tensor, box: Tensor) -> Tensor:
        """Pictures (N, C, H, W), embeddings (N, text_dim), boxes (N, 4) in pixels -> logits (N,)."""
        seen = [self.whole(x), self.part(cut(x, box, self.size)), text]
        return rearrange(self.head(torch.cat(seen, 1)), "n 1 -> n")


class PlacingGAN(Model):
    """`text` and `picture` are the encoders of the joint embedding; `generator` and `critic` take embeddings, boxes."""

    config_class = PlacingGANConfig
    config: PlacingGANConfig

    def __init__(self, config: PlacingGANConfig) -> None:
        super().__init__(config)
        self.text = TextEncoder(config.condition.size, config.text_dim)
        self.picture = conv_encoder(config.data_shape, width=config.width, outputs=config.text_dim)
        self.generator = TwoPathways(config)
        self.critic = TwoLooks(config)

    @property
    def condition(self) -> Condition:
        """A sentence."""
        return self.config.condition

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), and a square box, uniform in side and place: (n, latent_dim + 4)."""
        z, (least, most), size = noise.normal(self.config.latent_dim), self.config.sides, self.config.data_shape[2]
        drawn = noise.uniform(3)
        side = least + (most - least) * drawn[:, :1]
        low = (1 - side) * drawn[:, 1:]
        return torch.cat([z, size * low, size * (low + side)], 1)

    def at(self, z: Tensor, box: Any) -> Tensor:
        """Codes (N, latent_dim + 4) with the boxes of `box`: x0, y0, x1, y1 in pixels, one for all or one each.

        Raises GencoreError for boxes that are empty or leave the picture.
        """
        given = torch.as_tensor(box, dtype=z.dtype, device=z.device)
        given = given.expand(len(z), 4) if given.ndim == 1 and len(given) == 4 else given
        return torch.cat([z[:, : self.config.latent_dim], self._checked(given, len(z))], 1)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, latent_dim + 4), sentences (N, length) of tokens -> pictures. Raises GencoreError without."""
        z, box = z.tensor_split([self.config.latent_dim], 1)
        drawn: Tensor = self.generator(z, self.text(told_tokens(condition)), box)
        return drawn

    def judge(self, x: Tensor, *, condition: Tensor | None = None, box: Tensor | None = None) -> Tensor:
        """Pictures, sentences (N, length), boxes (N, 4) in pixels, None for the whole picture -> logits (N,)."""
        place = self.unplaced(len(x), x) if box is None else self._checked(box, len(x))
        judged: Tensor = self.critic(x, self.text(told_tokens(condition)), place)
        return judged

    def unplaced(self, n: int, like: Tensor) -> Tensor:
        """The whole picture as a box, (n, 4)."""
        _, height, width = self.config.data_shape
        return like.new_tensor([0, 0, width, height]).expand(n, 4)

    def _checked(self, box: Tensor, n: int) -> Tensor:
        _, height, width = self.config.data_shape
        most = box.new_tensor([width, height, width, height]) + 1e-3
        fits = tuple(box.shape) == (n, 4) and bool((box >= -1e-3).all() and (box <= most).all())
        if not fits or not bool((box[:, :2] < box[:, 2:]).all()):
            raise GencoreError(
                f"the boxes are {tuple(box.shape)}, the first {box.flatten()[:4].tolist()}; expected ({n}, 4): x0, y0, "
                f"x1, y1 in pixels, x0 < x1 within 0 ... {width}, y0 < y1 within 0 ... {height}."
            )
        return box


class Placed(NamedTuple):
    """A model whose places are settled, as GAN-CLS's game plays it: `shown` are those that the critic sees."""

    model: Any
    places: Tensor
    shown: Tensor

    @property
    def condition(self) -> Condition:
        """A sentence."""
        return self.model.condition

    def text(self, tokens: Tensor) -> Tensor:
        """Sentences (N, length) -> embeddings (N, text_dim)."""
        return self.model.text(tokens)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.model.config.latent_dim)

    def draw(self, z: Tensor, text: Tensor) -> Tensor:
        """z and embeddings -> pictures, each drawn where it is told."""
        return self.model.generator(z, text, self.places)

    def critic(self, x: Tensor, text: Tensor) -> Tensor:
        """Pictures and embeddings -> logits (N,), each judged by its place."""
        return self.model.critic(x, text, self.shown)


class PlacedGame(MatchingAwareGame):
    """GAN-CLS's phases with a place for every picture, the batch's `key`, which a folder has in `column`.
    `critic_sees`: False shows the critic what says nothing of where: the whole picture twice.

    Logs what gan-cls logs.
    """

    key, column = "box", "bbox"

    def __init__(self, *, wrong_weight: float, critic_sees: bool) -> None:
        super().__init__(wrong_weight=wrong_weight, interpolate=0.0)
        self.critic_sees = critic_sees

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real with its sentence and place, against real with another sentence, and drawn with its own."""
        return super().critic(self._placed(model, batch), batch)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Drawn pictures look real beside their sentences, in their places."""
        return super().generator(self._placed(model, batch), batch)

    @classmethod
    def places_of(cls, batch: Mapping[str, Tensor]) -> Tensor:
        """What the batch says of where. Raises GencoreError where it says nothing."""
        if cls.key not in batch:
            raise GencoreError(
                f"The batch has no {cls.key!r}, only {sorted(batch)}: this system learns where things stand. Take data "
                f"that say it, such as a folder with a column {cls.column} (--condition text,{cls.column})."
            )
        return batch[cls.key]

    def _placed(self, model: Any, batch: Mapping[str, Tensor]) -> Placed:
        places = self.places_of(batch)
        return Placed(model, places, places if self.critic_sees else model.unplaced(len(places), places))


def gawwn(
    *,
    config: PlacingGANConfig = PlacingGANConfig(),
    steps: int = 300,
    game_steps: int | None = None,
    batch_size: int = 64,
    wrong_weight: float = 0.5,
    critic_sees: bool = True,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` of the joint embedding, then `game_steps` of the game, None for 20 / 3 as many.
    `wrong_weight`: share of wrong sentences in what
    the critic refuses; `critic_sees`: False is the twin whose critic knows no box."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    embedding = Phase(name="embedding", parts=("text", "picture"), optimizer=Adam(learning_rate=learning_rate))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=("generator",), optimizer=optimizer),
    )
    game = PlacedGame(wrong_weight=wrong_weight, critic_sees=critic_sees)
    return Recipe(
        name="gawwn",
        model=PlacingGAN,
        config=config,
        stages=(
            Stage(name="embedding", objective=JointEmbedding(), phases=(embedding,), steps=steps),
            Stage(
                name="game",
                objective=game,
                phases=phases,
                steps=later_steps(game_steps, steps, 20 / 3),
                frozen=("text", "picture"),
            ),
        ),
        batch_size=batch_size,
        data="boxed",
    )
