"""CS-GAN (Yang, Chen, Wang & Xu 2018, "Improving Neural Machine Translation with Conditional Sequence Generative
Adversarial Nets", arXiv:1703.04887): a translator G trained by policy gradient, its reward the critic D's belief.

    dJ/dtheta = E_(y ~ G) sum_t (R_t - b) d log G(y_t | y_1 ... y_(t-1), x)/dtheta                  (equations 5, 9)
    R_t = 1/M sum_m D(x, [y_1 ... y_t, roll-out m of G]),  R_T = D(x, y)                            (equations 6 to 8)
D sees the picture whose place (i, j) holds the vectors of source word i and target word j (section 3.2). Training:
likelihood; D against that G's translations; then D, G by policy gradient, and G by likelihood once more (algorithm 1).

The paper is silent on the reward's scale inside the sum and on how y ends: D is a probability, and target sentences
are filled to one length with a token that G must predict like any other.
Deviations: GRUs with attention (Luong et al. 2015, arXiv:1508.04025) in place of a large translator; small; 4 roll-outs
where the paper has 20; b = 0.5, at which an undecided D changes nothing. By policy gradient alone some seeds lose the
translator within 60 steps: leave `teacher_forcing` on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.conditions import Tokens, of_batch
from gencore.config import check
from gencore.data.toys.cipher import NUM_TOKENS, WORDS
from gencore.noise import Noise
from gencore.recipes import later_steps
from gencore_text.parts.language import SequenceConfig, SequenceModel

SYSTEM = SystemSpec(
    name="cs-gan",
    summary="A translator trained by policy gradient on a critic's belief in whole sentences",
    paper=Paper(
        title="Improving Neural Machine Translation with Conditional Sequence Generative Adversarial Nets",
        authors="Yang, Chen, Wang & Xu",
        year=2018,
        arxiv="1703.04887",
    ),
    model="CSGAN",
    recipe="cs_gan",
    roles=("critic",),
    claims=("twice-differentiable",),
    tiny={"width": 8, "batch_size": 4, "critic_steps": 4, "policy_steps": 4, "rollouts": 2, "baseline": 0.0},
)

Draw = Callable[[Tensor], Tensor]
SOURCE = Tokens(length=9, words=WORDS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CSGANConfig(SequenceConfig):
    """`data_shape`: (tokens of a target, how many there are). `condition`: the source. `width`: of vectors and GRUs,
    half of it for the critic."""

    data_shape: tuple[int, int] = (9, NUM_TOKENS)
    condition: Tokens = SOURCE
    width: int = 64

    def __post_init__(self) -> None:
        SequenceConfig.__post_init__(self)
        check(self.width >= 2 and self.width % 2 == 0, "width", self.width, "an even number, at least 2")


class Translator(nn.Module):
    """G: a GRU over the source in both directions, one over the target, attention between them."""

    def __init__(self, sources: int, targets: int, width: int) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(sources, width), nn.Embedding(targets + 1, width)
        self.reader = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.writer = nn.GRU(width, width, batch_first=True)
        self.mixed, self.output = nn.Linear(2 * width, width), nn.Linear(width, targets)

    def read(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """source (N, S) -> (its features (N, S, width), the writer's first state (1, N, width))."""
        features, last = self.reader(self.source(source))
        return features, rearrange(last, "two n half -> 1 n (two half)").contiguous()

    def write(self, before: Tensor, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Target tokens (N, T), the start's first -> (logits (N, T, K) of the next ones, the state after them)."""
        hidden, state = self.writer(self.target(before), state)
        attention = (hidden @ features.mT).softmax(2)
        return self.output(self.mixed(torch.cat([hidden, attention @ features], 2)).tanh()), state


class PairCritic(nn.Module):
    """D: convolutions over the picture of all pairs of words; logits, (N,)."""

    def __init__(self, sources: int, targets: int, width: int) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(sources, width), nn.Linear(targets, width, bias=False)
        self.layers = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, stride=2),
            nn.SiLU(),
            nn.Flatten(2),
        )
        self.output = nn.Linear(width, 1)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """x (N, T, K), source (N, S)."""
        rows = repeat(self.source(source), "n s d -> n d s t", t=x.shape[1])
        columns = repeat(self.target(x), "n t d -> n d s t", s=source.shape[1])
        return self.output(self.layers(torch.cat([rows, columns], 1)).mean(2))[:, 0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WordByWord:
    """A translation for each stream of noise. `greedy`: the likeliest word each time."""

    greedy: bool = False

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """(N, T, K) one-hot."""
        choose: Draw = (lambda logits: logits.argmax(1)) if self.greedy else noise.categorical
        written = model.translations(condition, choose)
        if callback:
            callback(1, 1)
        return model.one_hot(written)


class CSGAN(SequenceModel):
    """The translator and the critic. `sample(n, condition=sources, sampler="ancestral")` translates."""

    config_class = CSGANConfig
    config: CSGANConfig
    samplers: ClassVar = {"ancestral": WordByWord}

    def __init__(self, config: CSGANConfig) -> None:
        super().__init__(config)
        sizes = config.condition.size, config.data_shape[1]
        self.generator = Translator(*sizes, config.width)
        self.critic = PairCritic(*sizes, config.width // 2)

    @property
    def condition(self) -> Tokens:
        """The source sentence."""
        return self.config.condition

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, T, K), sources (N, S) -> (N,) logits that x is a person's translation."""
        assert condition is not None
        return self.critic(x, condition)

    def nats(self, tokens: Tensor, source: Tensor) -> Tensor:
        """-log G(y_t | y_1 ... y_(t-1), x) of tokens (N, T), (N, T)."""
        start = torch.full_like(tokens[:, :1], self.config.data_shape[1])
        logits, _ = self.generator.write(torch.cat([start, tokens[:, :-1]], 1), *self.generator.read(source))
        return F.cross_entropy(logits.movedim(2, 1), tokens, reduction="none")

    def translations(
        self, source: Tensor, choose: Draw, given: Tensor | None = None, count: Tensor | None = None
    ) -> Tensor:
        """Translations of source (N, S), word by word, (N, T) int64; the first `count` (N,) words are those of `given`
        (N, T). `choose`: logits (N, K) -> tokens (N,)."""
        features, state = self.generator.read(source)
        token = torch.full_like(source[:, 0], self.config.data_shape[1])
        written = []
        for place in range(self.config.data_shape[0]):
            logits, state = self.generator.write(token[:, None], features, state)
            token = choose(logits[:, 0])
            if given is not None and count is not None:
                token = torch.where(place < count, given[:, place], token)
            written.append(token)
        return torch.stack(written, 1)


def at_random(logits: Tensor) -> Tensor:
    """A draw of each row from torch's global stream, (N,)."""
    return torch.multinomial(logits.softmax(1), 1)[:, 0]


@torch.no_grad()
def rewards(model: CSGAN, source: Tensor, tokens: Tensor, rollouts: int) -> Tensor:
    """R_t of tokens (N, T), (N, T) in (0, 1): equations 6 to 8. All prefixes are rolled out at once."""
    length = tokens.shape[1]
    ends = torch.arange(1, length, device=tokens.device)
    many = {"r": rollouts, "t": length - 1}
    sources, given = (repeat(a, "n c -> (t r n) c", **many) for a in (source, tokens))
    count = repeat(ends, "t -> (t r n)", r=rollouts, n=len(tokens))
    rolled = model.translations(sources, at_random, given, count) if length > 1 else given
    every = torch.cat([model.one_hot(rolled), model.one_hot(tokens)])
    belief = model.judge(every, condition=torch.cat([sources, source])).sigmoid()
    partial = belief[: len(rolled)].view(length - 1, rollouts, len(tokens)).mean(1)
    return torch.cat([partial, belief[None, len(rolled) :]]).T


class Translation(Objective):
    """The likelihood, the critic's loss, and the policy gradient as the gradient of a scalar.

    Logs `nats`: cross-entropy a token; lower is better. `real` and `fake`: the critic's mean belief, 0 to 1, that true
    and drawn translations are true; neither way is better: equal is a draw. `reward`: mean belief in whole drawn
    translations; higher is better, if the critic is any good.
    """

    def __init__(self, rollouts: int, baseline: float) -> None:
        super().__init__()
        self.rollouts, self.baseline = rollouts, baseline

    def likelihood(self, model: CSGAN, batch: Mapping[str, Tensor]) -> Loss:
        """Nats a token of batch["x"]."""
        nats = model.nats(model.tokens(batch["x"]), of_batch(model.condition, batch)).mean()
        return Loss(nats, {"nats": nats.detach()})

    def critic(self, model: CSGAN, batch: Mapping[str, Tensor]) -> Loss:
        """True translations against G's."""
        source = of_batch(model.condition, batch)
        with torch.no_grad():
            fake = model.one_hot(model.translations(source, at_random))
        on_real, on_fake = model.judge(batch["x"], condition=source), model.judge(fake, condition=source)
        belief = {"real": on_real.detach().sigmoid().mean(), "fake": on_fake.detach().sigmoid().mean()}
        return Loss(logistic_critic_loss(on_real, on_fake), belief)

    def policy(self, model: CSGAN, batch: Mapping[str, Tensor]) -> Loss:
        """-sum_t (R_t - b) log G(y_t | ...), the mean over translations y that are drawn."""
        source = of_batch(model.condition, batch)
        with torch.no_grad():
            tokens = model.translations(source, at_random)
        reward = self.reward(model, source, tokens)
        total = ((reward - self.baseline) * model.nats(tokens, source)).sum(1).mean()
        return Loss(total, {"reward": reward[:, -1].mean()})

    def reward(self, model: CSGAN, source: Tensor, tokens: Tensor) -> Tensor:
        """(N, T)."""
        return rewards(model, source, tokens, self.rollouts)


CONFIG = CSGANConfig()


def cs_gan(
    *,
    config: CSGANConfig = CONFIG,
    steps: int = 100,
    critic_steps: int | None = None,
    policy_steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float = 5e-3,
    critic_learning_rate: float = 1e-3,
    policy_learning_rate: float = 5e-4,
    rollouts: int = 4,
    baseline: float = 0.5,
    teacher_forcing: bool = True,
) -> Recipe:
    """Three stages: `steps` of likelihood, `critic_steps` of D, None for three times as many, `policy_steps` of the
    game, None for 3 / 5 as many, in which `teacher_forcing` adds the step by likelihood."""
    check(rollouts >= 1, "rollouts", rollouts, "at least 1")
    check(0 <= baseline < 1, "baseline", baseline, "a number in [0, 1): D is a probability")
    objective = Translation(rollouts, baseline)

    def translator(name: str, rate: float) -> Phase:
        return Phase(name=name, parts=("generator",), optimizer=Adam(learning_rate=rate))

    critic = Phase(name="critic", parts=("critic",), optimizer=Adam(learning_rate=critic_learning_rate))
    forced = (translator("likelihood", policy_learning_rate),) if teacher_forcing else ()
    game = (critic, translator("policy", policy_learning_rate), *forced)
    stages = (
        Stage(name="likelihood", objective=objective, phases=(translator("likelihood", learning_rate),), steps=steps),
        Stage(name="critic", objective=objective, phases=(critic,), steps=later_steps(critic_steps, steps, 3)),
        Stage(name="game", objective=objective, phases=game, steps=later_steps(policy_steps, steps, 3 / 5)),
    )
    return Recipe(name="cs-gan", model=CSGAN, config=config, stages=stages, batch_size=batch_size, data="cipher")
