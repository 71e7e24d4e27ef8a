"""Binary images drawn from grey ones, in every system that has a Bernoulli decoder."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore_vae.parts.binary import binarize


def test_binarize() -> None:
    grey = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).expand(20_000, 5)
    torch.manual_seed(0)
    dynamic = binarize(grey, "dynamic")
    assert dynamic.unique().tolist() == [-1, 1]
    torch.testing.assert_close(dynamic.mean(0), grey[0], atol=0.03, rtol=0)
    assert binarize(grey[:1], "threshold").tolist() == [[-1, -1, -1, 1, 1]]
    assert binarize(grey, "none") is grey


@pytest.mark.parametrize(
    ("system", "extra"),
    [
        ("bernoulli-vae", {}),
        ("beta-vae", {}),
        ("iwae", {}),
        ("iaf-vae", {}),
        ("pixel-vae", {}),
        ("gumbel-softmax-vae", {}),
        ("conv-vae", {"likelihood": "bernoulli"}),
        ("semi-supervised-vae", {"likelihood": "bernoulli"}),
    ],
)
def test_grey_images_are_drawn_anew_for_a_bernoulli_decoder(system: str, extra: dict[str, str]) -> None:
    """What reaches the encoder is binary and another draw each time, and follows the grey values."""
    recipe = gencore.recipe(system, **extra)
    model, seen = recipe.model(recipe.config), []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten(1)[:, :64].detach()))
    grey = torch.full((20, 1, 8, 8), 0.5)
    batch = {"x": grey, "x_unlabelled": grey, "label": torch.zeros(20, dtype=torch.int64)}
    for _ in range(2):
        recipe.stages[0].objective.loss(model, "autoencoder", batch)
    assert all(x.abs().unique().tolist() == [1.0] for x in seen)
    assert seen[0].mean().item() == pytest.approx(0.5, abs=0.1)
    assert not torch.equal(seen[0], seen[len(seen) // 2])
