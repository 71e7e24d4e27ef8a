"""Pixel blitting against torch's flips, turns and rolls; what moves p."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencore_gan.parts.augmentation import adapted, augmented, places


def changed(x: Tensor, *, flip: int = 0, turns: int = 0, down: int = 0, right: int = 0) -> Tensor:
    numbers = (torch.tensor([n]) for n in (turns, down, right))
    row, column = places(x.shape[-1], torch.tensor([bool(flip)]), *numbers, x.device)
    return x[:, row[0], column[0]]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flip", [0, 1])
def test_flips_and_turns(flip: int, turns: int) -> None:
    x = torch.arange(32.0).reshape(2, 4, 4)
    expected = torch.rot90(x.flip(2) if flip else x, turns, (1, 2))
    assert torch.equal(changed(x, flip=flip, turns=turns), expected)


def test_shifts_are_reflected() -> None:
    x = torch.arange(16.0).reshape(1, 4, 4)
    assert changed(x, right=1)[0, 0].tolist() == [1.0, 0.0, 1.0, 2.0]
    assert changed(x, right=-2)[0, 0].tolist() == [2.0, 3.0, 2.0, 1.0]
    assert changed(x, down=1)[0, :, 0].tolist() == [4.0, 0.0, 4.0, 8.0]


def test_p() -> None:
    """0 changes nothing; at 1 most images change, each by one of the changes; at p a share of them."""
    torch.manual_seed(0)
    x = torch.rand(400, 2, 16, 16)
    assert torch.equal(augmented(x, torch.tensor(0.0)), x)
    shares = [(augmented(x, torch.tensor(p)) != x).flatten(1).any(1).float().mean().item() for p in (0.1, 0.5, 1.0)]
    # not flipped (1 - p/2), not turned (1 - 3p/4), not shifted (1 - 24p/25)
    expected = [1 - (1 - p / 2) * (1 - 3 * p / 4) * (1 - 24 * p / 25) for p in (0.1, 0.5, 1.0)]
    assert shares == pytest.approx(expected, abs=0.07)


def test_twice_differentiable() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def change(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return augmented(x, torch.tensor(0.8)).square()

    assert torch.autograd.gradgradcheck(change, (x,))


def test_what_moves_p() -> None:
    p = torch.tensor(0.5)
    assert adapted(p, torch.tensor(0.9), 0.6, 0.01).item() == pytest.approx(0.51)
    assert adapted(p, torch.tensor(0.1), 0.6, 0.01).item() == pytest.approx(0.49)
    assert adapted(torch.tensor(0.0), torch.tensor(0.1), 0.6, 0.01).item() == 0
    assert adapted(torch.tensor(1.0), torch.tensor(0.9), 0.6, 0.01).item() == 1
