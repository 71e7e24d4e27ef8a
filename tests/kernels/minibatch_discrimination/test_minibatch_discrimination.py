"""minibatch_discrimination against its formula in float64: values, two derivatives, bad values, strides, dtypes."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from gencore_kernels import explain
from gencore_kernels.dispatch import BackendUnavailableError
from gencore_kernels.minibatch_discrimination import compiled_path, minibatch_discrimination, reference, torch_path

triton = pytest.param(
    "triton", marks=pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
)
FUSED = pytest.mark.parametrize("backend", ["torch", triton, "compiled"])
SHAPES = [(1, 2, 5), (2, 1, 1), (15, 3, 5), (16, 2, 16), (17, 3, 1), (33, 2, 3), (40, 1, 32)]


def oracle(m: Tensor, include_self: bool = True) -> Tensor:
    return reference.minibatch_discrimination(m.double(), include_self)


def close(actual: Tensor, expected: Tensor, tolerance: float = 2e-6) -> None:
    """Relative to the largest entry: the sums are of numbers of one scale."""
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance * max(scale, 1e-30))


def with_ties(n: int, b: int, c: int) -> Tensor:
    m = torch.randn(n, b, c) * 0.5
    m[n // 2] = m[0]
    m[:, :, 0] = (m[:, :, 0] * 4).round() / 4
    return m


def test_reference_is_the_papers_sum() -> None:
    m = torch.randn(4, 3, 2, dtype=torch.float64)
    for i in range(4):
        for b in range(3):
            expected = sum(torch.exp(-(m[i, b] - m[j, b]).abs().sum()) for j in range(4))
            assert torch.isclose(reference.minibatch_discrimination(m)[i, b], expected)


@FUSED
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_both_derivatives_match_the_oracle(shape, include_self, backend, device) -> None:
    m = with_ties(*shape)
    g, v = torch.randn(shape[:2]), torch.randn(shape)
    results = []
    for dtype, chosen in ((torch.float64, "reference"), (torch.float32, backend)):
        leaf, cotangent = (t.to(device, dtype).requires_grad_() for t in (m, g))
        value = minibatch_discrimination(leaf, include_self=include_self, backend=chosen)
        (first,) = torch.autograd.grad(value, leaf, cotangent, create_graph=True)
        second = torch.autograd.grad((first * v.to(device, dtype)).sum(), (leaf, cotangent))
        results.append((value, first, *second))
    for expected, actual in zip(*results, strict=True):
        close(actual, expected)


@FUSED
@pytest.mark.parametrize("include_self", [True, False])
def test_large_batch_crosses_every_block_border(backend, include_self, device) -> None:
    m = (torch.randn(300, 2, 5) * 0.3).to(device)
    g = torch.randn(300, 2, device=device)
    leaf64, leaf = m.double().requires_grad_(), m.clone().requires_grad_()
    value64 = oracle(leaf64, include_self)
    value = minibatch_discrimination(leaf, include_self=include_self, backend=backend)
    close(value, value64)
    close(torch.autograd.grad(value, leaf, g)[0], torch.autograd.grad(value64, leaf64, g.double())[0])


def test_compiled_gives_the_same_on_any_number_of_threads() -> None:
    m, g = torch.randn(300, 3, 5), torch.randn(300, 3)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        try:
            results.append((compiled_path.forward(m, False), compiled_path.backward(g, m)))
        finally:
            torch.set_num_threads(1)
    for value, grad in results[1:]:
        assert torch.equal(value, results[0][0])
        assert torch.equal(grad, results[0][1])


def test_several_features_a_block_and_one_feature_a_block_agree(monkeypatch) -> None:
    m, g, v = torch.randn(20, 7, 3), torch.randn(20, 7), torch.randn(20, 7, 3)
    results = []
    for block_bytes in (1, 3 * 20 * 20 * 4, 1 << 20):
        monkeypatch.setattr(torch_path, "BLOCK_BYTES", block_bytes)
        results.append((torch_path.forward(m, True), torch_path.backward(g, m), *torch_path.double_backward(v, g, m)))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("include_self", [True, False])
def test_gradcheck_and_gradgradcheck(backend, include_self) -> None:
    m = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(m: Tensor) -> Tensor:
        return minibatch_discrimination(m, include_self=include_self, backend=backend)

    assert torch.autograd.gradcheck(run, (m,))
    assert torch.autograd.gradgradcheck(run, (m,))


@FUSED
def test_gradients_of_a_batch_add_up_to_zero(backend, device) -> None:
    m = with_ties(64, 3, 5).to(device).requires_grad_()
    minibatch_discrimination(m, backend=backend).mul(torch.randn(64, 3, device=device)).sum().backward()
    assert m.grad.abs().max() > 0.1
    assert m.grad.sum(dim=0).abs().max() < 2e-5


@FUSED
def test_ties_have_gradient_zero(backend, device) -> None:
    m = torch.ones(6, 2, 3, device=device, requires_grad=True)
    value = minibatch_discrimination(m, backend=backend)
    value.sum().backward()
    assert torch.equal(value, torch.full_like(value, 6.0))
    assert not m.grad.any()


@FUSED
def test_without_self_small_terms_survive(backend, device) -> None:
    """Subtracting 1 from 1 + 1e-9 in float32 would leave 0."""
    m = torch.tensor([0.0, 20.0], device=device).reshape(2, 1, 1)
    value = minibatch_discrimination(m, include_self=False, backend=backend)
    torch.testing.assert_close(value.double(), oracle(m, False), rtol=1e-5, atol=0.0)


@FUSED
@pytest.mark.parametrize("include_self", [True, False])
def test_bad_values_do_the_same_everywhere(backend, include_self, device) -> None:
    m = torch.randn(6, 3, 2, device=device)
    m[1, 0, 0], m[2, 0, 0], m[4, 0, 1], m[3, 1, 1] = torch.inf, torch.inf, -torch.inf, torch.nan
    results = []
    for chosen in ("reference", backend):
        leaf = m.clone().requires_grad_()
        value = minibatch_discrimination(leaf, include_self=include_self, backend=chosen)
        value.sum().backward()
        results.append((value, leaf.grad))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, equal_nan=True)
    value = results[1][0]
    assert value[:, 1].isnan().all()
    assert value[:, 2].isfinite().all()
    assert value[[0, 3, 5], 0].isfinite().all()


@FUSED
def test_any_strides(backend, device) -> None:
    base = torch.randn(12, 8, 10, device=device)
    views = {
        "transposed": base.permute(2, 1, 0),
        "sliced": base[::2, 1::2, ::3],
        "expanded": base[:, :1, :3].expand(12, 4, 3),
        "offset": base.flatten()[3 : 3 + 60].reshape(5, 4, 3),
    }
    for name, view in views.items():
        leaf = view.detach().requires_grad_()
        value = minibatch_discrimination(leaf, backend=backend)
        (grad,) = torch.autograd.grad(value.sum(), leaf)
        copy = view.clone(memory_format=torch.contiguous_format).requires_grad_()
        expected = minibatch_discrimination(copy, backend=backend)
        assert torch.equal(value, expected), name
        assert torch.equal(grad, torch.autograd.grad(expected.sum(), copy)[0]), name


@FUSED
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_error_is_that_of_rounding_the_result(dtype, backend, device) -> None:
    m = (torch.randn(20, 2, 5, device=device) * 0.3).to(dtype)
    value = minibatch_discrimination(m, backend=backend)
    assert value.dtype == dtype
    exact = oracle(m)
    assert ((value.double() - exact).abs() <= exact * torch.finfo(dtype).eps).all()


@FUSED
@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 0, 2), (0, 0, 1)], ids=str)
def test_empty(shape, backend, device) -> None:
    m = torch.empty(shape, device=device, requires_grad=True)
    value = minibatch_discrimination(m, backend=backend)
    value.sum().backward()
    assert value.shape == shape[:2]
    assert m.grad.shape == shape


@pytest.mark.parametrize("backend", ["auto", "reference", "torch", "triton", "compiled"])
@pytest.mark.parametrize("m", [torch.zeros(3, 4), torch.zeros(2, 3, 0), torch.zeros(2, 3, 4, dtype=torch.int64)])
def test_bad_input_raises_the_same_everywhere(m, backend) -> None:
    with pytest.raises(ValueError, match=r"m must be a floating tensor \[N, B, C\]"):
        minibatch_discrimination(m, backend=backend)


def test_triton_states_its_limits() -> None:
    for m in (torch.zeros(2, 3, 33), torch.zeros(2, 3, 4, dtype=torch.float64)):
        with pytest.raises(BackendUnavailableError, match=r"stop at 32|float64"):
            minibatch_discrimination(m, backend="triton")
        assert minibatch_discrimination(m).shape == (2, 3)
    assert explain(minibatch_discrimination, torch.zeros(2, 3, 4)).implementation == "compiled"


@FUSED
def test_same_bits_in_two_runs(backend, device) -> None:
    m = torch.randn(50, 3, 5, device=device)
    g = torch.randn(50, 3, device=device)
    runs = []
    for _ in range(2):
        leaf = m.clone().requires_grad_()
        value = minibatch_discrimination(leaf, backend=backend)
        runs.append((value, torch.autograd.grad(value, leaf, g)[0]))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


def test_block_sizes_do_not_change_the_result(device) -> None:
    pytest.importorskip("triton")
    from gencore_kernels.minibatch_discrimination import triton_kernels as kernels

    m, g = torch.randn(40, 2, 3, device=device), torch.randn(40, 2, device=device)
    rows = [{"BLOCK_I": i, "BLOCK_J": 8} for i in (16, 64)]
    assert torch.equal(*(kernels.forward(m, True, row) for row in rows))
    assert torch.equal(*(kernels.backward(g, m, row) for row in rows))
    columns = [{"BLOCK_I": 32, "BLOCK_J": j} for j in (4, 16)]
    torch.testing.assert_close(*(kernels.forward(m, True, column) for column in columns), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*(kernels.backward(g, m, column) for column in columns), rtol=1e-5, atol=1e-6)


@FUSED
def test_third_derivative_is_refused(backend, device) -> None:
    m = torch.randn(4, 2, 3, device=device, requires_grad=True)
    (first,) = torch.autograd.grad(minibatch_discrimination(m, backend=backend).sum(), m, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), m, create_graph=True)
    with pytest.raises(RuntimeError, match="order one and two"):
        second.sum().backward()


def test_gradient_penalty_through_a_critic_matches_the_reference() -> None:
    """WGAN-GP's penalty: the norm of the critic's gradient to its input, differentiated to the weights."""
    x, weight = torch.randn(9, 6, dtype=torch.float64), torch.randn(6, 12, dtype=torch.float64)
    penalties = []
    for backend in ("reference", "torch"):
        x_leaf, w_leaf = x.clone().requires_grad_(), weight.clone().requires_grad_()
        score = minibatch_discrimination((x_leaf @ w_leaf).reshape(9, 4, 3), backend=backend).sum()
        (slope,) = torch.autograd.grad(score, x_leaf, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        penalties.append(torch.autograd.grad(penalty, w_leaf)[0])
    torch.testing.assert_close(*penalties, rtol=1e-9, atol=1e-9)


@FUSED
def test_opcheck(backend, device) -> None:
    ops = torch.ops.gencore
    m = torch.randn(6, 2, 3, device=device, requires_grad=True)
    g = torch.randn(6, 2, device=device, requires_grad=True)
    torch.library.opcheck(ops.minibatch_discrimination.default, (m, True, backend))
    torch.library.opcheck(ops.minibatch_discrimination_backward.default, (g, m, backend))
    detached = (torch.randn(6, 2, 3, device=device), g.detach(), m.detach())
    torch.library.opcheck(ops.minibatch_discrimination_double_backward.default, detached)


@FUSED
def test_compiles_without_a_graph_break(backend, device) -> None:
    def run(m: Tensor) -> Tensor:
        return minibatch_discrimination(m * 2.0, backend=backend).square().sum()

    m = torch.randn(8, 2, 3, device=device, requires_grad=True)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    expected, actual = run(m), compiled(m)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual, m)[0], torch.autograd.grad(expected, m)[0])


def test_cpu_memory_is_a_hundredth_of_the_formulas() -> None:
    """Peaks from the profiler, forward and backward: 2.7 MB where the formula by autograd holds some N * N * B * C. The
    compiled one has no buffers but those of its threads."""

    def peak(m: Tensor, backend: str) -> int:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            leaf = m.detach().requires_grad_()
            minibatch_discrimination(leaf, backend=backend).sum().backward()
        current = highest = 0
        for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
            if event.name() == "[memory]":
                current += event.nbytes()
                highest = max(highest, current)
        return highest

    m = torch.randn(256, 100, 5)
    ours = peak(m, "torch")
    assert 2**20 <= ours <= 4 * 2**20
    assert 100 * ours <= peak(m, "reference")
    assert 2**19 <= peak(m, "compiled") <= 2 * 2**20


@pytest.mark.gpu
def test_gpu_memory_is_inputs_and_outputs() -> None:
    m = torch.randn(1024, 100, 5, device="cuda", requires_grad=True)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    minibatch_discrimination(m, backend="triton").sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 6 * m.numel() * 4
