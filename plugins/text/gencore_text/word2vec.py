"""word2vec (Mikolov, Chen, Corrado & Dean 2013, "Efficient Estimation of Word Representations in Vector Space",
arXiv:1301.3781; Mikolov, Sutskever, Chen, Corrado & Dean 2013, "Distributed Representations of Words and Phrases and
their Compositionality", arXiv:1310.4546).

    -log s(v_w . u_c) - sum_(i=1..k) log s(-v_w . u_(c_i)),    c_i ~ P(c) ~ count(c)^power         (1310.4546, eq. 4)
    a token is left out with probability 1 - sqrt(t / f(w))                                        (1310.4546, eq. 5)
with s the logistic function, w a word and c one at most b places from it, b uniform in 1 ... `window` (1301.3781,
section 3.2). Skip-gram takes v_w for the word; CBOW (section 3.1) the mean of v over the c around it, and u of w.
With vectors wide enough the optimum of skip-gram is v_w . u_c = log(p(w, c) / (p(w) P(c))) - log k (Levy & Goldberg
2014, "Neural Word Embedding as Implicit Matrix Factorization", equation 9).

Deviations: Adam at a constant rate; counts are those of the training so far; a token that is left out leaves its gap,
where the published code closes it. Left out by default: none, the grammar has no frequent words to speak of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, logsigmoid

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.distributed import sum_over_processes
from gencore.errors import GencoreError, suggest
from gencore_text.parts.language import SequenceConfig, SequenceModel

SYSTEM = SystemSpec(
    name="word2vec",
    summary="Word vectors by skip-gram or CBOW with negative sampling",
    paper=Paper(
        title="Distributed Representations of Words and Phrases and their Compositionality",
        authors="Mikolov, Sutskever, Chen, Corrado & Dean",
        year=2013,
        arxiv="1310.4546",
    ),
    model="Word2Vec",
    recipe="word2vec",
    roles=("encoder",),
    tiny={"width": 8, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Word2VecConfig(SequenceConfig):
    """`width`: numbers of a vector."""

    width: int = 16

    def __post_init__(self) -> None:
        SequenceConfig.__post_init__(self)
        self.check_sizes("width")


class Vectors(nn.Module):
    """v, the word's, and u, the context's: (K, width) both."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.word, self.context = nn.Embedding(size, width), nn.Embedding(size, width)
        nn.init.uniform_(self.word.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.context.weight)


class Word2Vec(SequenceModel):
    """A vector for each token, whatever stands around it."""

    config_class = Word2VecConfig
    config: Word2VecConfig

    def __init__(self, config: Word2VecConfig) -> None:
        super().__init__(config)
        self.vectors = Vectors(config.data_shape[1], config.width)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, T, K) one-hot -> the vector of each token, (N, T, width)."""
        return self.vectors.word(self.tokens(x))

    def number(self, word: str) -> int:
        """The token of a word. Raises GencoreError for an unknown one."""
        if word not in self.words():
            raise GencoreError(f"there is no word {word!r} in the vocabulary.{suggest(word, self.words())}")
        return self.words().index(word)

    def nearest(self, vector: Tensor, n: int, *, without: Sequence[str] = ()) -> list[tuple[str, float]]:
        """The n words whose vectors have the largest cosines with this one, (width,), and the cosines."""
        left_out = [self.number(word) for word in without]
        cosine = cosine_similarity(self.vectors.word.weight.detach(), vector.detach(), dim=1)
        cosine[left_out] = -torch.inf
        best = cosine.topk(min(max(n, 0), len(cosine) - len(left_out)))
        return [(self.words()[i], value) for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def neighbours(self, word: str, n: int = 5) -> list[tuple[str, float]]:
        """The words most like this one, with their cosines. Raises GencoreError for an unknown word."""
        return self.nearest(self.vectors.word.weight[self.number(word)], n, without=(word,))

    def analogy(self, a: str, b: str, c: str, n: int = 5) -> list[tuple[str, float]]:
        """What is to c as b is to a: the words nearest to b - a + c, of unit length each (1301.3781, section 4)."""
        unit = nn.functional.normalize(self.vectors.word.weight, dim=1)
        of_a, of_b, of_c = (unit[self.number(word)] for word in (a, b, c))
        return self.nearest(of_b - of_a + of_c, n, without=(a, b, c))


def around(tokens: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """tokens (N, T) -> those at -window ... -1, 1 ... window of each, (N, T, 2 window), and which exist (bool)."""
    length = tokens.shape[1]
    offsets = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)]).to(tokens.device)
    place = torch.arange(length, device=tokens.device)[:, None] + offsets
    exists = ((place >= 0) & (place < length)).expand(len(tokens), -1, -1)
    return tokens[:, place.clamp(0, length - 1)], exists


def negative_sampling_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Equation 4: v . u of the true pair (...), of the k noise pairs (..., k) -> (...) nats."""
    return -logsigmoid(positive) - logsigmoid(-negative).sum(-1)


class NegativeSampling(Objective):
    """Tells the words that stand near each other from words drawn at random.

    Logs `nats`: loss a word; lower is better, and untrained it is (1 + number of negatives) log 2.
    """

    counts: Tensor

    def __init__(
        self,
        size: int,
        *,
        architecture: Literal["skip-gram", "cbow"],
        window: int,
        negatives: int,
        power: float,
        subsample: float | None,
    ) -> None:
        super().__init__()
        self.architecture, self.window, self.negatives, self.power = architecture, window, negatives, power
        self.subsample = subsample
        self.register_buffer("counts", torch.ones(size, dtype=torch.float64))

    def vectors(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The mean of equation 4 over the pairs, or over CBOW's words, of batch["x"]."""
        tokens = model.tokens(batch["x"])
        contexts, near = around(tokens, self.window)
        reach = torch.randint(1, self.window + 1, tokens.shape, device=tokens.device)[..., None]
        distance = torch.arange(self.window, 0, -1, device=tokens.device)
        near = near & (torch.cat([distance, distance.flip(0)]) <= reach)
        if self.subsample is not None:
            kept = self.kept(tokens)
            near = near & kept[..., None] & around(kept, self.window)[0]
        v, u = model.vectors.word, model.vectors.context
        if self.architecture == "skip-gram":
            given, wanted, weight = v(tokens)[:, :, None], contexts, near.float()
        else:
            total, count = (v(contexts) * near[..., None]).sum(2), near.sum(2)
            given, wanted, weight = total / count.clamp_min(1)[..., None], tokens, (count > 0).float()
        noise = self.noise(wanted.shape)
        scores = torch.einsum("...d,...kd->...k", given.expand(*wanted.shape, -1), u(noise))
        each = negative_sampling_loss((given * u(wanted)).sum(-1), scores)
        mean = (each * weight).sum() / weight.sum().clamp_min(1)
        return Loss(mean, {"nats": mean.detach()}, tokens.flatten().bincount(minlength=len(self.counts)))

    def noise(self, shape: torch.Size) -> Tensor:
        """(*shape, negatives) tokens of P(c)."""
        share = (self.counts**self.power).float()
        return torch.multinomial(share, shape.numel() * self.negatives, replacement=True).view(*shape, -1)

    def kept(self, tokens: Tensor) -> Tensor:
        """Which tokens are not left out, bool: equation 5."""
        assert self.subsample is not None
        frequency = (self.counts / self.counts.sum())[tokens]
        return torch.rand(tokens.shape, device=tokens.device) < (self.subsample / frequency).sqrt()

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the words of the batches."""
        self.counts += sum_over_processes(torch.stack(list(seen)).sum(0).double())


CONFIG = Word2VecConfig()


def word2vec(
    *,
    config: Word2VecConfig = CONFIG,
    steps: int = 1500,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    architecture: Literal["skip-gram", "cbow"] = "skip-gram",
    window: int = 2,
    negatives: int = 5,
    power: float = 0.75,
    subsample: float | None = None,
) -> Recipe:
    """One phase, one stage. `subsample`: t of equation 5, 1e-5 in the paper; None leaves no token out."""
    for name, value in (("window", window), ("negatives", negatives)):
        check(value >= 1, name, value, "at least 1")
    check(0 <= power <= 1, "power", power, "a number in [0, 1]")
    check(subsample is None or subsample > 0, "subsample", subsample, "none, or a positive frequency")
    objective = NegativeSampling(
        config.data_shape[1],
        architecture=architecture,
        window=window,
        negatives=negatives,
        power=power,
        subsample=subsample,
    )
    phase = Phase(name="vectors", parts=("vectors",), optimizer=Adam(learning_rate=learning_rate))
    stage = Stage(objective=objective, phases=(phase,), steps=steps)
    return Recipe(
        name="word2vec", model=Word2Vec, config=config, stages=(stage,), batch_size=batch_size, data="grammar"
    )
