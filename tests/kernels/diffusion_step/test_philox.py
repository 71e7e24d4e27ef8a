"""The noise: known answers of Philox4x32-10, the normal law, independence, and the same numbers in every backend."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from gencore_kernels.diffusion_step import StepRow, diffusion_step, philox_normal, stack_rows
from gencore_kernels.philox import philox_words, quarter

NOISE_ONLY = stack_rows([StepRow(0, 0, 0, 0, 0, 1)] * 8)


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(key, counter, words) -> None:
    """The published test vectors of Random123, philox4x32 with ten rounds."""
    tensors = [tuple(torch.tensor(word) for word in group) for group in (key, counter)]
    assert tuple(int(word) for word in philox_words(*tensors)) == words


def test_the_law_is_normal() -> None:
    z = philox_normal(torch.tensor([7, 0, -3]), 2, (40_000,)).double()
    for row in z:
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-3
    pooled = z.flatten()
    assert abs(pooled.mean()) < 4 / len(pooled) ** 0.5
    assert abs(pooled.std() - 1) < 4 / (2 * len(pooled)) ** 0.5
    assert abs((pooled**4).mean() - 3) < 4 * (96 / len(pooled)) ** 0.5
    assert pooled.abs().max() < 6.5


def test_samples_steps_and_words_are_uncorrelated() -> None:
    seeds = torch.arange(6)
    rows = torch.cat([philox_normal(seeds, step, (16_000,)) for step in (0, 1, 2)])
    words = torch.cat([row.reshape(4, -1)[:, :4000] for row in rows[:2]])
    for block in (rows.double(), words.double(), rows.double().square()):
        correlation = torch.corrcoef(block)
        correlation.fill_diagonal_(0)
        assert correlation.abs().max() < 4.5 / block.shape[1] ** 0.5


def test_high_seed_bits_count_and_negative_seeds_are_seeds() -> None:
    seeds = torch.tensor([5, 5 + 2**32, 5 + 2**63 - 2**63, -5, 0])
    z = philox_normal(seeds, 0, (64,))
    assert torch.equal(z[0], z[2])
    assert len({tuple(row.tolist()) for row in z}) == 4


@pytest.mark.parametrize("shape", [(1,), (3,), (63,), (65,), (3, 7, 5), (2, 20_000)])
def test_batch_and_chunks_do_not_change_the_numbers(shape, monkeypatch) -> None:
    seeds = torch.tensor([11, 2, 2**40])
    together = philox_normal(seeds, 4, shape)
    for row, seed in zip(together, seeds, strict=True):
        assert torch.equal(philox_normal(seed[None], 4, shape)[0], row)
    monkeypatch.setattr("gencore_kernels.philox.CHUNK", 48)
    if together.numel() < 10_000:
        assert torch.equal(philox_normal(seeds, 4, shape), together)
    steps = torch.tensor([4, 5, 6])
    mixed = philox_normal(seeds, steps, shape)
    assert torch.equal(mixed[0], together[0])
    assert not torch.equal(mixed[1], together[1])


def test_float64_noise_is_the_same_noise() -> None:
    seeds = torch.arange(4)
    exact = philox_normal(seeds, 1, (5000,), dtype=torch.float64)
    assert (philox_normal(seeds, 1, (5000,)) - exact).abs().max() < 2e-6


def test_kernel_and_reference_draw_the_same_numbers(device) -> None:
    pytest.importorskip("triton")
    from gencore_kernels.diffusion_step import triton_kernels

    seeds = torch.tensor([5, 0, -7, 2**40 + 1], device=device)
    x = torch.zeros(4, 3, 29, 31, device=device)
    step = torch.tensor([0, 3, 3, 7], device=device)
    table = NOISE_ONLY.to(device)
    exact = philox_normal(seeds, step, (3, 29, 31), dtype=torch.float64)
    runs = [
        triton_kernels.diffusion_step(x, x, table, step, None, None, seeds, None, {"BLOCK": block})
        for block in (128, 512)
    ]
    assert torch.equal(*runs)
    assert (runs[0].double() - exact).abs().max() < 3e-6
    for implementation in ("torch", "reference"):
        drawn = diffusion_step(x, x, table, step, seeds=seeds, backend=implementation)
        assert (drawn.double() - exact).abs().max() < 3e-6


def test_runs_are_aligned() -> None:
    assert [quarter(n) for n in (0, 1, 64, 65, 1000)] == [0, 16, 16, 32, 256]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3), 0, (4,)), "seeds must be an int64 tensor"),
        ((torch.zeros(3, 1, dtype=torch.int64), 0, (4,)), "seeds must be an int64 tensor"),
        ((torch.arange(3), torch.arange(2), (4,)), "step must be an integer"),
        ((torch.arange(3), 0.5, (4,)), "step must be an integer"),
    ],
)
def test_bad_arguments_are_named(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        philox_normal(*arguments)
    with pytest.raises(ValueError, match="dtype must be"):
        philox_normal(torch.arange(3), 0, (4,), dtype=torch.float16)
