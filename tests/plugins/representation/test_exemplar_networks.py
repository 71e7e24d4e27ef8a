"""Exemplar networks: distortions, and whether those of unseen pictures find each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.evaluation.retrieval import nearest, recall_at
from gencore.training.trainer import Trainer
from gencore_representation.exemplar_networks import Distortion, distorted

NOTHING = {"shift": 0.0, "scale": 0.0, "turn": 0.0, "contrast": 0.0, "colour": 0.0}


def test_no_distortion_is_the_picture() -> None:
    """All at 0; and each alone changes it, within [-1, 1]."""
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(distorted(x, Distortion(**NOTHING)), x, atol=1e-5, rtol=0)
    for name in NOTHING:
        changed = distorted(x, Distortion(**{**NOTHING, name: 0.3 if name != "turn" else 30.0}))
        assert (changed - x).abs().max() > 0.05, name
        assert changed.abs().max() <= 1


def test_a_shift_is_a_share_of_the_side() -> None:
    """0.25 of 16 pixels: at most 4, evenly to all sides."""
    torch.manual_seed(0)
    x = torch.zeros(500, 1, 16, 16)
    x[:, :, 7:9, 7:9] = 1
    moved = distorted(x, Distortion(**{**NOTHING, "shift": 0.25}))[:, 0]
    column = (moved.sum(1) * torch.arange(16)).sum(1) / moved.sum((1, 2)) - 7.5
    assert 3.5 < column.abs().max() <= 4.01
    assert column.mean().abs() < 0.4


def test_contrast_turns_about_the_mean() -> None:
    """The mean stays where nothing is clipped."""
    x = 0.3 * torch.rand(20, 1, 8, 8)
    changed = distorted(x, Distortion(**{**NOTHING, "contrast": 0.5}))
    torch.testing.assert_close(changed.mean((1, 2, 3)), x.mean((1, 2, 3)))
    ratio = changed.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.6 < ratio.min() < 0.8
    assert 1.3 < ratio.max() < 1.65


def test_the_code_is_what_the_head_sees() -> None:
    """Not negative, as the paper's features."""
    model: Any = gencore.create("exemplar-networks", num_exemplars=20)
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    code = model.encode(x)
    assert code.min() == 0
    torch.testing.assert_close(code, model.encoder(x).clamp_min(0))
    torch.testing.assert_close(model.judge(x), model.head(code))


def test_classes_are_positions() -> None:
    """The first `num_exemplars`, and no others; too few are refused."""
    recipe = gencore.recipe("exemplar-networks", num_exemplars=20)
    view: Any = recipe.stages[0].data(digits(), None)  # type: ignore[misc]
    assert view.fetch(torch.arange(20))["index"].tolist() == list(range(20))
    assert len(view) == 20
    with pytest.raises(GencoreError, match="num_exemplars"):
        gencore.recipe("exemplar-networks", num_exemplars=2000).stages[0].data(digits(), None)  # type: ignore[misc]


def retrieval(encode: Any) -> float:
    """How often one distortion of an unseen digit finds another one of the same digit first, among 397."""
    test = digits("test").x
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        first, second = (encode(distorted(test, Distortion())) for _ in range(2))
    return recall_at(nearest(first, second, 1, metric="cosine")[0], torch.arange(len(test)))


def figure(seed: int, steps: int = 1500, **overrides: Any) -> float:
    recipe = gencore.recipe("exemplar-networks", steps=steps, **overrides)
    model: Any = Trainer(recipe, digits("train"), seed=seed, cpu=True).fit().eval()
    return retrieval(model.encode)


@pytest.mark.behaviour
def test_distortions_of_unseen_digits_find_each_other(measured: Any) -> None:
    """At seeds 0, 1, 2: 0.174, 0.199, 0.194. Without distortions 0.073, 0.065, 0.068; raw pixels 0.076.

    On MNIST at 32 x 32 the row's bar of 0.40 is met: 500 exemplars, width 32, 2,500 steps (78 CPU-seconds), of 397 of
    its test part: 0.534 (0.451 before the ReLU); raw pixels 0.065. Width 16, 1,500 steps: 0.388; codes of 256 numbers,
    2,000 steps: 0.310.
    """
    raw = retrieval(lambda x: x.flatten(1))
    page, twin = figure(0), figure(0, **NOTHING)
    assert page > 1.5 * raw
    measured(
        "exemplar-networks",
        "one distortion of an unseen digit finds another first, among 397",
        figure=page,
        twin=twin,
        bar=0.12,
        better="higher",
    )
