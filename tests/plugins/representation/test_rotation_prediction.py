"""RotNet: the turns, and how well held-out digits' are named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.training.trainer import Trainer
from gencore_representation import rotation_prediction
from gencore_representation.rotation_prediction import four_turns, which_turn


def test_turns_are_exact() -> None:
    """Four make the picture again, three undo one, labels are balanced; a corner moves anticlockwise."""
    x = torch.randn(5, 2, 4, 4)
    copies, turns = four_turns(x)
    assert torch.equal(copies[:5], x)
    assert turns.bincount().tolist() == [5, 5, 5, 5]
    for turn in range(4):
        undone = four_turns(copies[turns == turn])[0].view(4, 5, 2, 4, 4)[(4 - turn) % 4]
        assert torch.equal(undone, x)
    corner = torch.zeros(1, 1, 4, 4)
    corner[0, 0, 0, 3] = 1  # upper right
    assert four_turns(corner)[0][1, 0, 0, 0] == 1  # upper left after a quarter turn anticlockwise


def test_loss_is_the_mean_over_copies() -> None:
    """Equal logits give log 4, whatever the pictures."""

    class Undecided:
        def judge(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 4)

    (task,) = which_turn(Undecided(), torch.randn(3, 1, 4, 4))
    loss = torch.nn.functional.cross_entropy(task.logits, task.target)
    assert loss.item() == pytest.approx(1.3862944)
    assert task.target.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_vectors_are_refused() -> None:
    """They have no turns."""
    with pytest.raises(GencoreError, match="data_shape"):
        gencore.create("rotation-prediction", data_shape=(8,))


def figure(seed: int, steps: int = 1500) -> float:
    """Share of the four turns of each held-out digit that is named right."""
    recipe = gencore.recipe("rotation-prediction", steps=steps)
    model = Trainer(recipe, digits("train"), seed=seed, cpu=True).fit().eval()
    copies, turns = four_turns(digits("test").x)
    with torch.no_grad():
        return (model.judge(copies).argmax(1) == turns).float().mean().item()  # type: ignore[operator]


@pytest.mark.behaviour
def test_names_the_turns_of_held_out_digits(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At seeds 0, 1, 2: 0.957, 0.952, 0.938. Odd turns replaced by transpositions in training 0.482, 0.550, 0.572;
    untrained 0.166.
    """
    page = figure(0)
    monkeypatch.setattr(rotation_prediction, "four_turns", transposed)
    twin = figure(0)
    measured(
        "rotation-prediction",
        "turns of held-out digits named right",
        figure=page,
        twin=twin,
        bar=0.9,
        better="higher",
    )


def transposed(x: Tensor) -> tuple[Tensor, Tensor]:
    """The twin's copies: turned about the other axis now and then, which a RotNet with wrong axes would see."""
    copies, turns = four_turns(x)
    return torch.where((turns % 2 == 1)[:, None, None, None], copies.transpose(2, 3), copies), turns
