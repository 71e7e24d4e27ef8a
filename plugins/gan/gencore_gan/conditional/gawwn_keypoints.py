"""GAWWN with key points (Reed, Akata, Mohan, Tenka, Schiele & Lee 2016, "Learning What and Where to Draw",
arXiv:1610.02454, sections 4.2 and 4.3): a sentence says what, the places of parts say where.

K key points (x, y, seen) become K maps of M x M, 1 in a point's cell and 0 elsewhere. Both players have two pathways.
The global one reads the maps by strided convolutions, and the sentence. The local one has the sentence's embedding in
every cell, gated by the maximum of the maps, so that it acts at the key points alone, and the maps beside it. The
losses are gawwn's, with the points k in place of the box:
    critic      E sp(-D(x, t, k)) + 1/2 [ E sp(D(x, t_w, k)) + E sp(D(G(z, t, k), t, k)) ],   sp(u) = log(1 + exp(u))
    generator   E sp(-D(G(z, t, k), t, k))

Places that nobody tells are made by a second pair of players (equation 5): s is 1 where a point is told,
    G_k(z, t, k, s) = s k + (1 - s) f(z, t, k),   D_k(k, t) tells them from real ones, beside their sentence
with s drawn anew for every example in training, so that any subset may be told.

Deviations: small networks; M is half the picture's side; a point's switch is drawn with a fair coin; which points are
seen is told, by default all, where the paper's f makes that up, too: it does not learn it at this size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate, one_hot, softplus

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.objective import told_condition
from gencore.conditions import Condition, Tokens
from gencore.config import check
from gencore.data.toys.captions import WORDS
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape, conv_encoder
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise, NoiseSource
from gencore.recipes import later_steps
from gencore_gan.conditional.gan_cls import JointEmbedding, TextEncoder, told_tokens
from gencore_gan.conditional.gawwn import Placed, PlacedGame

SYSTEM = SystemSpec(
    name="gawwn-keypoints",
    summary="Pictures from a sentence that says what, and key points that say where its parts are",
    paper=Paper(
        title="Learning What and Where to Draw",
        authors="Reed, Akata, Mohan, Tenka, Schiele & Lee",
        year=2016,
        arxiv="1610.02454",
    ),
    model="PosingGAN",
    recipe="gawwn_keypoints",
    roles=("generator", "critic", "sampler"),
    tiny={"latent_dim": 4, "text_dim": 8, "width": 4, "batch_size": 8, "game_steps": 4, "points_steps": 4},
)

COARSE = 4  # side of the global pathway's maps
HIDDEN = (128, 128, 128)  # of both players of the points; with one layer fewer they need twice the steps


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PosingGANConfig(ModelConfig):
    """`condition`: the words that sentences have, and how many at most. `points`: key points a picture. `text_dim`:
    numbers in a sentence's embedding. `width`: channels."""

    data_shape: tuple[int, ...] = (3, 16, 16)
    condition: Tokens = Tokens(length=6, words=WORDS)
    points: int = 2
    latent_dim: int = 16
    text_dim: int = 64
    width: int = 24

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        sides = self.data_shape[1:]
        good = min(sides) >= 8 and not any(side % 4 for side in sides)
        check(good, "data_shape", self.data_shape, "pictures of at least 8 x 8, sides that are multiples of 4")
        for name in ("points", "latent_dim", "text_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the key points' maps."""
        return self.data_shape[1] // 2, self.data_shape[2] // 2


def point_maps(points: Tensor, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Points (N, K, 3), x, y in pixels of a picture of `size` and 1 where seen -> maps (N, K, *cells) in {0, 1}."""
    rows, columns = (
        (points[..., axis] * count / side).long().clamp(0, count - 1)
        for axis, count, side in ((1, cells[0], size[0]), (0, cells[1], size[1]))
    )
    maps = one_hot(rows * cells[1] + columns, cells[0] * cells[1]).to(points.dtype)
    return rearrange(maps * points[..., 2:].round(), "n k (h w) -> n k h w", h=cells[0])


def at_points(values: Tensor, maps: Tensor) -> Tensor:
    """Values (N, D) in the cells of key points, 0 elsewhere, and the maps (N, K, h, w) beside: (N, D + K, h, w)."""
    gate = maps.amax(1, keepdim=True)
    return torch.cat([rearrange(values, "n d -> n d 1 1") * gate, maps], 1)


class PosedGenerator(nn.Module):
    """The local and the global pathway's maps side by side, then convolutions."""

    def __init__(self, config: PosingGANConfig) -> None:
        super().__init__()
        channels, height, width = config.data_shape
        told, text = config.latent_dim + config.text_dim, config.text_dim
        self.size, self.cells = (height, width), config.cells
        self.pose = conv_encoder((config.points, *config.cells), width=config.width, outputs=text)
        self.everywhere = nn.Sequential(
            mlp((told + text, text, config.width * COARSE**2)), nn.Unflatten(1, (config.width, COARSE, COARSE))
        )
        self.here = nn.Sequential(mlp((told, text, text)), nn.LeakyReLU(0.2))
        self.local = nn.Sequential(
            nn.Conv2d(text + config.points, 2 * config.width, 5, 1, 2), nn.LeakyReLU(0.2, inplace=True)
        )
        self.joined = nn.Sequential(
            nn.ConvTranspose2d(3 * config.width, 2 * config.width, 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * config.width, channels, 3, 1, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, text: Tensor, points: Tensor) -> Tensor:
        """z (N, latent_dim), embeddings (N, text_dim), points (N, K, 3) in pixels -> pictures in [-1, 1]."""
        maps, told = point_maps(points, self.size, self.cells), torch.cat([z, text], 1)
        coarse = self.everywhere(torch.cat([told, self.pose(maps)], 1))
        local = self.local(at_points(self.here(told), maps))
        drawn: Tensor = self.joined(torch.cat([local, interpolate(coarse, self.cells)], 1))
        return drawn


class PosedCritic(nn.Module):
    """Features of the picture, features at its key points beside the sentence, and the sentence, judged together."""

    def __init__(self, config: PosingGANConfig) -> None:
        super().__init__()
        channels, height, width = config.data_shape
        outputs = 2 * config.text_dim
        self.size, self.cells = (height, width), config.cells
        self.whole = conv_encoder(config.data_shape, width=config.width, outputs=outputs)
        self.features = nn.Sequential(nn.Conv2d(channels, config.width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True))
        shape = (config.width + config.text_dim + config.points, *config.cells)
        self.part = conv_encoder(shape, width=config.width, outputs=outputs)
        self.head = nn.Sequential(nn.LeakyReLU(0.2), mlp((5 * config.text_dim, 3 * config.text_dim, 1)))

    def forward(self, x: Tensor, text: Tensor, points: Tensor) -> Tensor:
        """Pictures (N, C, H, W), embeddings (N, text_dim), points (N, K, 3) in pixels -> logits (N,)."""
        maps = point_maps(points, self.size, self.cells)
        local = torch.cat([self.features(x) * maps.amax(1, keepdim=True), at_points(text, maps)], 1)
        return rearrange(self.head(torch.cat([self.whole(x), self.part(local), text], 1)), "n 1 -> n")


class PointFiller(nn.Module):
    """f of the header: places of all points from the told ones, which are seen, the sentence and noise."""

    def __init__(self, config: PosingGANConfig) -> None:
        super().__init__()
        given = config.latent_dim + config.text_dim + 4 * config.points
        self.net = nn.Sequential(mlp((given, *HIDDEN, 2 * config.points)), nn.Tanh())

    def forward(self, z: Tensor, text: Tensor, points: Tensor, told: Tensor) -> Tensor:
        """z (N, latent_dim), embeddings, points (N, K, 3), x and y from -1 to 1 and 1 where seen, of which those that
        are `told`, (N, K) in {0, 1}, keep their places -> (N, K, 3)."""
        told, seen = told[..., None], points[..., 2:]
        known = points[..., :2] * seen * told
        made = self.net(torch.cat([z, text, *(part.flatten(1) for part in (known, seen, told))], 1))
        places = known + (1 - told) * rearrange(made, "n (k c) -> n k c", c=2)
        return torch.cat([places * seen, seen], 2)


class PosingGAN(Model):
    """`text` and `picture` are the encoders of the joint embedding; `generator` and `critic` take embeddings and
    points, `filler` and `point_critic` are the players of points that nobody tells."""

    config_class = PosingGANConfig
    config: PosingGANConfig

    def __init__(self, config: PosingGANConfig) -> None:
        super().__init__(config)
        self.text = TextEncoder(config.condition.size, config.text_dim)
        self.picture = conv_encoder(config.data_shape, width=config.width, outputs=config.text_dim)
        self.generator = PosedGenerator(config)
        self.critic = PosedCritic(config)
        self.filler = PointFiller(config)
        self.point_critic = mlp((3 * config.points + config.text_dim, *HIDDEN, 1))

    @property
    def condition(self) -> Condition:
        """A sentence."""
        return self.config.condition

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z of the picture and z of the points, N(0, 1), and all points seen but not told: (n, 2 latent_dim + 4 K)."""
        drawn, count = noise.normal(2 * self.config.latent_dim), self.config.points
        unknown = drawn.new_tensor([[0.0, 0.0, 1.0]]).expand(count, 3).flatten()
        return torch.cat([drawn, unknown.expand(len(drawn), -1), drawn.new_zeros(len(drawn), count)], 1)

    def at(self, z: Tensor, points: Any, *, told: Any = None) -> Tensor:
        """Codes (N, 2 latent_dim + 4 K) with the key points of `points`: x, y in pixels and 1 where seen, (K, 3) for
        all or (N, K, 3). `told`: (K,) or (N, K), 1 for those whose place counts; others that are seen get one. None:
        all count.

        Raises GencoreError for points of another shape, or outside the picture.
        """
        count = self.config.points
        given = torch.as_tensor(points, dtype=z.dtype, device=z.device)
        given = given.expand(len(z), *given.shape) if given.ndim == 2 else given
        marks = torch.ones(count) if told is None else torch.as_tensor(told)
        marks = marks.to(z).expand(len(z), count) if marks.shape in ((count,), (len(z), count)) else marks
        if tuple(marks.shape) != (len(z), count) or not bool(((marks == 0) | (marks == 1)).all()):
            raise GencoreError(
                f"told is {tuple(marks.shape)}; expected {count} zeros and ones, or ({len(z)}, {count})."
            )
        return torch.cat([z[:, : 2 * self.config.latent_dim], self.centred(given).flatten(1), marks], 1)

    def points_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The key points that codes (N, 2 latent_dim + 4 K) are drawn with: (N, K, 3), in pixels."""
        size, count = self.config.latent_dim, self.config.points
        _, noise, points, told = z.split([size, size, 3 * count, count], 1)
        points = rearrange(points, "n (k c) -> n k c", c=3)
        filled = self.filler(noise, self.text(told_tokens(condition)), points, told)
        places, seen = (filled[..., :2] + 1) / 2 * self._sides(filled), filled[..., 2:]
        return torch.cat([places * seen, seen], 2)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, 2 latent_dim + 4 K), sentences (N, length) of tokens -> pictures. Raises GencoreError without."""
        text, points = self.text(told_tokens(condition)), self.points_of(z, condition)
        drawn: Tensor = self.generator(z[:, : self.config.latent_dim], text, points)
        return drawn

    def judge(self, x: Tensor, *, condition: Tensor | None = None, points: Tensor | None = None) -> Tensor:
        """Pictures, sentences (N, length), points (N, K, 3) in pixels, None for none seen -> logits (N,)."""
        places = self.checked(self.unplaced(len(x), x) if points is None else points, len(x))
        judged: Tensor = self.critic(x, self.text(told_tokens(condition)), places)
        return judged

    def unplaced(self, n: int, like: Tensor) -> Tensor:
        """No point seen, (n, K, 3): what says nothing of where."""
        return like.new_zeros(n, self.config.points, 3)

    def centred(self, points: Tensor) -> Tensor:
        """Points (N, K, 3) in pixels -> x and y from -1 to 1, all 0 where not seen. Raises GencoreError for wrong
        ones."""
        checked = self.checked(points, len(points))
        return torch.cat([2 * checked[..., :2] / self._sides(points) - 1, points[..., 2:]], 2) * points[..., 2:]

    def _sides(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.config.data_shape[2], self.config.data_shape[1]])

    def checked(self, points: Tensor, n: int) -> Tensor:
        """Points (n, K, 3) in pixels as they are. Raises GencoreError for others."""
        _, height, width = self.config.data_shape
        expected = (n, self.config.points, 3)
        most = points.new_tensor([width, height, 1]) + 1e-3
        fits = tuple(points.shape) == expected and bool(((points >= -1e-3) & (points <= most)).all())
        if not fits or not bool(((points[..., 2] == 0) | (points[..., 2] == 1)).all()):
            raise GencoreError(
                f"the key points are {tuple(points.shape)}, the first {points.flatten()[:3].tolist()}; expected "
                f"{expected}: x within 0 ... {width}, y within 0 ... {height}, in pixels, and 1 where seen, else 0. "
                "How many points there are is told by --set points=..."
            )
        return points


class PosedGame(PlacedGame):
    """gawwn's phases with key points for every picture. `critic_sees`: False shows the critic none.

    Logs what gawwn logs.
    """

    key, column = "keypoints", "keypoints"

    def _placed(self, model: Any, batch: Mapping[str, Tensor]) -> Placed:
        model.checked(self.places_of(batch), len(batch["x"]))
        return super()._placed(model, batch)


class PointGame(Objective):
    """Phases "critic" and "generator" of the key points: real ones against those that the filler completes. `told`: the
    chance that a point is told, so that the others have to fit it.

    Logs `real` and `fake`: the critic's loss on each, nats; neither way is better.
    """

    def __init__(self, *, told: float) -> None:
        super().__init__()
        check(0 <= told <= 1, "told", told, "a chance, 0 to 1")
        self.told = told

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """E sp(-D_k(k, t)) + E sp(D_k(G_k, t))."""
        with torch.no_grad():
            real, text, filled = self._points(model, batch)
        on_real, on_filled = (self._judged(model, points, text) for points in (real, filled))
        terms = {"real": softplus(-on_real).mean(), "fake": softplus(on_filled).mean()}
        return Loss(terms["real"] + terms["fake"], terms)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """E sp(-D_k(G_k, t))."""
        _, text, filled = self._points(model, batch)
        return Loss(softplus(-self._judged(model, filled, text)).mean())

    def _judged(self, model: Any, points: Tensor, text: Tensor) -> Tensor:
        judged: Tensor = model.point_critic(torch.cat([points.flatten(1), text], 1))
        return judged

    def _points(self, model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Real points, centred, embeddings, and the points with the places of some made anew."""
        real = model.centred(PosedGame.places_of(batch))
        noise = GlobalNoise.like(batch["x"])
        with torch.no_grad():
            text = model.text(told_condition(model, batch))
        told = (noise.uniform(real.shape[1]) < self.told).to(real.dtype)
        return real, text, model.filler(noise.normal(model.config.latent_dim), text, real, told)


def gawwn_keypoints(
    *,
    config: PosingGANConfig = PosingGANConfig(),
    steps: int = 300,
    game_steps: int | None = None,
    points_steps: int | None = None,
    batch_size: int = 64,
    wrong_weight: float = 0.5,
    critic_sees: bool = True,
    told: float = 0.5,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` of the joint embedding, then `game_steps` of the game, None for 20 / 3 as many, then `points_steps` of
    that of the key points, None for ten times as many. `wrong_weight`: share of wrong sentences
    in what the critic refuses; `critic_sees`: False is the twin whose critic knows no key points; `told`: the chance
    that a point is told in the last game, 0 is the twin that knows none."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    embedding = Phase(name="embedding", parts=("text", "picture"), optimizer=Adam(learning_rate=learning_rate))

    def players(critic: str, generator: str) -> tuple[Phase, Phase]:
        return (
            Phase(name="critic", parts=(critic,), optimizer=optimizer),
            Phase(name="generator", parts=(generator,), optimizer=optimizer),
        )

    game, frozen = PosedGame(wrong_weight=wrong_weight, critic_sees=critic_sees), ("text", "picture")
    return Recipe(
        name="gawwn-keypoints",
        model=PosingGAN,
        config=config,
        stages=(
            Stage(name="embedding", objective=JointEmbedding(), phases=(embedding,), steps=steps),
            Stage(
                name="game",
                objective=game,
                phases=players("critic", "generator"),
                steps=later_steps(game_steps, steps, 20 / 3),
                frozen=frozen,
            ),
            Stage(
                name="points",
                objective=PointGame(told=told),
                phases=players("point_critic", "filler"),
                steps=later_steps(points_steps, steps, 10),
                frozen=frozen,
            ),
        ),
        batch_size=batch_size,
        data="posed",
    )
