"""Context encoder: the hole, what may be seen, and that the surroundings are used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.training.trainer import Trainer
from gencore_representation.context_encoder import hidden, hole, middle, pasted, square_error


def test_the_hole_is_never_seen() -> None:
    """No gradient from the middle; what is known comes back to the bit."""
    model: Any = gencore.create("context-encoder", data_shape=(1, 16, 16), overlap=1)
    x = torch.rand(3, 1, 16, 16, requires_grad=True)
    model.encode(x).sum().backward()
    mask = hole(x, 1)
    assert mask.sum() == 6 * 6
    assert (x.grad[:, :, mask] == 0).all()  # type: ignore[index]
    assert (x.grad[:, :, ~mask] != 0).any()  # type: ignore[index]
    painted = model.reconstruct(x.detach())
    assert torch.equal(painted[:, :, ~mask], x.detach()[:, :, ~mask])
    assert (painted[:, :, mask] != x.detach()[:, :, mask]).any()


def test_squares_go_back_where_they_were() -> None:
    """Cut out and pasted in again, with and without overlap."""
    x = torch.randn(2, 3, 16, 16)
    for overlap in (0, 2):
        assert torch.equal(pasted(x, middle(x), overlap), x)
        assert (hidden(x, overlap)[:, :, hole(x, overlap)] == 0).all()


def test_the_rim_weighs_ten_times() -> None:
    """A square of 4 with a rim of 1: 12 pixels of weight 10 and 4 of weight 1, error 1 each."""
    ones, zeros = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert square_error(ones, zeros, 1).item() == pytest.approx((120 + 4) / 16)
    assert square_error(ones, zeros, 0).item() == 1


def test_weights_of_the_two_terms() -> None:
    """0.999 of one and 0.001 of the other; a critic at 0 gives log 2."""
    recipe: Any = gencore.recipe("context-encoder", data_shape=(1, 8, 8))
    model = recipe.model(recipe.config)
    for parameter in model.critic[-1].parameters():
        torch.nn.init.zeros_(parameter)
    loss = recipe.stages[0].objective.painter(model, {"x": torch.rand(4, 1, 8, 8)})
    expected = 0.999 * loss.metrics["error"] + 0.001 * 0.6931472
    torch.testing.assert_close(loss.total, expected)


def test_refusals() -> None:
    """An overlap that leaves no hole; vectors."""
    with pytest.raises(GencoreError, match="overlap"):
        gencore.create("context-encoder", overlap=2)
    with pytest.raises(GencoreError, match="data_shape"):
        gencore.create("context-encoder", data_shape=(16,))


def figures(seed: int, steps: int = 1000) -> dict[str, float]:
    """Squared error in the hole of held-out digits, as a share of that of the training data's mean hole."""
    recipe = gencore.recipe("context-encoder", steps=steps)
    model: Any = Trainer(recipe, digits("train"), seed=seed, cpu=True).fit().eval()
    train, test = digits("train").x, digits("test").x
    truth = middle(test)
    other = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))

    def error(painted: Tensor) -> float:
        return ((painted - truth).square().mean() / (middle(train).mean(0) - truth).square().mean()).item()

    with torch.no_grad():
        painted = model.generate(model.encode(test))
    return {"error": error(painted), "other": error(painted[other])}


@pytest.mark.behaviour
def test_paints_from_the_surroundings(measured: Any) -> None:
    """Over the mean hole's error at seeds 0, 1, 2: 0.316, 0.312, 0.336; from others' surroundings 1.77, 1.76, 1.75;
    untrained 1.10.
    """
    page = figures(0)
    measured(
        "context-encoder",
        "error in the hole over the mean picture's; twin: painted from another picture's surroundings",
        figure=page["error"],
        twin=page["other"],
        bar=0.55,
        better="lower",
    )
