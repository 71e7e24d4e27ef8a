"""Cost against work: time and peak memory of the hot paths, of a training step and of loading, as the work grows.

The exponent fitted to the sizes must not exceed its bar. The bars leave 0.15 to the measuring; memory of what does not
grow is held to 0.25. A fixed cost makes an exponent smaller, never larger.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import gencore
from gencore.data import digits
from gencore_kernels.minibatch_discrimination import minibatch_discrimination
from gencore_kernels.nearest_code import nearest_code

Work = Callable[[], Any]
LINEAR, QUADRATIC, FLAT = 1.15, 2.15, 0.25


def look_up(rows: int, codes: int) -> Work:
    """nearest_code of 64 dimensions."""
    x, codebook = torch.randn(rows, 64), torch.randn(codes, 64)
    return lambda: nearest_code(x, codebook)


def test_nearest_code_over_rows(grow: Any) -> None:
    grow(
        "nearest_code",
        "N (K = 1024)",
        lambda n: look_up(n, 1024),
        [4096, 8192, 16384, 32768],
        time=LINEAR,
        memory=LINEAR,
    )


def test_nearest_code_over_codes(grow: Any) -> None:
    """No matrix of distances: memory is that of N + K."""
    grow(
        "nearest_code", "K (N = 4096)", lambda k: look_up(4096, k), [512, 1024, 2048, 4096], time=LINEAR, memory=LINEAR
    )


def test_discrimination_over_the_batch(grow: Any) -> None:
    """Forward and backward: all pairs, and never all pairs at once."""

    def made(n: int) -> Work:
        m, g = torch.randn(n, 32, 16) * 0.3, torch.randn(n, 32)

        def work() -> Any:
            leaf = m.detach().requires_grad_()
            return torch.autograd.grad(minibatch_discrimination(leaf), leaf, g)

        return work

    grow("minibatch_discrimination", "N (32 x 16)", made, [512, 1024, 2048, 4096], time=QUADRATIC, memory=LINEAR)


def test_sampling_over_steps(grow: Any) -> None:
    torch.manual_seed(0)
    model: Any = gencore.create("ddpm", data_shape=(1, 32, 32)).eval()

    def made(steps: int) -> Work:
        return lambda: model.sample(8, seed=0, steps=steps)

    grow("ddpm-sampling", "steps (8 x 32 x 32)", made, [5, 10, 20, 40], time=LINEAR, memory=FLAT)


def training(side: int, batch: int) -> Work:
    """Three iterations of dcgan."""
    recipe = gencore.recipe("dcgan", data_shape=(1, side, side), width=16, steps=3, batch_size=batch)
    source = digits("train", side)
    return lambda: gencore.Trainer(recipe, source, cpu=True).fit()


def test_training_over_the_batch(grow: Any) -> None:
    grow("dcgan-training", "batch (32 x 32)", lambda n: training(32, n), [16, 32, 64, 128], time=LINEAR, memory=LINEAR)


def test_training_over_the_side(grow: Any) -> None:
    """Time and memory are those of the pixels, the square of the side."""
    grow(
        "dcgan-training",
        "side (batch 16)",
        lambda n: training(n, 16),
        [16, 32, 64, 128],
        time=QUADRATIC,
        memory=QUADRATIC,
    )


def test_loading_over_bytes(grow: Any, tmp_path: Path) -> None:
    def made(width: int) -> Work:
        folder = tmp_path / str(width)
        gencore.create("gan", hidden=[width, width]).save_pretrained(folder)
        return lambda: gencore.from_pretrained(folder)

    widths = [1024, 2048, 4096, 8192]
    grow("loading", "width of layers (bytes: its square)", made, widths, time=QUADRATIC, memory=QUADRATIC)
