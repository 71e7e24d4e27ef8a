"""Attacks: on a linear model everything is known."""

from __future__ import annotations

import pytest
import torch

from gencore.errors import GencoreError
from gencore.evaluation.attacks import fgsm, pgd, random_signs, robustness
from gencore.noise import Noise


def linear(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, generator=generator, dtype=torch.float64)
    x = torch.randn(9, 1, 2, 3, generator=generator, dtype=torch.float64)
    return weight, x, torch.arange(9) % 2


def margins(weight: torch.Tensor, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return (2 * label - 1) * (x.flatten(1) @ weight)


def test_fgsm_lowers_a_linear_margin_by_epsilon_l1() -> None:
    """The loss argument moves by exactly epsilon ||w||_1, x by exactly epsilon in each number."""
    weight, x, label = linear()

    def logits(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(rows), dtype=rows.dtype), rows.flatten(1) @ weight], 1)

    moved = fgsm(logits, x, label, epsilon=0.1)
    fall = margins(weight, x, label) - margins(weight, moved, label)
    torch.testing.assert_close(fall, (0.1 * weight.abs().sum()).expand(9))
    torch.testing.assert_close((moved - x).abs(), torch.full_like(x, 0.1))
    assert not moved.requires_grad
    torch.testing.assert_close(pgd(logits, x, label, epsilon=0.1, steps=3), moved)
    started = pgd(logits, x, label, epsilon=0.1, steps=1, step_size=0.0, noise=Noise(0, 0, 9))
    assert 0.05 < (started - x).abs().max() <= 0.1 + 1e-6


def test_pgd_stays_in_its_box_and_bounds() -> None:
    """However many and long its steps."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    x, label = torch.rand(20, 1, 2, 3) * 2 - 1, torch.arange(20) % 3
    moved = pgd(net, x, label, epsilon=0.2, steps=20, step_size=0.15, noise=Noise(1, 0, 20), bounds=(-1, 1))
    assert (moved - x).abs().max() <= 0.2 + 1e-6
    assert moved.abs().max() <= 1
    loss = torch.nn.functional.cross_entropy
    assert loss(net(moved), label) > loss(net(fgsm(net, x, label, epsilon=0.1, bounds=(-1, 1))), label)
    assert all(p.grad is None for p in net.parameters())


def test_random_signs_and_robustness() -> None:
    """Every number moves by epsilon, half of them up; the three accuracies are of the three kinds of examples."""
    x = torch.zeros(1000, 1, 2, 2)
    moved = random_signs(x, Noise(0, 0, 1000), epsilon=0.3)
    assert moved.abs().unique().tolist() == pytest.approx([0.3])
    assert abs((moved > 0).float().mean() - 0.5) < 0.05
    found = robustness(
        lambda rows: torch.stack([-rows.flatten(), rows.flatten()], 1),
        torch.tensor([[1.0], [2.0], [-1.0], [-3.0]]),
        torch.tensor([1, 1, 0, 1]),
        lambda rows, label: -rows,
        lambda rows: rows.abs(),
    )
    assert (found.clean, found.attacked, found.random) == (0.75, 0.25, 0.75)


def test_refusals() -> None:
    """Sizes below 0, labels that are not one for each example."""
    x = torch.zeros(3, 2)
    with pytest.raises(GencoreError, match="epsilon"):
        fgsm(lambda rows: rows, x, torch.zeros(3, dtype=torch.int64), epsilon=-0.1)
    with pytest.raises(GencoreError, match="labels"):
        pgd(lambda rows: rows, x, torch.zeros(2, dtype=torch.int64), epsilon=0.1)
    with pytest.raises(GencoreError, match="steps"):
        pgd(lambda rows: rows, x, torch.zeros(3, dtype=torch.int64), epsilon=0.1, steps=0)
