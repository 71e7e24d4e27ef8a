"""GAN-CLS and GAN-INT (Reed, Akata, Yan, Logeswaran, Schiele & Lee 2016, "Generative Adversarial Text to Image
Synthesis", arXiv:1605.05396, Algorithm 1).

With t the embedding of a caption, t_w that of another picture's caption, D the logit and sp(u) = log(1 + exp(u)):
    critic      E sp(-D(x, t)) + 1/2 [ E sp(D(x, t_w)) + E sp(D(G(z, t), t)) ]                      (matching-aware)
    generator   E sp(-D(G(z, t), t))
                + interpolate E sp(-D(G(z, t'), t')),  t' = (t + t_w) / 2                                (equation 5)
A critic that never sees a real picture with a wrong caption need not look at the caption. No picture belongs to t'.
The text encoder is trained before, with a picture encoder, so that a picture fits its caption better than others: with
s_ij = <picture_i, caption_j>,   E [1 + s_ij - s_ii]+ + E [1 + s_ji - s_ii]+  over captions that differ    (section 3.2)

Deviations: the encoders are small, and a caption's words are added up, in place of a character network; a dense
generator, which learnt captioned shapes sooner than a convolutional one. In measurements of 2,000 steps interpolation
gained nothing at this size; it is off unless asked for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

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

SYSTEM = SystemSpec(
    name="gan-cls",
    summary="Pictures from sentences, against a critic that is shown wrong sentences, too",
    paper=Paper(
        title="Generative Adversarial Text to Image Synthesis",
        authors="Reed, Akata, Yan, Logeswaran, Schiele & Lee",
        year=2016,
        arxiv="1605.05396",
    ),
    model="TextGAN",
    recipe="gan_cls",
    roles=("generator", "critic", "sampler"),
    tiny={"latent_dim": 4, "hidden": (16,), "text_dim": 8, "width": 4, "batch_size": 8, "game_steps": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextGANConfig(ModelConfig):
    """`condition`: the words that captions have, and how many at most. `text_dim`: numbers in a caption's embedding.
    `hidden`: of the generator; `width`: channels of the critic at half the size."""

    data_shape: tuple[int, ...] = (3, 16, 16)
    condition: Tokens = Tokens(length=6, words=WORDS)
    latent_dim: int = 16
    text_dim: int = 64
    hidden: tuple[int, ...] = (192, 192)
    width: int = 24

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        for name in ("latent_dim", "text_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")


class TextEncoder(nn.Module):
    """A caption's words added up, then two layers."""

    def __init__(self, words: int, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, dim, padding_idx=0)
        self.layers = mlp((dim, dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, length) -> embeddings (N, dim)."""
        embedded: Tensor = self.layers(self.words(tokens).sum(1))
        return embedded


class TextCritic(nn.Module):
    """A picture's features and a caption's embedding, judged together."""

    def __init__(self, config: TextGANConfig) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_encoder(config.data_shape, width=config.width, outputs=4 * config.text_dim), nn.LeakyReLU(0.2)
        )
        self.head = mlp((5 * config.text_dim, 3 * config.text_dim, 1))

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Pictures (N, C, H, W), embeddings (N, text_dim) -> logits (N,)."""
        return rearrange(self.head(torch.cat([self.trunk(x), text], 1)), "n 1 -> n")


class TextGAN(Model):
    """`text` and `picture` are the encoders of the joint embedding; `generator` and `critic` take embeddings."""

    config_class = TextGANConfig
    config: TextGANConfig

    def __init__(self, config: TextGANConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.text = TextEncoder(config.condition.size, config.text_dim)
        self.picture = conv_encoder(config.data_shape, width=config.width, outputs=config.text_dim)
        drawn = mlp((config.latent_dim + config.text_dim, *config.hidden, size))
        self.generator = nn.Sequential(drawn, nn.Unflatten(1, config.data_shape), nn.Tanh())
        self.critic = TextCritic(config)

    @property
    def condition(self) -> Condition:
        """A caption."""
        return self.config.condition

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def draw(self, z: Tensor, text: Tensor) -> Tensor:
        """z (N, latent_dim), embeddings (N, text_dim) -> pictures (N, *data_shape) in [-1, 1]."""
        drawn: Tensor = self.generator(torch.cat([z, text], 1))
        return drawn

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), captions (N, length) of tokens -> pictures. Raises GencoreError without captions."""
        return self.draw(z, self.text(told_tokens(condition)))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, *data_shape), captions (N, length) -> logits (N,), larger for real ones with their caption."""
        judged: Tensor = self.critic(x, self.text(told_tokens(condition)))
        return judged


def told_tokens(condition: Tensor | None) -> Tensor:
    """The sentences that a model is told. Raises GencoreError where it is told none."""
    if condition is None:
        raise GencoreError("This model draws and judges pictures of a sentence: give condition=...")
    return condition


class JointEmbedding(Objective):
    """Phase "embedding": a picture fits its own caption better than others, and a caption its own picture."""

    def embedding(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The symmetric hinge of the header, over pairs whose captions differ."""
        tokens = told_condition(model, batch)
        scores = model.picture(batch["x"]) @ model.text(tokens).T
        return Loss(ranking_loss(scores, (tokens[:, None] != tokens).any(2)))


def ranking_loss(scores: Tensor, differ: Tensor) -> Tensor:
    """E [1 + s_ij - s_ii]+ + E [1 + s_ji - s_ii]+ of scores (N, N), picture by caption, where `differ` (N, N)."""
    own, count = scores.diagonal(), differ.sum().clamp_min(1)
    by_picture, by_caption = relu(1 + scores - own[:, None]), relu(1 + scores - own[None])
    return ((by_picture + by_caption) * differ).sum() / count


class MatchingAwareGame(Objective):
    """Phases "critic" and "generator". `wrong_weight`: of real pictures with wrong captions, and 1 - it of generated
    ones; 0 is the plain conditional game.

    Logs `real`, `wrong` and `fake`: the critic's loss on pictures with their captions, with others' captions, and on
    generated pictures, nats; neither way is better: all near 0 is a critic that is never fooled.
    """

    def __init__(self, *, wrong_weight: float, interpolate: float) -> None:
        super().__init__()
        check(0 <= wrong_weight <= 1, "wrong_weight", wrong_weight, "a share in [0, 1]")
        check(interpolate >= 0, "interpolate", interpolate, "0 or more")
        self.wrong_weight, self.interpolate = wrong_weight, interpolate

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real with its caption, against real with another's and generated with its own."""
        x, tokens = batch["x"], told_condition(model, batch)
        with torch.no_grad():
            text, wrong = model.text(tokens), model.text(wrong_captions(tokens))
            fake = model.draw(model.draw_prior(GlobalNoise.like(x)), text)
        terms = {
            "real": softplus(-model.critic(x, text)).mean(),
            "wrong": softplus(model.critic(x, wrong)).mean(),
            "fake": softplus(model.critic(fake, text)).mean(),
        }
        refused = self.wrong_weight * terms["wrong"] + (1 - self.wrong_weight) * terms["fake"]
        return Loss(terms["real"] + refused, terms)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Generated pictures look real beside their captions, and beside captions between two."""
        tokens, noise = told_condition(model, batch), GlobalNoise.like(batch["x"])
        with torch.no_grad():
            text = model.text(tokens)
            between = (text + model.text(wrong_captions(tokens))) / 2
        total = softplus(-model.critic(model.draw(model.draw_prior(noise), text), text)).mean()
        if self.interpolate:
            drawn = model.draw(model.draw_prior(noise), between)
            total = total + self.interpolate * softplus(-model.critic(drawn, between)).mean()
        return Loss(total)


def wrong_captions(tokens: Tensor) -> Tensor:
    """For each caption of (N, length) another one of the batch: the next that differs. Raises GencoreError where all
    are the same."""
    differ = (tokens[:, None] != tokens).any(2)
    if not differ.any(1).all():
        raise GencoreError(
            "A batch has one caption only: the critic needs wrong ones. Take a larger batch, or more data."
        )
    count = len(tokens)
    ahead = (
        torch.arange(count, device=tokens.device)[None] - torch.arange(count, device=tokens.device)[:, None]
    ) % count
    nearest = torch.where(differ, ahead, count).argmin(1)
    return tokens[nearest]


def gan_cls(
    *,
    config: TextGANConfig = TextGANConfig(),
    steps: int = 300,
    game_steps: int | None = None,
    batch_size: int = 64,
    wrong_weight: float = 0.5,
    interpolate: float = 0.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` of the joint embedding, then `game_steps` of the game, None for ten times as many.
    `wrong_weight`: share of wrong captions in what
    the critic refuses; `interpolate`: weight of GAN-INT's term, 1 in the paper."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    embedding = Phase(name="embedding", parts=("text", "picture"), optimizer=Adam(learning_rate=learning_rate))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=("generator",), optimizer=optimizer),
    )
    game = MatchingAwareGame(wrong_weight=wrong_weight, interpolate=interpolate)
    return Recipe(
        name="gan-cls",
        model=TextGAN,
        config=config,
        stages=(
            Stage(name="embedding", objective=JointEmbedding(), phases=(embedding,), steps=steps),
            Stage(
                name="game",
                objective=game,
                phases=phases,
                steps=later_steps(game_steps, steps, 10),
                frozen=("text", "picture"),
            ),
        ),
        batch_size=batch_size,
        data="captions",
    )
