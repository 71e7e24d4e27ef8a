"""The CPU's two fast paths, "torch" (few passes) and "compiled" (one kernel), against the float64 formula: every branch
of their choice of operations, infinities where a coefficient is 0, strides, rows a sample, gradients, refusals."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gencore_kernels import BackendUnavailableError, bias_activation, cpp, explain, use_backend
from gencore_kernels.diffusion_step import StepRow, diffusion_step, quantile_abs, stack_rows, torch_path

PATHS = pytest.mark.parametrize("backend", ["torch", "compiled"])
INF = math.inf
ROWS = {
    "estimate with a factor 1": StepRow(1.0, -2.5, 0.4, 0.6, 0.0, 0.0),
    "its clamp, mixed": StepRow(1.0, -2.5, 0.7, 0.3, 0.0, 0.5, 0.8, 3.0),
    "x0 itself, mixed": StepRow(0.0, 1.0, 0.7, 0.3, 0.0, 0.0),
    "x0 clamped, mixed": StepRow(0.0, 1.0, 0.7, 0.3, 0.0, 0.2, 0.5, 0.3),
    "two steps": StepRow(0.0, 1.0, 1.1, 0.4, 0.0, -0.5),
    "two steps, small ratio": StepRow(0.0, 1.0, 1.4999, 0.0001, 0.0, -0.5),
    "an estimate that sums to 1": StepRow(0.25, 0.75, 0.4, 0.6, 0.0, 0.0, 0.8),
    "folded clamp": StepRow(1.3, -0.9, -0.7, 0.2, 0.4, 0.5, 0.6, 1.2),
    "no estimate": StepRow(1.0, -1.0, 0.0, 0.9, 0.2, 0.3, 0.5, 5.0),
    "no estimate, no clamp": StepRow(1.0, -1.0, 0.0, 0.9, 0.2, 0.3),
    "only an estimate": StepRow(0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5),
    "only x": StepRow(1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.5),
    "nothing": StepRow(1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
}
NUMBERS = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-2, 2, width=32, allow_subnormal=False))


@st.composite
def rows(draw: st.DrawFn) -> StepRow:
    """Any row; half of them mix x0 and x, as most samplers do."""
    kx, ko, p0, px, po, sigma = (draw(NUMBERS) for _ in range(6))
    if draw(st.booleans()):
        px, po = 1 - p0, 0.0
    radius = draw(st.sampled_from([INF, 0.25, 1.5]))
    return StepRow(kx, ko, p0, px, po, sigma, radius, draw(st.sampled_from([0.0, 0.3, 1.0, 1.2, 7.5, -2.0])))


def tensors(seed: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(4)]


def run(row: list[StepRow], step: Tensor | int, given: list[Tensor], backend: str, **options) -> Tensor:
    x, out, uncond, noise = given
    keep = {"uncond": uncond if options.pop("guided", True) else None, "noise": noise}
    return diffusion_step(x, out, stack_rows(row), step, **keep, **options, backend=backend)


def check_close(actual: Tensor, exact: Tensor, tolerance: float = 2e-6) -> None:
    scale = max(1.0, exact.abs().max().item())
    torch.testing.assert_close(actual.double(), exact, rtol=0, atol=tolerance * scale)


def against_oracle(row: list[StepRow], step: Tensor | int, given: list[Tensor], backend: str, **options) -> None:
    exact = run(row, step, [t.double() for t in given], "reference", **options)
    check_close(run(row, step, given, backend, **options), exact)


@PATHS
@pytest.mark.parametrize("threshold", [None, 0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_every_branch_matches_the_oracle(name, guided, threshold, backend) -> None:
    against_oracle([ROWS[name]], 0, tensors(1, 3, 50), backend, guided=guided, threshold=threshold)


@PATHS
@settings(max_examples=150, deadline=None)
@given(row=rows(), guided=st.booleans(), threshold=st.sampled_from([None, 0.7]), seed=st.integers(0, 99))
def test_any_row_matches_the_oracle(backend, row, guided, threshold, seed) -> None:
    against_oracle([row], 0, tensors(seed, 2, 40), backend, guided=guided, threshold=threshold)


@PATHS
@settings(max_examples=60, deadline=None)
@given(batch=st.lists(rows(), min_size=3, max_size=3), threshold=st.sampled_from([None, 0.7]), seed=st.integers(0, 99))
def test_a_row_for_each_sample_matches_the_oracle(backend, batch, threshold, seed) -> None:
    against_oracle(batch, torch.tensor([2, 0, 1]), tensors(seed, 3, 40), backend, threshold=threshold)


@settings(max_examples=60, deadline=None)
@given(row=rows(), threshold=st.sampled_from([None, 0.7]), dtype=st.sampled_from([torch.float16, torch.bfloat16]))
def test_16_bits_are_worked_in_float32(row, threshold, dtype) -> None:
    halves = [t.to(dtype) for t in tensors(3, 2, 40)]
    exact = run([row], 0, [t.double() for t in halves], "reference", threshold=threshold)
    actual = run([row], 0, halves, "torch", threshold=threshold)
    assert actual.dtype == dtype
    error, scale = (actual.double() - exact).abs(), max(1.0, exact.abs().max().item())
    assert (error <= exact.abs() * torch.finfo(dtype).eps + 1e-5 * scale).all()


@settings(max_examples=60, deadline=None)
@given(row=rows(), threshold=st.sampled_from([None, 0.7]))
def test_float64_is_worked_in_float64(row, threshold) -> None:
    """No coefficient is taken for 1 that only float32 takes for it."""
    doubles = [t.double() for t in tensors(4, 2, 40)]
    results = [run([row], 0, doubles, backend, threshold=threshold) for backend in ("torch", "reference")]
    check_close(*results, tolerance=1e-13)


@PATHS
@pytest.mark.parametrize("bad", [INF, -INF, math.nan])
@pytest.mark.parametrize("where", range(4))
@pytest.mark.parametrize("name", ROWS)
def test_bad_values_spread_as_in_the_formula(name, where, bad, backend) -> None:
    row, values = ROWS[name], tensors(5, 2, 30)
    values[where][0, 3] = bad
    for guided in (False, True):
        expected, actual = (run([row], 0, values, chosen, guided=guided) for chosen in ("reference", backend))
        assert torch.equal(actual.isfinite(), expected.isfinite()), guided
        fine = expected.isfinite()
        torch.testing.assert_close(actual[fine], expected[fine], rtol=1e-5, atol=1e-5)


@PATHS
@pytest.mark.parametrize("guidance", [0.0, 0.5, 0.9, 1.0, 1.5, 5.0, -3.0])
def test_an_infinite_output_is_guided_as_in_the_formula(guidance, backend) -> None:
    """With g >= 0, u + g (c - u) is NaN where u is infinite, which no clamp may hide."""
    row = [StepRow(0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 2.0, guidance)]
    x, out, uncond, noise = tensors(6, 1, 8)
    uncond[0, 0], out[0, 1], uncond[0, 2], out[0, 2] = INF, INF, INF, INF
    expected, actual = (run(row, 0, [x, out, uncond, noise], chosen) for chosen in ("reference", backend))
    assert torch.equal(actual.isnan(), expected.isnan())
    assert actual[0, 0].isnan() == (guidance >= 0)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@PATHS
def test_a_coefficient_of_zero_hides_what_it_would_multiply(backend) -> None:
    x, out, _, _ = tensors(7, 2, 30)
    nowhere = torch.full_like(x, math.nan)
    nowhere[0] = INF
    for threshold in (None, 0.5):
        options = {"threshold": threshold, "backend": backend}
        only_out = stack_rows([StepRow(0, 1, 0.5, 0, 0.25, 0, 9.0)])
        expected = diffusion_step(x.double(), out.double(), only_out, 0, threshold=threshold, backend="reference")
        check_close(diffusion_step(nowhere, out, only_out, 0, noise=nowhere, **options), expected)
        only_x = stack_rows([StepRow(1, 0, 0.5, 0.25, 0, 0, 9.0)])
        expected = diffusion_step(x.double(), out.double(), only_x, 0, threshold=threshold, backend="reference")
        check_close(diffusion_step(x, nowhere, only_x, 0, **options), expected)


@PATHS
def test_missing_noise_and_steps_outside_the_table_give_nan(backend) -> None:
    values, table = tensors(14, 4, 20)[:2], stack_rows([ROWS["two steps"], ROWS["only x"]])
    result = diffusion_step(*values, table, torch.tensor([0, 1, 2, -1]), backend=backend)
    assert result.isnan().all(dim=1).tolist() == [True, False, True, True]
    assert result[1].isfinite().all()
    assert diffusion_step(*values, table, 0, backend=backend).isnan().all()


@PATHS
def test_an_infinite_scale_is_the_formulas(backend) -> None:
    """Half of a sample infinite and no largest scale: clamp(x0, +-inf) / inf is 0, and NaN where x0 is infinite."""
    values = tensors(8, 2, 10)
    values[1][0, :6] = INF
    row = [StepRow(0.0, 1.0, 0.5, 0.5, 0.0, 0.0)]
    expected, actual = (run(row, 0, values, b, guided=False, threshold=0.8) for b in ("reference", backend))
    torch.testing.assert_close(actual, expected, equal_nan=True)
    assert actual[0].isnan().tolist() == [True] * 6 + [False] * 4


def test_pieces_of_any_size_give_the_same(monkeypatch) -> None:
    values, steps = tensors(9, 5, 60), torch.tensor([0, 1, 2, 1, 0])
    batch = [ROWS["its clamp, mixed"], ROWS["two steps"], ROWS["folded clamp"]]
    for step in (0, 1, 2, steps):
        for threshold in (None, 0.9):
            monkeypatch.setattr(torch_path, "CHUNK", 1 << 17)
            whole = run(batch, step, values, "torch", threshold=threshold)
            for size in (7, 100, 130):
                monkeypatch.setattr(torch_path, "CHUNK", size)
                assert torch.equal(run(batch, step, values, "torch", threshold=threshold), whole)


@PATHS
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.995, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 16, 100, 5000, 70001])
def test_the_quantile_is_the_sorted_one_bit_for_bit(n, p, backend) -> None:
    x = tensors(10, 8, n)[0]
    x[1] = x[1].round()
    x[2], x[3] = x[2] * 1e-42, x[3].clamp(-0.5, 0.5)
    x[4, ::2], x[5] = INF, 0.0
    x[7] = (torch.arange(n, dtype=torch.int32) + 0x3F800000).view(torch.float32)  # neighbours
    expected = quantile_abs(x, p, backend="reference")
    for view in (x, x.t().contiguous().t()):
        torch.testing.assert_close(quantile_abs(view, p, backend=backend), expected, rtol=0, atol=0, equal_nan=True)
    x[6, n // 2] = math.nan
    assert quantile_abs(x, p, backend=backend)[6].isnan()


def test_selection_on_other_devices_is_that_of_the_cpu() -> None:
    x = tensors(11, 4, 90)[0]
    x[1, 5], x[2, 7], x[3] = math.nan, INF, 0.5
    for below in (0, 20, 44, 45, 46, 88):
        for expected, actual in zip(torch_path._select_on_cpu(x, below), torch_path._select(x, below), strict=True):
            fine = ~expected.isnan()
            assert torch.equal(actual[fine], expected[fine])
        assert torch_path._select(x, below)[1].isnan().tolist() == [False, True, False, False]


def test_compiled_takes_views_seeds_and_empty_batches() -> None:
    base = torch.randn(4, 6, 8, 10, generator=torch.Generator().manual_seed(0))
    table = stack_rows([ROWS["folded clamp"]])
    for view in (
        base.transpose(1, 3),
        base[::2, 1:, ::3],
        base[:, :1].expand(4, 6, 8, 10),
        base[:0],
        base[:1, :1, 0, :1],
    ):
        seeds = torch.arange(len(view))
        results = [diffusion_step(view, view, table, 0, seeds=seeds, backend=b) for b in ("compiled", "torch")]
        torch.testing.assert_close(*results, rtol=0, atol=2e-6)
        assert results[0].is_contiguous()


@pytest.mark.parametrize("threshold", [None, 0.9])
@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_where_nothing_is_recorded_the_bits_are_the_same(backend: str, threshold: float | None) -> None:
    """Without gradients the implementation is called without torch's dispatcher; under autocast, too."""
    x, out, noise = tensors(0, 3, 5, 7)[:3]
    table = stack_rows([ROWS["folded clamp"]])
    options = {"noise": noise, "threshold": threshold, "backend": backend}
    expected = diffusion_step(x, out, table, 0, **options)
    with torch.no_grad():
        assert torch.equal(diffusion_step(x, out, table, 0, **options), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(diffusion_step(x, out, table, 0, **options), expected)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 2, 4, 4), (5, 40), (256, 3, 4, 4), (4, 3, 64, 64), (2, 99, 999)])
def test_compiled_serves_every_size_on_any_number_of_threads(shape: tuple[int, ...], threads: int) -> None:
    """Sizes between and beyond those of a vector register and of a thread's share."""
    batch = [ROWS["its clamp, mixed"], ROWS["two steps"], ROWS["folded clamp"]]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for step in (0, torch.arange(shape[0]) % 3):
            for threshold, guided in itertools.product((None, 0.9), (False, True)):
                against_oracle(batch, step, tensors(0, *shape), "compiled", threshold=threshold, guided=guided)
    finally:
        torch.set_num_threads(before)


def test_compiled_serves_inference_tensors() -> None:
    with torch.inference_mode():
        against_oracle([ROWS["folded clamp"]], 0, tensors(0, 3, 5, 7), "compiled")


def test_compiled_has_the_formulas_gradient_and_refuses_a_second() -> None:
    values, row = tensors(12, 2, 20), [ROWS["folded clamp"]]
    grads = []
    for dtype, backend in ((torch.float64, "reference"), (torch.float32, "compiled")):
        leaves = [t.to(dtype).requires_grad_() for t in values]
        grads.append(torch.autograd.grad(run(row, 0, leaves, backend).square().sum(), leaves))
    for exact, actual in zip(*grads, strict=True):
        check_close(actual, exact, tolerance=1e-5)
    x = values[0].requires_grad_()
    (first,) = torch.autograd.grad(run(row, 0, [x, *values[1:]], "compiled").square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="order one"):
        first.sum().backward()


def test_compiled_inside_torch_compile_is_one_graph() -> None:
    values, table = tensors(13, 2, 20), stack_rows([ROWS["folded clamp"]])
    step = torch.zeros((), dtype=torch.int64)

    def function(x: Tensor, out: Tensor, uncond: Tensor, noise: Tensor) -> Tensor:
        return diffusion_step(x, out, table, step, uncond=uncond, noise=noise, backend="compiled") * 2.0

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*values), function(*values), rtol=1e-5, atol=1e-5)


def test_compiled_by_name_is_never_silently_replaced(monkeypatch) -> None:
    x = torch.zeros(2, 3)
    table = stack_rows([ROWS["only x"]])
    assert explain(diffusion_step, x, x, table, 0).implementation == "compiled"
    assert explain(diffusion_step, x, x, table, 0, backend="compiled").implementation == "compiled"
    with use_backend("compiled"):
        assert explain(diffusion_step, x, x, table, 0).implementation == "compiled"
        assert explain(bias_activation, x).implementation == "torch"
    with pytest.raises(BackendUnavailableError, match="'compiled' .*cannot run: this operation has no such"):
        bias_activation(x, backend="compiled")
    monkeypatch.setenv("GENCORE_KERNELS", "compiled")
    assert explain(diffusion_step, x, x, table, 0).implementation == "compiled"
    monkeypatch.delenv("GENCORE_KERNELS")
    for other in (x.double(), x.bfloat16(), x.to("meta")):
        with pytest.raises(BackendUnavailableError, match="takes float32 on the CPU, not"):
            explain(diffusion_step, other, other, table, 0, backend="compiled")
        assert explain(diffusion_step, other, other, table, 0).implementation == "torch"
    missing = cpp.Libraries(built=(), used=None, obstacle="the C++ kernels were not built")
    monkeypatch.setattr(cpp, "found", lambda: missing)
    with pytest.raises(BackendUnavailableError, match="C\\+\\+ kernels were not built"):
        diffusion_step(x, x, table, 0, backend="compiled")
    served = explain(diffusion_step, x, x, table, 0)
    assert served.implementation == "torch"
    assert "C++ kernels were not built" in served.reason
