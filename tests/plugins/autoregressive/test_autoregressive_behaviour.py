"""What defines each density, learned in seconds, beside a twin without it. Nats are of held-out examples.

Measured at seed 0 (figure, twin, bar, CPU-seconds): pixelcnn 19.46, 24.91, 20.5, 6; row LSTM 0.03, 5.47, 1, 7; diagonal
BiLSTM 0.12, 2.08, 1, 17; gated 0.83, 0.105, 0.65, 19; plus plus 0.07, 3.52, 1, 9; wavenet 0.718, 0.782, 0.75, 19.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gencore.data import open_source
from gencore.data.toys.vowels import vowel_waves
from gencore.evaluation import train_classifier
from gencore.nn.causal_waves import WaveNetwork
from gencore.nn.levels import from_levels
from gencore_autoregressive.wavenet import to_mu_law
from tests.plugins.autoregressive.densities import (
    bigram,
    bits,
    digits,
    fresh,
    independent,
    nats,
    switched_off,
    trained,
    trained_model,
)

pytestmark = pytest.mark.behaviour


def coins(generator: torch.Generator, *shape: int) -> Tensor:
    """-1 or 1, each as likely."""
    return torch.randint(2, shape, generator=generator) * 2.0 - 1


def test_pixelcnn_beats_independent_pixels(measured: Any) -> None:
    """Binarised digits: 19.46 nats of 24.91 for a histogram a pixel; untrained 43.73."""
    (x, _), (y, _) = digits("train"), digits("test")
    arguments: dict[str, Any] = {"levels": 2, "rounding": "nearest", "width": 24, "layers": 3, "learning_rate": 4e-3}
    figure = nats(trained("pixelcnn", x, steps=150, seed=0, **arguments), y)
    twin = independent(x, y, 2, "nearest")
    measured("pixelcnn", "nats of a binarised digit", figure=figure, twin=twin, bar=20.5, better="lower", seed=0)


def test_row_lstm_carries_a_row_down_and_aside(measured: Any) -> None:
    """The last of four rows is the first one moved five places, where neither the convolutions nor a state that stays
    in its column reach: 12 coins are 8.32 nats, with 7 more 13.17. Twin: no K_ss."""
    generator = torch.Generator().manual_seed(0)

    def data(count: int) -> Tensor:
        x = -torch.ones(count, 1, 4, 12)
        x[:, :, 0] = coins(generator, count, 1, 12)
        x[:, :, 3, 5:] = x[:, :, 0, :7]
        return x

    arguments: dict[str, Any] = {"data_shape": (1, 4, 12), "levels": 2, "width": 16, "layers": 2}
    x, y = data(2000), data(300)
    name, rate = "pixelrnn-row-lstm", 1e-2
    figure = nats(trained(name, x, steps=200, seed=0, **arguments, learning_rate=rate), y) - bits(12)
    without = fresh(name, 0, **arguments)
    switched_off(*(layer.inner.state_to_state for layer in without.network.layers))
    twin = nats(trained_model(without, x, steps=200, seed=0, learning_rate=rate), y) - bits(12)
    measured(name, "nats lost on 7 far coins", figure=figure, twin=twin, bar=1.0, better="lower", seed=0)


def test_diagonal_bilstm_sees_the_far_right(measured: Any) -> None:
    """Each row begins with a coin that stands near the right end of the row above, out of the convolutions' reach: 4
    coins are 2.77 nats, with the 3 repeated ones 4.85. Twin: no LSTM from the right."""
    generator = torch.Generator().manual_seed(0)

    def data(count: int) -> Tensor:
        coin, x = coins(generator, count, 1, 4), torch.zeros(count, 1, 4, 7)
        x[:, :, :, 5], x[:, :, 1:, 0] = coin, coin[:, :, :3]
        return x

    arguments: dict[str, Any] = {"data_shape": (1, 4, 7), "levels": 3, "width": 16, "layers": 2}
    x, y = data(2000), data(300)
    name, rate = "pixelrnn-diagonal-bilstm", 1e-2
    figure = nats(trained(name, x, steps=300, seed=0, **arguments, learning_rate=rate), y) - bits(4)
    without = fresh(name, 0, **arguments)
    switched_off(*(layer.inner.from_right for layer in without.network.layers))
    twin = nats(trained_model(without, x, steps=300, seed=0, learning_rate=rate), y) - bits(4)
    measured(name, "nats lost on 3 far coins", figure=figure, twin=twin, bar=1.0, better="lower", seed=0)


def test_gated_pixelcnn_draws_the_class_that_is_asked_for(measured: Any) -> None:
    """Share of 200 samples that a classifier (0.967 on real digits) takes for their class. Twin: no condition."""
    (x, label), wanted = digits("train"), torch.arange(200) % 10
    judge = train_classifier(open_source("digits"), steps=400)
    shares = []
    for classes in (10, None):
        model = trained(
            "gated-pixelcnn",
            x,
            None if classes is None else label,
            steps=400,
            seed=0,
            num_classes=classes,
            width=16,
            layers=4,
            learning_rate=6e-3,
            batch_size=32,
        )
        drawn = model.sample(200, seed=0, batch_size=200, condition=None if classes is None else wanted)
        shares.append((judge(drawn).argmax(1) == wanted).float().mean().item())
    measured(
        "gated-pixelcnn", "share of samples of their class", figure=shares[0], twin=shares[1], bar=0.65, better="higher"
    )


def test_plus_plus_moves_later_channels_with_earlier_ones(measured: Any) -> None:
    """Red is one of 17 levels, green is red and blue its negative: ln 17 = 2.83 nats a pixel. Twin: no slopes (alpha,
    beta and gamma 0)."""
    generator = torch.Generator().manual_seed(0)

    def data(count: int) -> Tensor:
        red = from_levels(torch.randint(17, (count, 1, 4, 4), generator=generator), 17)
        return torch.cat([red, red, -red], 1)

    arguments: dict[str, Any] = {"data_shape": (3, 4, 4), "levels": 17, "width": 8, "blocks": 1, "mixtures": 4}
    x, y, name = data(1000), data(200), "pixelcnn-plus-plus"
    figure = nats(trained(name, x, steps=150, seed=0, **arguments, learning_rate=1e-2), y) / 16 - math.log(17)
    without = fresh(name, 0, **arguments)

    def no_slopes(module: Any, given: Any, out: Tensor) -> Tensor:
        return torch.cat([out[:, : 4 * 7], torch.zeros_like(out[:, 4 * 7 :])], 1)

    without.network.output.register_forward_hook(no_slopes)
    twin = nats(trained_model(without, x, steps=150, seed=0, learning_rate=1e-2), y) / 16 - math.log(17)
    measured(name, "nats a pixel lost on green and blue", figure=figure, twin=twin, bar=1.0, better="lower", seed=0)


def test_wavenet_hears_far_back(measured: Any) -> None:
    """Nats a number of vowels in 64 levels over those of a bigram, 2.95. Twin: all dilations 1, so 14 numbers of
    context for 128."""
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
    figure = nats(trained_model(fresh("wavenet", 0, **arguments), x, train.label, **given), y, test.label) / 560
    near = fresh("wavenet", 0, **arguments)
    torch.manual_seed(0)
    near.network = WaveNetwork(64, width=24, skip_width=32, dilations=[1] * 12, vector=4)
    twin = nats(trained_model(near, x, train.label, **given), y, test.label) / 560
    measured("wavenet", "nats over a bigram's", figure=figure / plain, twin=twin / plain, bar=0.75, better="lower")
