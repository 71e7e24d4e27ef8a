"""How the Triton path cuts its work does not show: splits of the codebook, memory beyond 32-bit offsets."""

from __future__ import annotations

import math

import pytest
import torch

from gencore_kernels.nearest_code import nearest_code

triton_path = pytest.importorskip("gencore_kernels.nearest_code.triton_path")


KINDS = ["gaussian", "equal codes in every split", "best codes in one split", "near ties across splits", "not finite"]


@pytest.mark.parametrize("kind", KINDS)
def test_number_of_splits_does_not_change_the_bits(
    kind: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, codebook = torch.randn(9, 8, device=device), torch.randn(500, 8, device=device)
    if kind == "equal codes in every split":
        codebook = torch.randn(50, 8, device=device).repeat(10, 1)
    if kind == "best codes in one split":
        codebook[430:439] = x + 1e-3 * torch.randn_like(x)
    if kind == "near ties across splits":
        away = 0.5 * torch.randn_like(x)
        codebook[10:19], codebook[430:439] = x + away * (1 + 1e-5), x + away
    if kind == "not finite":
        codebook[100:400], x[3, 2] = math.nan, math.inf
    oracle = nearest_code(x, codebook, backend="reference")
    results = []
    for splits in (1, 2, 3, 5, 8):
        monkeypatch.setattr(triton_path, "_num_splits", lambda *_, splits=splits: splits)
        results.append(nearest_code(x, codebook, backend="triton"))
    for found in results:
        assert torch.equal(found.index, oracle.index)
        torch.testing.assert_close(found.distance, results[0].distance, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("row_blocks", "heads", "groups", "splits"),
    [(1, 1, 100, 8), (1, 1, 3, 3), (132, 1, 100, 4), (528, 1, 100, 1), (66, 8, 100, 1), (10000, 1, 100, 1)],
)
def test_few_rows_are_split_and_many_are_not(row_blocks: int, heads: int, groups: int, splits: int) -> None:
    """About four programs a multiprocessor, of which an H200 has 132; at most eight splits, none of them empty."""
    assert triton_path._num_splits(row_blocks, heads, groups, 132) == splits


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("axis", ["rows", "dimensions"])
def test_offsets_beyond_32_bits(axis: str, backend: str, device: torch.device) -> None:
    """Entries 2^30 apart: the last lies at 3 * 2^30. The gaps are never touched, so they cost no memory on the CPU."""
    far = 1 << 30
    memory = torch.empty(3 * far + 64, dtype=torch.float16, device=device)
    shape, strides = ((4, 8), (far, 1)) if axis == "rows" else ((8, 4), (1, far))
    x = memory.as_strided(shape, strides)
    x.copy_(torch.randn(shape))
    codebook = torch.randn(20, shape[1], device=device)
    found = nearest_code(x, codebook, returns=("distance", "sums"), backend=backend)
    near = nearest_code(x.contiguous(), codebook, returns=("distance", "sums"), backend=backend)
    for one, other in zip(found, near, strict=True):
        assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize("dim", [513, 700, 1536])
def test_more_dimensions_than_the_kernels_hold_go_to_torch(dim: int) -> None:
    x, codebook = torch.randn(12, dim), torch.randn(40, dim)
    assert torch.equal(nearest_code(x, codebook).index, nearest_code(x, codebook, backend="reference").index)
    with pytest.raises(ValueError, match=f"at most 512 dimensions, not {dim}"):
        nearest_code(x, codebook, backend="triton")
