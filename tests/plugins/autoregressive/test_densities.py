"""The contract of every density of the family: it sums to one, sees no future, and its samples score their entropy."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.nn.levels import from_levels
from gencore.nn.likelihood import PROBABILITY, bits_per_dim
from gencore_autoregressive.parts.ancestral import AncestralSampler, choose
from gencore_autoregressive.wavenet import from_mu_law

WAVENET = {"levels": 3, "width": 6, "skip_width": 6, "dilations": 3, "stacks": 1}
PLUS_PLUS = {"width": 4, "blocks": 1, "mixtures": 3, "dropout": 0.5}
# Small versions, of few numbers with few values: (system, arguments).
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "pixelcnn": ("pixelcnn", {"width": 4, "layers": 3}),
    "row lstm": ("pixelrnn-row-lstm", {"width": 4, "layers": 3}),
    "diagonal bilstm": ("pixelrnn-diagonal-bilstm", {"width": 4, "layers": 3}),
    "gated": ("gated-pixelcnn", {"width": 8, "layers": 3}),
    "pixelcnn of vectors": ("pixelcnn", {"width": 4, "layers": 3, "embedding": 2}),
    "diagonal bilstm of vectors": ("pixelrnn-diagonal-bilstm", {"width": 4, "layers": 2, "embedding": 2}),
    "gated of vectors": ("gated-pixelcnn", {"width": 8, "layers": 3, "embedding": 2}),
    "gated of a class": ("gated-pixelcnn", {"width": 8, "layers": 3, "num_classes": 3}),
    "gated of maps": ("gated-pixelcnn", {"width": 8, "layers": 3}),
    "plus plus": ("pixelcnn-plus-plus", {**PLUS_PLUS, "downsamplings": 1}),
    "wavenet": ("wavenet", WAVENET),
    "wavenet of a class": ("wavenet", {**WAVENET, "num_classes": 3}),
    "wavenet of a spectrogram": ("wavenet", {**WAVENET, "input_shape": (1, 2, 3)}),
}
ENUMERABLE: dict[str, list[dict[str, Any]]] = {
    "pixels": [
        {"data_shape": (1, 3, 3), "levels": 2},
        {"data_shape": (3, 1, 2), "levels": 3},
        {"data_shape": (2, 2, 2), "levels": 2},
    ],
    "pixelcnn-plus-plus": [
        {"data_shape": (1, 4, 2), "levels": 2},
        {"data_shape": (1, 2, 2), "levels": 4},
        {"data_shape": (3, 2, 2), "levels": 2},
    ],
    "wavenet": [{"data_shape": (1, 6), "levels": 3}],
}
ALL = [
    pytest.param(case, number, id=f"{case}-{shape['data_shape']}")
    for case, (system, _) in CASES.items()
    for number, shape in enumerate(ENUMERABLE.get(system, ENUMERABLE["pixels"]))
]
ONE_EACH = [pytest.param(case, 0, id=case) for case in CASES]


def made(case: str, number: int) -> Any:
    """The small model of a case, away from its first weights, in float64."""
    system, arguments = CASES[case]
    shape = ENUMERABLE.get(system, ENUMERABLE["pixels"])[number]
    torch.manual_seed(0)
    width = {"width": 3 * arguments["width"]} if shape["data_shape"][0] == 3 else {}
    maps = {"input_shape": (2, *shape["data_shape"][1:])} if case == "gated of maps" else {}
    model = built(system, {**arguments, **width, **shape, **maps})
    size = 0.1 if case == "plus plus" else 0.4  # its residual sums grow
    for parameter in model.parameters():
        parameter.data.add_(size * torch.randn_like(parameter))
    return model.double().eval()


def built(system: str, arguments: dict[str, Any]) -> Any:
    """A new model of the system's default config with these fields changed."""
    recipe = gencore.recipe(system)
    model = recipe.model(dataclasses.replace(recipe.config, **arguments))
    model.system = system
    return model


def condition_of(model: Any, count: int) -> Tensor | None:
    """The same one for `count` examples, fixed."""
    kind = model.condition
    if kind is None:
        return None
    if kind.key == "label":
        return torch.full((count,), 1)
    torch.manual_seed(5)
    return (torch.rand(kind.shape, dtype=torch.float64) * 2 - 1).expand(count, *kind.shape)


def decoded(model: Any, codes: Tensor) -> Tensor:
    """Whole numbers as data of the model."""
    levels = model.config.levels
    return from_mu_law(codes, levels) if model.system == "wavenet" else from_levels(codes, levels)


def everything(model: Any) -> Tensor:
    """All examples that there are, (levels ** numbers, *data_shape)."""
    shape = model.config.data_shape
    codes = itertools.product(range(model.config.levels), repeat=math.prod(shape))
    return decoded(model, torch.tensor(list(codes)).view(-1, *shape))


def in_order(model: Any, conditionals: Tensor) -> Tensor:
    """(N, C, K, *places) -> (N, numbers, K), in the order in which they are drawn."""
    return conditionals.flatten(3).permute(0, 3, 1, 2).flatten(1, 2)


def order_of(model: Any) -> Tensor:
    """The position of each number of a flattened example in that order."""
    shape = model.config.data_shape
    places = torch.arange(math.prod(shape)).view(-1, shape[0]).T
    return places.flatten()


@pytest.mark.parametrize(("case", "number"), ALL)
@torch.no_grad()
def test_sums_to_one(case: str, number: int) -> None:
    model = made(case, number)
    x = everything(model)
    nats = model.log_prob(x, condition=condition_of(model, len(x)))
    assert nats.shape == (len(x),)
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("case", "number"), ALL)
@torch.no_grad()
def test_sees_the_nearest_past_and_no_future(case: str, number: int, train: bool) -> None:
    """Each number, every channel, of six random examples changed to another value: what is said of it and of those
    before it stays to the bit; of the next number in the order, and of the one a row further, it does not."""
    model = made(case, number).train(train)
    shape, levels = model.config.data_shape, model.config.levels
    torch.manual_seed(1)
    codes, order = torch.randint(levels, (6, *shape)), order_of(model)

    def said(codes: Tensor) -> Tensor:
        torch.manual_seed(2)  # the same dropout
        return in_order(model, model.conditionals(decoded(model, codes), condition=condition_of(model, len(codes))))

    before = said(codes)
    for number_in_x in range(math.prod(shape)):
        changed = codes.clone()
        changed.flatten(1)[:, number_in_x] = (changed.flatten(1)[:, number_in_x] + 1) % levels
        differs = (said(changed) != before).any(2).any(0)
        place, row = int(order[number_in_x]), shape[0] * shape[-1]
        assert not differs[: place + 1].any(), f"number {place} is seen by numbers {differs.nonzero()[:, 0].tolist()}"
        if (place + 1) % row:
            assert differs[place + 1], f"number {place + 1} does not see number {place}, just before it"
        if place + row < len(order) and shape[0] == 1 and len(shape) == 3:
            assert differs[place + row], f"number {place + row} does not see number {place}, just above it"


@pytest.mark.parametrize(("case", "number"), ALL)
@torch.no_grad()
def test_log_prob_is_the_sum_of_the_conditionals(case: str, number: int) -> None:
    """And these are distributions."""
    model = made(case, number)
    x = everything(model)[::7]
    condition = condition_of(model, len(x))
    conditionals = model.conditionals(x, condition=condition)
    torch.testing.assert_close(conditionals.exp().sum(2), torch.ones_like(conditionals[:, :, 0]))
    picked = conditionals.gather(2, model.codes(x).unsqueeze(2))
    torch.testing.assert_close(picked.flatten(1).sum(1), model.log_prob(x, condition=condition))


@pytest.mark.parametrize(("case", "number"), ALL)
@torch.no_grad()
def test_samples_score_what_the_entropy_says(case: str, number: int) -> None:
    """Mean log p of 2,000 samples against the enumerated entropy, within 3 standard errors."""
    model = made(case, number)
    x = everything(model)
    nats = model.log_prob(x, condition=condition_of(model, len(x)))
    entropy = -(nats.exp() * nats).sum()
    condition = condition_of(model, 2000)
    drawn = model.sample(2000, seed=4, condition=condition, batch_size=2000)
    scores = model.log_prob(drawn.double(), condition=condition)
    error = scores.std() / math.sqrt(len(scores))
    assert abs(scores.mean() + entropy) < 3 * error, f"{-scores.mean():.4f} of {entropy:.4f}, s.e. {error:.4f}"
    deviation = (nats.exp() * (nats + entropy).square()).sum().sqrt()
    assert scores.std().item() == pytest.approx(deviation.item(), rel=0.15)


@pytest.mark.parametrize(("case", "number"), ALL)
@torch.no_grad()
def test_caches_say_what_the_whole_network_says(case: str, number: int) -> None:
    """At every place of a random example, and so draws and likeliest examples are those of the naive loop."""
    model = made(case, number)
    torch.manual_seed(3)
    codes = torch.randint(model.config.levels, (4, *model.config.data_shape))
    condition = condition_of(model, 4)
    expected = in_order(model, model.conditionals(decoded(model, codes), condition=condition))
    drawing = model.start(4, condition)
    flat = codes.flatten(2).transpose(1, 2).flatten(1)
    for step, place in enumerate(drawing.places):
        torch.testing.assert_close(drawing.logits(place).log_softmax(1), expected[:, step])
        drawing.put(place, flat[:, step])
    torch.testing.assert_close(drawing.result().double(), decoded(model, codes).double())
    for temperature in (0.0, 1.0):
        cached, naive = (
            model.sample(6, seed=2, condition=condition_of(model, 6), sampler=AncestralSampler(
                temperature=temperature, cached=cached)) for cached in (True, False)
        )  # fmt: skip
        assert torch.equal(cached, naive)


@pytest.mark.parametrize(("case", "number"), ONE_EACH)
@torch.no_grad()
def test_units(case: str, number: int) -> None:
    """Nats per example: each is scored by itself, and the objective says bits per number, whatever the batch."""
    model = made(case, number)
    x = everything(model)[:6]
    condition = condition_of(model, 6)
    nats = model.log_prob(x, condition=condition)
    twice = None if condition is None else torch.cat([condition, condition])
    torch.testing.assert_close(model.log_prob(torch.cat([x, x]), condition=twice), torch.cat([nats, nats]))
    (stage,) = gencore.recipe(model.system).stages
    batch = {"x": x} if condition is None else {"x": x, model.condition.key: condition}
    loss = stage.objective.likelihood(model, batch)
    assert loss.total.item() == pytest.approx(-nats.mean().item() / x[0].numel())
    bits = bits_per_dim(nats.mean(), x[0].numel(), PROBABILITY)
    assert loss.metrics["bits_per_dim"].item() == pytest.approx(bits.item())


@pytest.mark.parametrize("case", ["pixelcnn", "row lstm", "diagonal bilstm", "gated", "wavenet"])
@torch.no_grad()
def test_a_uniform_model_of_256_levels_has_8_bits(case: str) -> None:
    system, arguments = CASES[case]
    shape = {"data_shape": (1, 12)} if system == "wavenet" else {"data_shape": (3, 4, 4), "width": 6}
    model = built(system, {**arguments, "levels": 256, **shape})
    output = model.network.output
    output.weight.zero_()
    output.bias.zero_()
    nats = model.log_prob(decoded(model, torch.randint(256, (5, *model.config.data_shape))))
    bits = bits_per_dim(nats, math.prod(model.config.data_shape), PROBABILITY)
    torch.testing.assert_close(bits, torch.full((5,), 8.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("case", "number"), ONE_EACH)
@torch.no_grad()
def test_without_a_condition_it_is_the_mean_over_the_classes(case: str, number: int) -> None:
    """Where there are classes; where there are none a condition is refused."""
    model = made(case, number)
    x = everything(model)[:5]
    if model.condition is None:
        with pytest.raises(gencore.GencoreError, match="unconditional"):
            model.log_prob(x, condition=torch.zeros(5, dtype=torch.int64))
    elif model.condition.key == "label":
        of_each = torch.stack([model.log_prob(x, condition=torch.full((5,), label)) for label in range(3)])
        torch.testing.assert_close(model.log_prob(x), of_each.exp().mean(0).log())
        assert (of_each[0] - of_each[1]).abs().min() > 1e-3
        with pytest.raises(gencore.GencoreError, match="0 to 2"):
            model.log_prob(x, condition=torch.full((5,), 3))
    else:
        with pytest.raises(gencore.GencoreError, match="condition="):
            model.log_prob(x)


@pytest.mark.parametrize(("case", "number"), ONE_EACH)
def test_bad_data(case: str, number: int) -> None:
    model = made(case, number)
    x = everything(model)[:2]
    for wrong in (x[..., :1], x[0], torch.cat([x, x], 1)):
        with pytest.raises(gencore.GencoreError, match="expected"):
            model.log_prob(wrong, condition=condition_of(model, len(wrong)))
    for value in (1.5, float("nan")):
        with pytest.raises(gencore.GencoreError, match="in \\[-1, 1\\]"):
            model.log_prob(torch.full_like(x, value), condition=condition_of(model, len(x)))


def test_temperatures() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(4000, 3)
    noise = gencore.Noise(0, 0, 4000)
    assert set(choose(logits, noise, 0.0).tolist()) == {2}
    shares = torch.bincount(choose(logits, noise, 0.5)) / 4000
    torch.testing.assert_close(shares, (logits[0] / 0.5).softmax(0), atol=0.02, rtol=0)
    with pytest.raises(gencore.GencoreError, match="temperature"):
        AncestralSampler(temperature=-1.0)
