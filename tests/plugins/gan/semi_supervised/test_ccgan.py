"""CC-GAN: holes where they should be, contexts to the bit, one trunk for two heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_gan.semi_supervised.ccgan import random_masks, square_masks


def made(**arguments: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    recipe = gencore.recipe("ccgan", width=4, dropout=0.0, **arguments)
    x = torch.rand(12, 1, 8, 8) * 2 - 1
    batch = {"x": x[:6], "label": torch.arange(6), "x_unlabelled": x[6:]}
    return recipe.model(recipe.config), recipe.stages[0].objective, batch


def softplus(value: torch.Tensor) -> torch.Tensor:
    return (1 + value.double().exp()).log()


def test_masks() -> None:
    """A square of side 2 at row 1, column 0, by hand; random ones have the hole's area and reach every corner."""
    (mask,) = square_masks(torch.tensor([[1, 0]]), 4, 2)
    assert mask[0].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    model, _, _ = made()
    torch.manual_seed(0)
    masks = random_masks(model, gencore.noise.GlobalNoise(500))
    assert (masks.flatten(1).sum(1) == 16).all()
    corners = masks[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].amax(0)
    assert corners.tolist() == [1, 1, 1, 1]


def test_the_context_stays_and_the_hole_is_unseen() -> None:
    model, _, batch = made()
    x = batch["x"]
    mask = square_masks(torch.tensor([[1, 3]]).expand(6, 2), 8, 4)
    filled = model.fill(x, mask)
    assert torch.equal(filled[mask == 0], x[mask == 0])
    assert not torch.equal(filled[mask == 1], x[mask == 1])
    assert torch.equal(model.fill(x + 5 * mask, mask), filled)
    assert not torch.equal(model.fill(x + 0.1 * (1 - mask), mask)[mask == 1], filled[mask == 1])
    middle = model.translate(x) == x
    assert middle[:, :, [0, 1, 6, 7]].all()
    assert not middle[:, :, 2:6, 2:6].any()
    with pytest.raises(GencoreError, match="one way"):
        model.translate(x, to=1)


def test_losses_by_hand() -> None:
    model, objective, batch = made(unlabelled_weight=0.7)
    for phase in ("critic", "generator"):
        torch.manual_seed(1)
        loss = objective.loss(model, phase, batch).total.double()
        torch.manual_seed(1)
        mask = square_masks(torch.randint(5, (6, 2)), 8, 4)
        x = batch["x_unlabelled"]
        fake = softplus(model.judge(model.fill(x, mask))), softplus(-model.judge(model.fill(x, mask)))
        if phase == "critic":
            named = cross_entropy(model.class_logits(batch["x"]), batch["label"])
            expected = named.double() + 0.7 * (softplus(-model.judge(x)).mean() + fake[0].mean())
        else:
            expected = fake[1].mean()
        torch.testing.assert_close(loss, expected)


def test_both_heads_stand_on_one_trunk() -> None:
    """Each head's output has a gradient in every parameter of the trunk."""
    model, objective, batch = made()
    for outputs in (model.judge, model.class_logits):
        model.zero_grad()
        outputs(batch["x"]).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.critic["trunk"].parameters())
    model.zero_grad()
    objective.loss(model, "critic", batch).total.backward()
    assert all(p.grad is None for p in model.generator.parameters())


def test_bad_arguments() -> None:
    with pytest.raises(GencoreError, match="--image-size"):
        gencore.recipe("ccgan", data_shape=(1, 28, 28))
    with pytest.raises(GencoreError, match="dropout"):
        gencore.recipe("ccgan", dropout=1.0)


@pytest.mark.behaviour
def test_holes_are_filled_as_the_context_wants(measured) -> None:
    """500 steps, seed 0: 0.898, from another digit's context 1.245; std in the hole over the truth's 0.80. Accuracy
    with 100 labels 0.882: what the game adds to it is within the noise of 397 digits, so it is no bar."""
    recipe = gencore.recipe("ccgan", steps=500)
    model = gencore.Trainer(recipe, digits("train"), seed=0, cpu=True).fit().eval()
    x, train = digits("test").x, digits("train").x
    with torch.no_grad():
        filled = model.translate(x)
        strange = model.translate(x.roll(1, 0))
    hole = (slice(None), slice(None), slice(2, 6), slice(2, 6))
    error, mean = (filled - x)[hole].abs().mean(), (train.mean(0) - x)[hole].abs().mean()
    spread = (filled[hole].std(0).mean() / x[hole].std(0).mean()).item()
    twin = ((strange - x)[hole].abs().mean() / mean).item()
    figure = (error / mean).item()
    accuracy = (model.classify(x) == digits("test").label).float().mean().item()
    assert spread > 0.6
    assert accuracy > 0.8
    measured(
        "ccgan",
        "L1 in the hole over that of the mean digit; the twin is filled from another digit's context",
        figure=figure,
        twin=twin,
        bar=1.0,
        better="lower",
    )
