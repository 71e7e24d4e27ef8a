"""Every backend returns the float64 argmin, lowest index on ties: equality of indices, never a tolerance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gencore_kernels.nearest_code import nearest_code, torch_path

BACKENDS = ["torch", "triton", "compiled"]
INF, NAN = math.inf, math.nan


def assert_matches_oracle(x: Tensor, codebook: Tensor, backend: str, bias: Tensor | None = None) -> None:
    found = nearest_code(x, codebook, bias=bias, backend=backend)
    oracle = nearest_code(x, codebook, bias=bias, backend="reference")
    wrong = (found.index != oracle.index).nonzero()
    assert not len(wrong), f"{len(wrong)} of {len(x)} rows wrong, the first at {wrong[0].tolist()}"
    rounding = (x.shape[-1] + 4) * 2.0**-24
    torch.testing.assert_close(found.distance, oracle.distance, rtol=rounding, atol=1e-37, equal_nan=True)


def gaussian(num_rows: int, num_codes: int, dim: int) -> tuple[Tensor, Tensor]:
    return torch.randn(num_rows, dim), torch.randn(num_codes, dim)


def decoys() -> tuple[Tensor, Tensor]:
    """x is a code, and 1e-4 beside it lies another one with a lower index: expanded distances fail."""
    codes = torch.randn(100, 16)
    return codes.clone(), torch.cat([codes + 1e-4 * torch.randn_like(codes), codes])


def duplicates() -> tuple[Tensor, Tensor]:
    codes = torch.randn(40, 16)
    return torch.randn(60, 16), torch.cat([codes, codes, codes])


def repeated(spacing: int, step: float) -> tuple[Tensor, Tensor]:
    """The same codes again every `spacing` codes, each time smaller by `step`: rivals that share a lane or a group."""
    codes = torch.randn(spacing, 8)
    return torch.randn(40, 8), torch.cat([codes * (1 + step * turn) for turn in (3, 2, 1, 0)])


def crowd() -> tuple[Tensor, Tensor]:
    """40 codes within rounding of each other, in any order, among others."""
    codes = torch.randn(8, 16).repeat(40, 1) * (1 + 1e-7 * torch.randn(320, 1))
    return torch.randn(60, 16), codes[torch.randperm(320)]


def near_ties() -> tuple[Tensor, Tensor]:
    codes = torch.randn(150, 8)
    return torch.randn(60, 8), torch.cat([codes, codes * (1 + 1e-7)])


def one_huge_code() -> tuple[Tensor, Tensor]:
    x, codes = gaussian(40, 60, 8)
    codes[17] = 1e20
    x[3] = 9e19
    return x, codes


def clusters() -> tuple[Tensor, Tensor]:
    x = torch.randn(80, 33) * 1e-3 + 50.0
    return x, x[torch.randint(0, 80, (200,))] + 3e-4 * torch.randn(200, 33)


def denormals() -> tuple[Tensor, Tensor]:
    return torch.randn(30, 8) * 1e-41, torch.randn(50, 8) * 1e-41


def mixed_scales() -> tuple[Tensor, Tensor]:
    x, codes = gaussian(64, 90, 16)
    return x * torch.logspace(-20, 15, 64)[:, None], codes


ADVERSARIAL = {
    "decoys": decoys,
    "duplicates": duplicates,
    "equal codes 128 apart": lambda: repeated(128, 0.0),
    "near ties 16 apart": lambda: repeated(16, 1e-7),
    "near ties 64 apart": lambda: repeated(64, 1e-7),
    "near ties": near_ties,
    "crowd": crowd,
    "all codes zero": lambda: (torch.randn(20, 16), torch.zeros(70, 16)),
    "integer grid": lambda: (torch.randint(-2, 3, (100, 4)).float(), torch.randint(-2, 3, (150, 4)).float()),
    "offset 10": lambda: (torch.randn(60, 16) + 10, torch.randn(150, 16) + 10),
    "offset 1000": lambda: (torch.randn(60, 16) + 1000, torch.randn(150, 16) + 1000),
    "scale 1e-30": lambda: (torch.randn(40, 16) * 1e-30, torch.randn(100, 16) * 1e-30),
    "scale 1e-18": lambda: (torch.randn(40, 16) * 1e-18, torch.randn(100, 16) * 1e-18),
    "scale 1e15": lambda: (torch.randn(40, 16) * 1e15, torch.randn(100, 16) * 1e15),
    "far rows": lambda: (torch.randn(40, 16) * 1e30, torch.randn(100, 16) * 1e-5),
    "one huge code": one_huge_code,
    "denormals": denormals,
    "clusters": clusters,
    "mixed scales": mixed_scales,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_data(name: str, backend: str, device: torch.device) -> None:
    x, codebook = ADVERSARIAL[name]()
    assert_matches_oracle(x.to(device), codebook.to(device), backend)


SHAPES = [(0, 5, 3), (1, 1, 1), (1, 2, 3), (15, 63, 8), (16, 64, 16), (17, 65, 24), (33, 257, 64), (70, 1000, 3)]
LARGE = [(300, 1000, 64), (40, 513, 96), (20, 65, 192), (17, 33, 512)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, int, int], backend: str, device: torch.device) -> None:
    x, codebook = (tensor.to(device) for tensor in gaussian(*shape))
    assert_matches_oracle(x, codebook, backend)


CPU = pytest.mark.parametrize("backend", ["torch", "compiled"])


@CPU
@pytest.mark.parametrize("shape", [*LARGE, (9, 40, 513), (3000, 2, 300), (5, 40000, 3), (300, 20000, 2), (9, 2500, 70)])
def test_large_shapes_on_the_cpu(shape: tuple[int, int, int], backend: str) -> None:
    """Large K goes through in blocks of codes, large N * D in panels of rows."""
    assert_matches_oracle(*gaussian(*shape), backend)


def test_compiled_gives_the_same_on_any_number_of_threads() -> None:
    x, codebook = torch.randn(3000, 12), torch.randn(500, 12)
    codebook[250:] = codebook[:250] * (1 + 1e-7)
    expected = nearest_code(x, codebook, backend="compiled")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert_matches_oracle(x, codebook, "compiled")
        assert torch.equal(nearest_code(x, codebook, backend="compiled").distance, expected.distance)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("block", [64, 128])
@pytest.mark.parametrize("turns", [(1, 0), (0, 1), (2, 2, 1, 0), (0, 1, 2, 2), (2, 0, 0, 2)])
def test_rivals_in_other_blocks_of_codes(turns: tuple[int, ...], block: int, monkeypatch) -> None:
    """Copies of 64 codes, each as much larger as rounding, in blocks of one group of codes and of two."""
    monkeypatch.setattr(torch_path, "_CODES", block)
    codes = torch.randn(64, 16)
    codebook = torch.cat([codes * (1 + 1e-7 * turn) for turn in turns])
    codebook = torch.cat([codebook, torch.randn(256 - len(codebook), 16) + 9.0])
    for order in (codebook, codebook.flip(0)):
        assert_matches_oracle(codes + 0.3 * torch.randn(64, 16), order, "torch")


@pytest.mark.parametrize("turns", [(1, 0), (0, 1), (2, 2, 1, 0), (0, 1, 2, 2), (2, 0, 0, 2)])
def test_rivals_in_other_blocks_of_codes_compiled(turns: tuple[int, ...]) -> None:
    """The same with blocks of 1024 codes, as 64 dimensions have them."""
    codes, far = torch.randn(64, 64), torch.randn(960, 64) + 9.0
    codebook = torch.cat([part for turn in turns for part in (codes * (1 + 1e-7 * turn), far)])
    for order in (codebook, codebook.flip(0)):
        assert_matches_oracle(codes + 0.3 * torch.randn(64, 64), order, "compiled")


@CPU
def test_a_collapsed_codebook(backend: str) -> None:
    """Two codes (0 and -0 are one), each many times in any order, among others that are not finite; with a bias, any
    copy may be the best."""
    codes = torch.tensor([0.0, -0.0, 1.0, NAN])[:, None].expand(4, 16)
    codebook = codes[torch.randint(0, 4, (1200,))]
    assert_matches_oracle(torch.randn(200, 16), codebook, backend)
    assert_matches_oracle(torch.randn(200, 16), codebook, backend, 1e-6 * torch.rand(1200))


def test_copies_are_no_candidates_of_the_compiled_search(monkeypatch) -> None:
    """So that few rows of a collapsed codebook, if any, are left to the slower path."""
    monkeypatch.setattr(torch_path, "settle", None)
    assert_matches_oracle(torch.randn(200, 16), torch.randn(3, 16)[torch.randint(0, 3, (1200,))], "compiled")


@pytest.mark.parametrize("shape", [(40, 300, 96), (17, 70, 192), (17, 33, 512)])
def test_large_dimensions_on_the_triton_path(shape: tuple[int, int, int], device: torch.device) -> None:
    x, codebook = (tensor.to(device) for tensor in gaussian(*shape))
    assert_matches_oracle(x, codebook, "triton")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtypes", [("float16", "float16"), ("bfloat16", "bfloat16"), ("bfloat16", "float32")])
def test_half_precision(dtypes: tuple[str, str], backend: str, device: torch.device) -> None:
    x, codebook = gaussian(60, 200, 16)
    x, codebook = x.to(device, getattr(torch, dtypes[0])), codebook.to(device, getattr(torch, dtypes[1]))
    assert_matches_oracle(x, codebook, backend)
    assert nearest_code(x, codebook, backend=backend).distance.dtype == torch.float32


def test_float64_keeps_its_precision() -> None:
    codes = torch.randn(80, 8, dtype=torch.float64)
    codebook = torch.cat([codes + 1e-13 * torch.randn_like(codes), codes])
    found = nearest_code(codes, codebook)
    assert found.index.tolist() == list(range(80, 160))
    assert found.distance.dtype == torch.float64


@pytest.mark.parametrize("backend", BACKENDS)
def test_bias(backend: str, device: torch.device) -> None:
    x, codebook = (tensor.to(device) for tensor in gaussian(50, 100, 8))
    bias = 3.0 * torch.randn(100, device=device)
    assert_matches_oracle(x, codebook, backend, bias)
    plain = nearest_code(x, codebook, backend=backend)
    biased = nearest_code(x, codebook, bias=bias, backend=backend)
    assert (plain.index != biased.index).any()
    assert (biased.distance >= plain.distance * (1 - 1e-6)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_that_are_not_finite(backend: str, device: torch.device) -> None:
    x, codebook = (tensor.to(device) for tensor in gaussian(40, 70, 8))
    x[3, 2], x[5, 1], x[6, 0] = NAN, INF, -INF
    codebook[7, 3], codebook[8, 0], codebook[9, 1] = NAN, INF, -INF
    bias = torch.zeros(70, device=device)
    bias[10], bias[11], bias[12] = NAN, INF, -INF
    assert_matches_oracle(x, codebook, backend, bias)
    found = nearest_code(x, codebook, bias=bias, backend=backend)
    assert found.index[[3, 5, 6]].tolist() == [0, 0, 0]
    assert found.distance[[3, 5, 6]].isnan().all()
    assert found.distance.isnan().sum() == 3
    assert not set(range(7, 13)) & set(found.index.tolist())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("num_codes", [2, 64])
def test_infinite_rows(num_codes: int, precision: str, backend: str, device: torch.device) -> None:
    """All codes but one lie on one side, so that an infinite row has a single best score."""
    x = torch.tensor([[INF, 0.0], [-INF, 1.0], [NAN, 1.0], [0.9, 0.1]], device=device)
    codebook = torch.tensor([-1.0, 0.0], device=device).repeat(num_codes, 1)
    codebook[1, 0] = 1.0
    found = nearest_code(x, codebook, precision=precision, backend=backend)
    assert found.index.tolist() == [0, 0, 0, 1]
    assert found.distance.isnan().tolist() == [True, True, True, False]


@pytest.mark.parametrize("backend", BACKENDS)
def test_unusable_codes_beside_rows_whose_bound_overflows(backend: str, device: torch.device) -> None:
    """For such rows every usable code is compared, and no other one."""
    x, codebook = (tensor.to(device) for tensor in gaussian(20, 70, 8))
    x *= 1e25
    codebook[7, 3], codebook[8, 0] = NAN, INF
    bias = torch.zeros(70, device=device)
    bias[10], bias[11] = NAN, -INF
    assert_matches_oracle(x, codebook, backend, bias)
    assert_matches_oracle(x, codebook, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_usable_code(backend: str, device: torch.device) -> None:
    found = nearest_code(torch.randn(5, 4, device=device), torch.full((9, 4), NAN, device=device), backend=backend)
    assert found.index.tolist() == [0] * 5
    assert found.distance.isnan().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_strides(backend: str, device: torch.device) -> None:
    codebook = torch.randn(90, 32, device=device)
    base = torch.randn(80, 64, device=device)
    layouts = {
        "transposed": torch.randn(32, 40, device=device).t(),
        "sliced": base[::2, ::2],
        "expanded": torch.randn(32, device=device).expand(10, 32),
        "offset": torch.randn(32 * 20 + 1, device=device)[1:].view(20, 32),
    }
    for x in layouts.values():
        assert_matches_oracle(x, codebook, backend)
    assert_matches_oracle(base[:, ::2], torch.randn(32, 90, device=device).t(), backend)
    assert_matches_oracle(base[:, ::2], codebook[:1].expand(20, 32), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_heads(backend: str, device: torch.device) -> None:
    x, codebook = torch.randn(3, 40, 8, device=device), torch.randn(3, 70, 8, device=device)
    bias = torch.randn(3, 70, device=device)
    together = nearest_code(x, codebook, bias=bias, returns=("distance", "code", "counts", "sums"), backend=backend)
    for head in range(3):
        alone = nearest_code(
            x[head], codebook[head], bias=bias[head], returns=("distance", "code", "counts", "sums"), backend=backend
        )
        for one, of_many in zip(alone, together, strict=True):
            torch.testing.assert_close(of_many[head], one)


@pytest.mark.parametrize("backend", BACKENDS)
def test_same_bits_twice_and_in_another_order(backend: str, device: torch.device) -> None:
    x, codebook = (tensor.to(device) for tensor in gaussian(70, 100, 16))
    first, second = (nearest_code(x, codebook, backend=backend) for _ in range(2))
    order = torch.randperm(70, device=device)
    shuffled = nearest_code(x[order], codebook, backend=backend)
    assert torch.equal(first.index, second.index)
    assert torch.equal(first.distance, second.distance)
    assert torch.equal(first.index[order], shuffled.index)
    torch.testing.assert_close(first.distance[order], shuffled.distance, rtol=20 * 2.0**-24, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_fast_is_near_and_defined(backend: str, device: torch.device) -> None:
    x, codebook = (tensor.to(device) for tensor in gaussian(100, 300, 32))
    x[3, 2], codebook[7, 3] = NAN, INF
    fast = nearest_code(x, codebook, precision="fast", backend=backend)
    exact = nearest_code(x, codebook, backend="reference")
    assert fast.distance.isnan().nonzero().tolist() == [[3]]
    assert fast.index[3] == 0
    assert 7 not in fast.index.tolist()
    rest = torch.arange(100, device=device) != 3
    assert (fast.distance[rest] <= exact.distance[rest] * (1 + 1e-2)).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    dim=st.integers(1, 70),
    num_codes=st.integers(1, 400),
    exponent=st.integers(-25, 15),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
    spread=st.sampled_from([1e-6, 1e-3, 1.0]),
)
def test_random_mixtures(seed: int, dim: int, num_codes: int, exponent: int, offset: float, spread: float) -> None:
    """Codes scattered around the data at any distance, scale and offset."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(50, dim, generator=generator)
    chosen = torch.randint(0, 50, (num_codes,), generator=generator)
    codebook = x[chosen] + spread * torch.randn(num_codes, dim, generator=generator)
    assert_matches_oracle((x + offset) * 10.0**exponent, (codebook + offset) * 10.0**exponent, "torch")
