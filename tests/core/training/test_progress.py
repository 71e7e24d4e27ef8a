"""The losses that a training shows."""

from __future__ import annotations

import pytest
import torch

from gencore.training.progress import ProgressBar


def test_the_losses_shown_are_running_means() -> None:
    """At first of all iterations, then over about the last 50; other metrics, and phases that have ended, are left."""
    bar = ProgressBar(quiet=False)
    for value in (1.0, 2.0, 6.0):
        bar._average({"critic/loss": torch.tensor(value), "critic/real": torch.tensor(9.0)})
    assert bar.losses() == "critic/loss 3"
    for _ in range(100):
        bar._average({"critic/loss": torch.tensor(0.0), "prior/loss": torch.tensor(0.5)})
    rest = 3.0 * (3 / 4) * (4 / 5)  # the first two of them, and then the means of 6, 7 ... 50, 50 ...
    for seen in range(6, 104):
        rest *= 1 - 1 / min(seen, 50)
    assert bar.means["critic/loss"].item() == pytest.approx(rest, rel=1e-4)
    assert rest < 0.1
    bar._average({"prior/loss": torch.tensor(0.5)})
    assert bar.losses() == "prior/loss 0.5"
