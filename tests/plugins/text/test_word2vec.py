"""word2vec: the loss by hand, what its optimum is, and analogies."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data.toys.grammar import NOUNS, VERBS, VOCABULARY, grammar
from gencore.errors import GencoreError
from gencore.training.trainer import Trainer
from gencore_text.word2vec import around, negative_sampling_loss

SIZE = len(VOCABULARY)


def objective(**arguments: Any) -> Any:
    return gencore.recipe("word2vec", data_shape=(4, 5), **arguments).stages[0].objective


def test_loss_by_hand() -> None:
    """log(1 + e^-1) + log(1 + e^2) + log(1 + e^0)."""
    loss = negative_sampling_loss(torch.tensor([1.0]), torch.tensor([[2.0, 0.0]]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)) + math.log1p(math.exp(2)) + math.log(2))


def test_windows() -> None:
    tokens, exists = around(torch.tensor([[5, 6, 7, 8]]), 2)
    assert exists[0].tolist() == [
        [False, False, True, True],
        [False, True, True, True],
        [True, True, True, False],
        [True, True, False, False],
    ]
    assert tokens[0, 1].tolist()[1:] == [5, 7, 8]
    assert tokens[0, 3].tolist()[:2] == [6, 7]


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_objective_by_hand(architecture: str) -> None:
    """u = 0: each of 1 + k terms costs log 2. u_3 large for v of the only words around it: the loss goes to k log 2 or
    rises, as the noise allows; here noise never is 3."""
    model: Any = gencore.create("word2vec", data_shape=(4, 5), width=2)
    given = objective(architecture=architecture, window=1, negatives=3, power=0.75)
    x = model.one_hot(torch.tensor([[3, 0, 3, 0], [0, 3, 0, 3]]))
    assert given.vectors(model, {"x": x}).total.item() == pytest.approx(4 * math.log(2))
    given.counts[:] = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0])
    with torch.no_grad():
        model.vectors.word.weight[:] = torch.tensor([1.0, 0.0])
        model.vectors.context.weight[3] = torch.tensor([2.0, 0.0])
    expected = 0.5 * (math.log1p(math.exp(-2)) + math.log(2)) + 3 * math.log(2)
    assert given.vectors(model, {"x": x}).total.item() == pytest.approx(expected, rel=1e-5)


def test_cbow_takes_the_mean_of_the_words_around() -> None:
    """Middle word 2 between 0 and 1, their vectors (1, 0) and (0, 3): h = (0.5, 1.5), u_2 = (1, 1): s(2)."""
    model: Any = gencore.create("word2vec", data_shape=(3, 5), width=2)
    given = objective(architecture="cbow", window=1, negatives=1)
    given.counts[:] = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    with torch.no_grad():
        model.vectors.word.weight[:] = 0
        model.vectors.word.weight[:2] = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
        model.vectors.context.weight[2] = torch.tensor([1.0, 1.0])
    loss = given.vectors(model, {"x": model.one_hot(torch.tensor([[0, 2, 1]]))}).total.item()
    expected = (math.log1p(math.exp(-2)) + 2 * math.log(2)) / 3 + math.log(2)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_noise_and_left_out_tokens() -> None:
    """Counts 81 and 16: noise 27 to 8; equation 5 with t = 0.01 keeps the share sqrt(0.01 / f)."""
    given = objective(negatives=5, subsample=0.01)
    given.counts[:] = torch.tensor([81.0, 16.0, 0.0, 0.0, 0.0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = given.noise(torch.Size([4000]))
        kept = given.kept(torch.zeros(20_000, dtype=torch.int64))
    assert noise.shape == (4000, 5)
    assert abs((noise == 0).float().mean().item() - 27 / 35) < 4 * 0.5 / 20_000**0.5
    assert set(noise.flatten().tolist()) == {0, 1}
    assert abs(kept.float().mean().item() - (0.01 / (81 / 97)) ** 0.5) < 4 * 0.5 / 20_000**0.5


def test_windows_are_dynamic() -> None:
    """With window 2 the far words count half as often: only far ones are right here, seen in half the draws."""
    model: Any = gencore.create("word2vec", data_shape=(3, 5), width=1)
    given = objective(window=2, negatives=1)
    given.counts[:] = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    with torch.no_grad():
        model.vectors.word.weight[:] = 1
        model.vectors.context.weight[1] = 50
    x = model.one_hot(torch.tensor([[1, 2, 1]]).repeat(2000, 1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = given.vectors(model, {"x": x}).total.item()
    pairs = {"near": 4.0, "far": 2 * 0.5}  # those with 1 as context: 2 near (from 2) and the far ones
    expected = 2 * math.log(2) / (pairs["near"] + pairs["far"]) + math.log(2)
    assert loss == pytest.approx(expected, rel=0.01)


def test_counts_and_refusals() -> None:
    given = objective()
    loss = given.vectors(gencore.create("word2vec", data_shape=(4, 5)), {"x": torch.eye(5)[None, :4]})
    before = given.counts.clone()
    given.after_step(None, "vectors", [loss.seen, loss.seen])
    assert (given.counts - before).tolist() == [2, 2, 2, 2, 0]
    for name, value in (("window", 0), ("negatives", 0), ("power", 1.5), ("subsample", 0.0), ("architecture", "glove")):
        with pytest.raises(GencoreError, match=name):
            gencore.recipe("word2vec", **{name: value})
    with pytest.raises(GencoreError, match="dogg.*dog"):
        gencore.create("word2vec", vocabulary=VOCABULARY).neighbours("dogg")


def pointwise(tokens: Tensor, window: int, power: float) -> tuple[Tensor, Tensor]:
    """log(p(w, c) / (p(w) P(c))), (K, K), and the number of pairs, counted with the weights of dynamic windows."""
    joint = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    for row in tokens.tolist():
        for distance in range(1, window + 1):
            for left, right in zip(row, row[distance:], strict=False):
                for w, c in ((left, right), (right, left)):
                    joint[w, c] += (window - distance + 1) / window
    noise = tokens.flatten().bincount(minlength=SIZE).double() ** power
    return (joint / joint.sum() / (joint.sum(1, keepdim=True) / joint.sum()) / (noise / noise.sum())).log(), joint


def trained(seed: int, *, shared: bool = False, **overrides: Any) -> Any:
    """Vectors as wide as the vocabulary. `shared`: one matrix for words and contexts."""
    recipe: Any = gencore.recipe("word2vec", width=SIZE, vocabulary=VOCABULARY, steps=STEPS, **overrides)
    trainer = Trainer(recipe, grammar(3000), seed=seed, cpu=True)
    if shared:
        trainer.model.vectors.context.weight = trainer.model.vectors.word.weight
    return trainer.fit().eval()


def figures(model: Any) -> tuple[float, float]:
    """The correlation of v . u + log k with the truth over pairs seen 20 times, and the mean of their difference."""
    truth, count = pointwise(grammar(3000).tokens, 2, 0.75)
    scores = (model.vectors.word.weight @ model.vectors.context.weight.T).detach().double() + math.log(5)
    often = count >= 20
    pair = torch.stack([scores[often], truth[often]])
    return float(pair.corrcoef()[0, 1]), float((pair[0] - pair[1]).mean())


def analogies(model: Any) -> float:
    """dog : dogs :: car : cars, and eats : eat :: burns : burn; any word of the right kind and number is right."""
    right = total = 0
    for words in (NOUNS, VERBS):
        for a in words["animal", "one"]:
            for b in words["animal", "many"]:
                for c in words["machine", "one"]:
                    right += model.analogy(a, b, c, 1)[0][0] in words["machine", "many"]
                    total += 1
    return right / total


STEPS = 500


@pytest.mark.behaviour
def test_vectors_are_pointwise_mutual_information(measured: Any) -> None:
    """500 steps, seed 0: 0.982, offset -0.002, analogies 1.0; one matrix for both: 0.904, offset 1.5, analogies 0."""
    model = trained(0)
    correlation, offset = figures(model)
    assert abs(offset) < 0.1
    assert analogies(model) > 0.8
    measured(
        "word2vec",
        "correlation of v . u + log k with the mutual information of word and context",
        figure=correlation,
        twin=figures(trained(0, shared=True))[0],
        bar=0.95,
        better="higher",
    )
