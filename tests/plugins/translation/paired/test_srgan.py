"""SRGAN: the loss by hand, its two stages, any size enlarged, and photographs sharpened beside a twin without the game.

Judged on crops that the page has not seen, by closed forms (restoration.py).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import gencore
from gencore.data.toys.photos import photos
from gencore.errors import GencoreError
from gencore_translation.parts.perceptual import PerceptualDistance
from tests.plugins.translation.paired.restoration import LUMA, luma_pairs, psnr, sharpness, trained, translated

TINY: dict[str, Any] = {"data_shape": (3, 16, 16), "crop": 16, "width": 4, "blocks": 1, "critic_width": 4}


def made(**arguments: Any) -> tuple[gencore.Recipe, Any]:
    recipe = gencore.recipe("srgan", **{**TINY, **arguments})
    torch.manual_seed(0)
    return recipe, recipe.model(recipe.config)


def test_losses_by_hand() -> None:
    """Each term from its formula, with weights of their own; the first stage knows the squared error alone."""
    recipe, model = made(mse_weight=0.7, feature_weight=0.3, game_weight=0.2, critic_noise=0.0)
    truth, given = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 3, 8, 8) * 2 - 1
    batch = {"x": truth, "x_input": given}
    fidelity, game = (stage.objective for stage in recipe.stages)
    drawn = model.generator(given)
    squared = (drawn - truth).square().mean()
    torch.testing.assert_close(fidelity.loss(model, recipe.stages[0].phases[0].name, batch).total, squared)
    real, fake = model.judge(truth), model.judge(drawn)
    torch.testing.assert_close(
        game.loss(model, "critic", batch).total, F.softplus(-real).mean() + F.softplus(fake).mean()
    )
    expected = 0.7 * squared + 0.3 * PerceptualDistance()(drawn, truth) + 0.2 * F.softplus(-fake).mean()
    torch.testing.assert_close(game.loss(model, "generator", batch).total, expected)


def test_the_critic_comes_in_the_second_stage() -> None:
    first, second = made(steps=7, game_steps=5)[0].stages
    assert (first.steps, second.steps) == (7, 5)
    assert [phase.parts for phase in first.phases] == [("generator",)]
    assert [phase.parts for phase in second.phases] == [("critic",), ("generator",)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_any_size_is_enlarged(scale: int) -> None:
    _, model = made(scale=scale, data_shape=(3, 24, 24))
    for height, width in ((5, 7), (1, 1), (3, 20)):
        assert model.translate(torch.zeros(2, 3, height, width)).shape == (2, 3, height * scale, width * scale)


@pytest.mark.parametrize(
    ("argument", "value"), [("game_weight", -1.0), ("critic_noise", -0.1), ("mse_weight", -1.0), ("scale", 5)]
)
def test_bad_arguments(argument: str, value: float) -> None:
    with pytest.raises(GencoreError, match=argument):
        made(**{argument: value})


def sharpness_figures(seed: int) -> dict[str, tuple[float, float, float, float]]:
    """(hf, hferr, calm, PSNR [dB]) of SRGAN and of its twin, the same steps without the game."""
    settings = {**LUMA, "width": 16, "blocks": 1, "critic_width": 24, "steps": 150, "game_steps": 400, "crop": 16}
    small, truth = luma_pairs()
    page, alone = (gencore.recipe("srgan", **settings, game_weight=weight) for weight in (2e-2, 0.0))
    first, second = alone.stages  # no critic is heard, so none is trained
    twin = dataclasses.replace(alone, stages=(first, dataclasses.replace(second, phases=second.phases[1:])))
    found = {}
    for name, recipe in (("page", page), ("twin", twin)):
        made = translated(trained(recipe, seed=seed, source=photos(2000, channels=1)), small)
        found[name] = (*sharpness(made, truth), psnr(made, truth))
    return found


@pytest.mark.behaviour
def test_srgan_sharpens(measured: Any) -> None:
    """At seed 0: high frequencies 0.114 of the truth's, twin (the same steps without the game) 0.053, bicubic 0.026;
    error crop by crop 0.62, twin 0.78; calm 0.0037; PSNR 30.36 dB, twin 30.69, bicubic 30.20."""
    found = sharpness_figures(0)
    (high, error, calm, fidelity), (_, twin_error, _, twin_fidelity) = found["page"], found["twin"]
    assert error < 0.93 * twin_error
    assert calm < 0.02
    assert 0 < twin_fidelity - fidelity < 1.5
    measured(
        "srgan",
        "high frequencies over the truth's",
        figure=high,
        twin=found["twin"][0],
        bar=0.08,
        better="higher",
    )
