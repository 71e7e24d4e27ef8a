"""WaveNet: mu-law, the receptive field, drawing by queues, streaming, and far back. See test_densities.py."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.vowels import vowel_waves
from gencore.nn.causal_waves import CausalConv1d, Queue, WaveNetwork
from gencore_autoregressive.parts.ancestral import AncestralSampler
from gencore_autoregressive.wavenet import WaveNetConfig, from_mu_law, to_mu_law
from tests.judges.formants import within_a_vowel
from tests.plugins.autoregressive.densities import bigram, fresh, nats, trained_model
from tests.plugins.default_sampler import draws_nearer


def made(**arguments: Any) -> Any:
    """A small WaveNet away from its first weights."""
    torch.manual_seed(0)
    small = {"data_shape": (1, 300), "levels": 16, "width": 6, "skip_width": 8, "dilations": 4, "stacks": 2}
    recipe = gencore.recipe("wavenet", **{**small, **arguments})
    model = recipe.model(recipe.config)
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def test_mu_law_by_hand() -> None:
    """f(x) = ln(1 + 255 x) / ln 256 for x > 0: levels 0, 128 and 255 for -1, 0 (a half goes up) and 1."""
    x = torch.tensor([-1.0, 0.0, 0.1, -0.1, 1.0])
    companded = math.log(26.5) / math.log(256)
    level = (1 + companded) / 2 * 255
    assert to_mu_law(x, 256).tolist() == [0, 128, round(level), round(255 - level), 255]


@pytest.mark.parametrize("levels", [2, 3, 64, 256])
def test_mu_law_round_trip(levels: int) -> None:
    """Levels exactly; sound to half of the largest bin."""
    codes = torch.arange(levels)
    sound = from_mu_law(codes, levels)
    assert torch.equal(to_mu_law(sound, levels), codes)
    x = torch.linspace(-1, 1, 4001)
    error = (from_mu_law(to_mu_law(x, levels), levels) - x).abs().max()
    assert error <= sound.diff().max() / 2 * 1.05 + 1e-6 or levels < 4


@pytest.mark.parametrize(("dilations", "expected"), [((1, 2, 4, 8, 16, 32) * 2, 128), ((1, 2, 4), 9), ((1,), 3)])
@torch.no_grad()
def test_receptive_field(dilations: tuple[int, ...], expected: int) -> None:
    """Changing number 0 changes what is said of numbers 1 to `expected`, and of no others."""
    torch.manual_seed(0)
    network = WaveNetwork(4, width=8, skip_width=8, dilations=dilations).double()
    codes = torch.randint(4, (8, expected + 20))
    changed = codes.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 4
    moved = (network(codes) != network(changed)).any(1).any(0)
    assert moved.nonzero()[:, 0].tolist() == list(range(1, expected + 1))
    assert network.receptive_field == expected


@torch.no_grad()
def test_a_queue_keeps_as_many_inputs_as_its_dilation() -> None:
    """And gives what the convolution over the whole gives, at a cost that does not grow."""
    conv = CausalConv1d(3, 5, 4).double()
    x = torch.randn(2, 3, 11).double()
    whole, queue = conv(x), Queue(conv, 2)
    for time in range(11):
        torch.testing.assert_close(queue.step(x[:, :, time : time + 1]), whole[:, :, time : time + 1])
    assert queue.inputs.shape == (4, 2, 3)


@pytest.mark.parametrize("condition", [{}, {"num_classes": 3}, {"input_shape": (1, 5, 10)}], ids=str)
@torch.no_grad()
def test_200_numbers_by_queues_are_those_of_the_naive_loop(condition: dict[str, Any]) -> None:
    """Likeliest and seeded."""
    model = made(data_shape=(1, 200), **condition).double()
    torch.manual_seed(1)
    given = torch.rand(1, 5, 10).double() if "input_shape" in condition else None
    for temperature in (0.0, 1.0):
        cached, naive = (
            model.sample(2, seed=3, condition=given, sampler=AncestralSampler(temperature=temperature, cached=cached))
            for cached in (True, False)
        )
        assert torch.equal(cached, naive)
        assert temperature == 0.0 or len(cached.unique()) > 2


@pytest.mark.parametrize("chunk", [1, 128, 300, 1000])
def test_streaming_equals_the_whole(chunk: int) -> None:
    model = made(num_classes=3)
    whole = model.sample(3, seed=5)
    pieces = list(model.stream(3, seed=5, chunk=chunk))
    assert torch.equal(torch.cat(pieces, 2), whole)
    assert all(piece.shape == (3, 1, chunk) for piece in pieces[:-1])


def test_streaming_refuses_what_sample_refuses() -> None:
    model = made(num_classes=3)
    with pytest.raises(gencore.GencoreError, match="chunk"):
        model.stream(1, chunk=0)
    with pytest.raises(gencore.GencoreError, match="0 to 2"):
        model.stream(1, condition=3)
    with pytest.raises(gencore.GencoreError, match="temperature"):
        model.stream(1, temperature=-1.0)


@torch.no_grad()
def test_a_frame_holds_for_its_numbers() -> None:
    """Changing frame 1 of three changes what is said from its first number on, and, far behind it, no more."""
    model = made(data_shape=(1, 120), dilations=2, stacks=1, input_shape=(1, 4, 3)).double()
    x = torch.rand(1, 1, 120).double() * 2 - 1
    frames = torch.rand(1, 1, 4, 3).double()
    other = frames.clone()
    other[..., 1] += 0.3
    moved = (model.conditionals(x, condition=frames) != model.conditionals(x, condition=other)).any(2)[0, 0]
    assert not moved[:40].any()
    assert moved[40:80].all()
    assert not moved[80 + model.network.receptive_field :].any()


def test_bad_configs() -> None:
    for wrong, name in (
        ({"data_shape": (2, 100)}, "data_shape"),
        ({"input_shape": (1, 4, 32), "data_shape": (1, 100)}, "input_shape"),
        ({"input_shape": (1, 4, 32), "num_classes": 4}, "num_classes"),
        ({"dilations": 40}, "dilations"),
        ({"levels": 1}, "levels"),
    ):
        with pytest.raises(gencore.GencoreError, match=name):
            WaveNetConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.behaviour
def test_wavenet_hears_far_back(measured: Any) -> None:
    """Nats a number of vowels in 64 levels over those of a bigram, 2.95. Twin: all dilations 1, so 14 numbers of
    context for 128. At seed 0: 0.718, twin 0.782."""
    train, test = vowel_waves(400).clips, vowel_waves(40, split="test").clips
    x, y = train.x[..., :560], test.x[..., :560]
    arguments: dict[str, Any] = {
        "data_shape": (1, 560),
        "levels": 64,
        "width": 24,
        "skip_width": 32,
        "dilations": 6,
        "stacks": 2,
        "num_classes": 4,
    }
    plain = bigram(to_mu_law(x, 64)[:, 0], to_mu_law(y, 64)[:, 0], 64)
    given: dict[str, Any] = {"steps": 120, "seed": 0, "learning_rate": 5e-3, "batch_size": 8}
    page = trained_model(fresh("wavenet", 0, **arguments), x, train.label, **given)
    draws_nearer(page, x, n=50)
    figure = nats(page, y, test.label) / 560
    near = fresh("wavenet", 0, **arguments)
    torch.manual_seed(0)
    near.network = WaveNetwork(64, width=24, skip_width=32, dilations=[1] * 12, vector=4)
    twin = nats(trained_model(near, x, train.label, **given), y, test.label) / 560
    measured("wavenet", "nats over a bigram's", figure=figure / plain, twin=twin / plain, bar=0.75, better="lower")


@pytest.mark.behaviour
def test_the_bundled_model_speaks_vowels() -> None:
    """20 clips in turn by the four speakers. The share whose first two formants are both within 20 % of a vowel's:
    0.90 (seed 1: 0.95; 40 clips: 0.875); of real clips 0.99, of white noise 0.28."""
    clips = gencore.from_pretrained("wavenet-vowels").sample(20, seed=0, batch_size=20)[:, 0]
    assert within_a_vowel(clips, torch.arange(20) % 4).float().mean() > 0.7
