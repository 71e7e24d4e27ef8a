"""Talking heads from few shots (Zakharov, Shysheya, Burkov & Lempitsky 2019, "Few-Shot Adversarial Learning of
Realistic Neural Talking Head Models", arXiv:1905.08233).

Of K frames x_k of person i and their landmarks' maps y_k an embedder makes e = mean_k E(x_k, y_k); the generator draws
the person with other landmarks y, psi = P e setting the scale and shift of its normalised maps:
    generator   content_weight [ |x - G(y, e)| + 0.1 perceptual ] - D(G(y, e), y, i)
                + feature_weight sum_l |V_l(x, y) - V_l(G, y)| + match_weight |e - W_i|
    critic      E [1 - D(x, y, i)]+ + E [1 + D(G(y, e), y, i)]+,   D(x, y, i) = V(x, y)'(W_i + w_0) + b
For a new person (`fine_tuned`) psi becomes parameters that begin as P e, W_i a vector that begins as e, and generator
and critic go on with the new frames and the same terms but the match.

Deviations: small networks; the perceptual term in fixed random features (../parts/perceptual.py) and |.|, where the
paper has two networks trained on photographs; match_weight 10, not 80; W_i learns in the critic's steps alone. The
game and the matched features do not show at toy size (measured in a prototype): unit tests hold them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import hinge
from gencore.conditions import Image
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape, conv_encoder

from ..parts.paired import check_positive, players
from ..parts.perceptual import PerceptualDistance
from ..parts.terms import weighted_sum
from .reading import Projection
from .views import talking

SYSTEM = SystemSpec(
    name="talking-heads",
    summary="A person of a few frames with the landmarks of another: an embedding sets the generator's normalisation",
    paper=Paper(
        title="Few-Shot Adversarial Learning of Realistic Neural Talking Head Models",
        authors="Zakharov, Shysheya, Burkov & Lempitsky",
        year=2019,
        arxiv="1905.08233",
    ),
    model="TalkingHeads",
    recipe="talking_heads",
    roles=("encoder", "generator", "critic"),
    tiny={"width": 4, "embedding_dim": 4, "num_people": 20, "shots": 2, "batch_size": 4},
)

PERCEPTUAL_SHARE = 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TalkingHeadsConfig(ModelConfig):
    """`num_people` of the training data, `num_maps` of landmarks."""

    data_shape: tuple[int, ...] = (1, 16, 16)
    num_people: int = 200
    num_maps: int = 6
    embedding_dim: int = 16
    width: int = 24

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check_positive(self, "num_people", "num_maps", "embedding_dim", "width")


class StyledGenerator(nn.Module):
    """Landmark maps (N, M, H, W) and psi (N, 10 width), scales and shifts of channels -> pictures (N, C, H, W)."""

    def __init__(self, config: TalkingHeadsConfig) -> None:
        super().__init__()
        width = config.width
        self.down = nn.Sequential(
            nn.Conv2d(config.num_maps, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1)
        )
        self.styled = nn.ModuleList(
            (
                nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
                nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
                nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            )
        )
        self.sizes = [4 * width, 4 * width, 2 * width]
        self.last = nn.ConvTranspose2d(width, config.data_shape[0], 4, 2, 1)

    def forward(self, maps: Tensor, psi: Tensor) -> Tensor:
        """In [-1, 1]."""
        h = F.leaky_relu(self.down(maps), 0.2)
        styles = psi.split(self.sizes, 1)
        for layer, style in zip(self.styled, styles, strict=True):
            h = F.leaky_relu(restyled(layer(h), style), 0.2)
        made: Tensor = self.last(h)
        return made.tanh()


def restyled(h: Tensor, style: Tensor) -> Tensor:
    """AdaIN: (1 + s) (h - mean) / std + t of each channel, over places; h (N, C, H, W), style s, t (N, 2 C)."""
    scale, shift = rearrange(style, "n (two c) -> two n c 1 1", two=2)
    return (1 + scale) * F.instance_norm(h) + shift


class PersonCritic(nn.Module):
    """V: pictures beside their maps -> features after each layer, the last (N, embedding_dim)."""

    def __init__(self, config: TalkingHeadsConfig) -> None:
        super().__init__()
        channels, size = config.data_shape[:2]
        width, places = config.width, (size // 4) ** 2
        self.layers = nn.ModuleList(
            (
                nn.Conv2d(channels + config.num_maps, width, 4, 2, 1),
                nn.Conv2d(width, 2 * width, 4, 2, 1),
                nn.Linear(2 * width * places, config.embedding_dim),
            )
        )
        self.people = nn.Embedding(config.num_people, config.embedding_dim)
        self.projection = Projection(config.embedding_dim)

    def features(self, x: Tensor, maps: Tensor) -> list[Tensor]:
        """V_l(x, y), from the first layer on."""
        first, second, last = self.layers
        one = F.leaky_relu(first(torch.cat([x, maps], 1)), 0.2)
        two = F.leaky_relu(second(one), 0.2)
        return [one, two, last(two.flatten(1))]


class TalkingHeads(Model):
    """Parts "embedder", "styles" (P), "generator", "critic"."""

    config_class = TalkingHeadsConfig
    config: TalkingHeadsConfig

    def __init__(self, config: TalkingHeadsConfig) -> None:
        super().__init__(config)
        channels, height, width = config.data_shape
        beside = (channels + config.num_maps, height, width)
        self.embedder = conv_encoder(beside, width=config.width, outputs=config.embedding_dim)
        self.styles = nn.Linear(config.embedding_dim, 10 * config.width)
        self.generator = StyledGenerator(config)
        self.critic = PersonCritic(config)

    @property
    def condition(self) -> Image:
        """The landmarks' maps."""
        return Image(shape=(self.config.num_maps, *self.config.data_shape[1:]))  # type: ignore[arg-type]

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Frames (N, C, H, W) with their maps (N, M, H, W) -> what each says of its person, (N, embedding_dim)."""
        embedded: Tensor = self.embedder(torch.cat([x, needed(condition)], 1))
        return embedded

    def person(self, frames: Tensor, maps: Tensor) -> Tensor:
        """e of frames (N, K, C, H, W) with maps (N, K, M, H, W): the mean over K, (N, embedding_dim)."""
        each = self.encode(frames.flatten(0, 1), condition=maps.flatten(0, 1))
        return each.unflatten(0, frames.shape[:2]).mean(1)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Persons e (N, embedding_dim) with landmark maps (N, M, H, W) -> frames (N, C, H, W)."""
        made: Tensor = self.generator(needed(condition), self.styles(z))
        return made

    def judge(self, x: Tensor, *, condition: Tensor | None = None, person: Tensor | None = None) -> Tensor:
        """Frames with their maps -> scores (N,), for the persons (N,) of the training data, or, without, for nobody."""
        last = self.critic.features(x, needed(condition))[-1]
        who = torch.zeros_like(last) if person is None else self.critic.people(person)
        scores: Tensor = self.critic.projection(last, who)
        return scores


def needed(condition: Tensor | None) -> Tensor:
    """The maps. Raises GencoreError where there are none."""
    if condition is None:
        raise GencoreError("condition is None; expected landmark maps (N, M, H, W) in [0, 1].")
    return condition


class TalkingTerms(nn.Module):
    """What a drawn frame is held to, for training and fine-tuning alike: content, game and features, by name."""

    def __init__(self, *, content_weight: float, feature_weight: float, game_weight: float) -> None:
        super().__init__()
        named = {"content": content_weight, "feature": feature_weight, "game": game_weight}
        for name, weight in named.items():
            check(weight >= 0, f"{name}_weight", weight, "0 or more")
        self.weights, self.perceptual = named, PerceptualDistance()

    def forward(
        self, critic: Any, who: Tensor, x: Tensor, made: Tensor, maps: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        """Frames x and drawn ones, with their maps, of persons `who` (N, embedding_dim)."""
        with torch.no_grad():
            wanted = critic.features(x, maps)
        found = critic.features(made, maps)
        values = {
            "content": F.l1_loss(made, x) + PERCEPTUAL_SHARE * self.perceptual(made, x),
            "feature": torch.stack([F.l1_loss(a, b) for a, b in zip(found, wanted, strict=True)]).sum(),
            "game": hinge.generator(critic.projection(found[-1], who)),
        }
        return {name: (self.weights[name], value) for name, value in values.items()}


def critic_loss(critic: Any, who: Tensor, x: Tensor, made: Tensor, maps: Tensor) -> Tensor:
    """The hinge loss of real and drawn frames with their maps, of persons `who` (N, embedding_dim)."""
    real, fake = (critic.projection(critic.features(frames, maps)[-1], who) for frames in (x, made))
    return hinge.critic(real, fake)


class MetaLearning(Objective):
    """Phases "critic" and "generator" on episodes: x, x_input, label, frames, frame_maps.

    Logs `game`, and `content`: distance of drawn from true frames, in pixels and features; lower is better. `feature`:
    distance in the critic's features; lower is better. `match`: mean distance of a person's code from the one that the
    critic keeps; lower is better.
    """

    def __init__(self, terms: TalkingTerms, *, match_weight: float) -> None:
        super().__init__()
        check(match_weight >= 0, "match_weight", match_weight, "0 or more")
        self.terms, self.match_weight = terms, match_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real and drawn frames of the same persons and landmarks."""
        maps = batch["x_input"]
        with torch.no_grad():
            made = model.generate(model.person(batch["frames"], batch["frame_maps"]), condition=maps)
        return Loss(critic_loss(model.critic, model.critic.people(batch["label"]), batch["x"], made, maps))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """All terms; e is drawn to W_i, so that it can stand for it later."""
        e = model.person(batch["frames"], batch["frame_maps"])
        made, who = model.generate(e, condition=batch["x_input"]), model.critic.people(batch["label"])
        terms = self.terms(model.critic, who, batch["x"], made, batch["x_input"])
        return weighted_sum({**terms, "match": (self.match_weight, F.l1_loss(e, who.detach()))})


class TunedHead(nn.Module):
    """One person's generator and critic: psi and W are parameters that begin as P e and e."""

    def __init__(self, model: TalkingHeads, e: Tensor) -> None:
        super().__init__()
        self.generator, self.critic = copy.deepcopy(model.generator), copy.deepcopy(model.critic)
        self.psi, self.who = nn.Parameter(model.styles(e).detach()), nn.Parameter(e.detach().clone())

    def forward(self, maps: Tensor) -> Tensor:
        """Landmark maps (N, M, H, W) -> frames of the person (N, C, H, W)."""
        made: Tensor = self.generator(maps, self.psi.expand(len(maps), -1))
        return made

    def judge(self, x: Tensor, maps: Tensor) -> Tensor:
        """Frames with their maps -> scores (N,)."""
        scores: Tensor = self.critic.projection(self.critic.features(x, maps)[-1], self.who)
        return scores


def fine_tuned(
    model: TalkingHeads,
    frames: Tensor,
    maps: Tensor,
    *,
    terms: TalkingTerms,
    steps: int = 40,
    learning_rate: float = 5e-4,
) -> TunedHead:
    """The person of frames (K, C, H, W) with maps (K, M, H, W), after `steps` on them; the model stays as it is."""
    with torch.no_grad():
        head = TunedHead(model, model.person(frames[None], maps[None]))
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.99))
    judging = optimizer.build([*head.critic.parameters(), head.who])
    drawing = optimizer.build([*head.generator.parameters(), head.psi])
    for _ in range(steps):
        for own, loss in ((judging, None), (drawing, terms)):
            made = head(maps)
            if loss is None:
                total = critic_loss(head.critic, head.who, frames, made.detach(), maps)
            else:
                total = weighted_sum(loss(head.critic, head.who, frames, made, maps)).total
            head.zero_grad()
            total.backward()
            own.step()
    return head.eval()


def talking_heads(
    *,
    config: TalkingHeadsConfig = TalkingHeadsConfig(),
    steps: int = 500,
    batch_size: int = 16,
    shots: int = 8,
    content_weight: float = 10.0,
    feature_weight: float = 10.0,
    game_weight: float = 1.0,
    match_weight: float = 10.0,
    learning_rate: float = 5e-4,
) -> Recipe:
    """Toy faces become frames of `num_people`; other data have persons as labels, landmark maps as x_input. `shots`:
    the frames that e is the mean of."""
    check(shots >= 1, "shots", shots, "at least 1")
    terms = TalkingTerms(content_weight=content_weight, feature_weight=feature_weight, game_weight=game_weight)
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.99))
    critic, generator = players(optimizer, optimizer)
    stage = Stage(
        objective=MetaLearning(terms, match_weight=match_weight),
        phases=(critic, dataclasses.replace(generator, parts=("embedder", "styles", "generator"))),
        steps=steps,
        data=lambda source, model: talking(source, config.num_people, shots),
    )
    return Recipe(
        name="talking-heads", model=TalkingHeads, config=config, stages=(stage,), batch_size=batch_size, data="faces"
    )
