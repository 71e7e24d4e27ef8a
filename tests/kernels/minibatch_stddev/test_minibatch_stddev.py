"""minibatch_stddev against its formula in float64: values, two derivatives, bad values, strides, dtypes."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from gencore_kernels.dispatch import BackendUnavailableError
from gencore_kernels.minibatch_stddev import compiled_path, minibatch_stddev, reference

triton = pytest.param(
    "triton", marks=pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
)
FUSED = pytest.mark.parametrize("backend", ["torch", triton, "compiled"])
CASES = [  # shape, group_size, num_features
    ((8, 6, 4, 4), 4, 1),
    ((12, 8, 3, 5), 4, 2),
    ((4, 5, 1, 1), 2, 1),
    ((8, 40, 4, 4), 8, 4),
    ((3, 4), 1, 2),
    ((32, 2, 2, 3), 32, 1),
    ((6, 3, 7), 64, 3),
    ((4, 2, 7, 7), 4, 1),
]


def test_reference_is_the_papers_definition() -> None:
    """Sample n is member n // M of group n % M; the statistic is the group's deviation, averaged over the feature."""
    x = torch.randn(6, 4, 2, 2, dtype=torch.float64)
    result = reference.minibatch_stddev(x, 3, 2, 1e-8, True)
    for m in range(2):
        members = x[m::2]
        for f in range(2):
            deviation = (members[:, 2 * f : 2 * f + 2].var(dim=0, correction=0) + 1e-8).sqrt().mean()
            assert torch.allclose(result[m::2, 4 + f], deviation.expand(3, 2, 2))
    assert torch.equal(result[:, :4], x)


@FUSED
@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_both_derivatives_match_the_oracle(case, concat, backend, device) -> None:
    shape, group, features = case
    x = torch.randn(shape)
    g = torch.randn_like(reference.minibatch_stddev(x, min(group, shape[0]), features, 1e-2, concat))
    v = torch.randn(shape)
    results = []
    for dtype, chosen in ((torch.float64, "reference"), (torch.float32, backend)):
        leaf, cotangent = (t.to(device, dtype).requires_grad_() for t in (x, g))
        value = minibatch_stddev(leaf, group, features, 1e-2, concat=concat, backend=chosen)
        (first,) = torch.autograd.grad(value, leaf, cotangent, create_graph=True)
        second = torch.autograd.grad((first * v.to(device, dtype)).sum(), (leaf, cotangent))
        results.append((value, first, *second))
    for expected, actual in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=3e-6 * max(scale, 1e-3))


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("concat", [True, False])
def test_gradcheck_and_gradgradcheck(backend, concat) -> None:
    x = torch.randn(6, 4, 2, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor) -> Tensor:
        return minibatch_stddev(x, 3, 2, 1e-2, concat=concat, backend=backend)

    assert torch.autograd.gradcheck(run, (x,))
    assert torch.autograd.gradgradcheck(run, (x,))


@FUSED
def test_large_samples_are_split_and_added_up(backend, device) -> None:
    """More than 65,536 numbers a sample: parts and a second kernel."""
    x = torch.randn(4, 2, 210, 160, device=device)
    expected = reference.minibatch_stddev(x.double(), 2, 1, 1e-8, True)
    torch.testing.assert_close(minibatch_stddev(x, 2, backend=backend).double(), expected, rtol=0, atol=1e-6)


@FUSED
def test_equal_samples_have_finite_gradient(backend, device) -> None:
    x = torch.ones(4, 3, 2, 2, device=device, requires_grad=True)
    value = minibatch_stddev(x, 4, backend=backend)
    value[:, 3:].sum().backward()
    torch.testing.assert_close(value[:, 3:], torch.full_like(value[:, 3:], 1e-4))
    assert not x.grad.any()


@FUSED
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_bad_value_spoils_its_group_and_feature_only(bad, backend, device) -> None:
    x = torch.randn(4, 4, 2, 2, device=device)
    x[1, 0, 0, 0] = bad
    planes = minibatch_stddev(x, 2, 2, concat=False, backend=backend)
    assert planes[1::2, 0].isnan().all()
    assert planes[1::2, 1].isfinite().all()
    assert planes[0::2].isfinite().all()
    expected = minibatch_stddev(x, 2, 2, concat=False, backend="reference")
    torch.testing.assert_close(planes, expected, equal_nan=True)


@FUSED
def test_any_strides(backend, device) -> None:
    base = torch.randn(8, 6, 10, 10, device=device)
    views = {
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(0, 2)[:8],
        "sliced": base[::2, ::2, 1::3],
        "expanded": base[:, :1].expand(8, 6, 10, 10),
        "offset": base.flatten()[5 : 5 + 96].reshape(4, 6, 2, 2),
    }
    for name, view in views.items():
        leaf = view.detach().requires_grad_()
        value = minibatch_stddev(leaf, 4, backend=backend)
        assert value.is_contiguous(), name
        (grad,) = torch.autograd.grad(value.square().sum(), leaf)
        copy = view.clone(memory_format=torch.contiguous_format).requires_grad_()
        expected = minibatch_stddev(copy, 4, backend=backend)
        assert torch.equal(value, expected), name
        assert torch.equal(grad, torch.autograd.grad(expected.square().sum(), copy)[0]), name


@FUSED
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_error_is_that_of_rounding_the_result(dtype, backend, device) -> None:
    x = torch.randn(8, 4, 3, 3, device=device).to(dtype)
    value = minibatch_stddev(x, 4, backend=backend)
    assert value.dtype == dtype
    assert torch.equal(value[:, :4], x)
    exact = reference.minibatch_stddev(x.double(), 4, 1, 1e-8, False)
    assert ((value[:, 4:].double() - exact).abs() <= exact * torch.finfo(dtype).eps).all()


@FUSED
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (4, 3, 0, 2)], ids=str)
def test_empty(shape, backend, device) -> None:
    x = torch.empty(shape, device=device, requires_grad=True)
    value = minibatch_stddev(x, backend=backend)
    value.sum().backward()
    assert value.shape == (shape[0], 4, *shape[2:])
    assert x.grad.shape == shape


@pytest.mark.parametrize("backend", ["auto", "reference", "torch", "triton", "compiled"])
@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((6, 4, 2, 2), {"group_size": 4}, "does not divide the batch of 6"),
        ((4, 4, 2, 2), {"num_features": 3}, "does not divide the 4 channels"),
        ((4, 4), {"group_size": 0}, "at least 1"),
        ((4, 4), {"num_features": 0}, "at least 1"),
        ((4, 4), {"eps": 0.0}, "eps positive"),
        ((4,), {}, "x must be a floating tensor"),
    ],
)
def test_bad_input_raises_the_same_everywhere(shape, arguments, message, backend) -> None:
    with pytest.raises(ValueError, match=message):
        minibatch_stddev(torch.zeros(shape), **arguments, backend=backend)


def test_integers_and_float64_on_triton_are_refused() -> None:
    with pytest.raises(ValueError, match="floating"):
        minibatch_stddev(torch.zeros(4, 4, dtype=torch.int32))
    with pytest.raises(BackendUnavailableError, match="float64"):
        minibatch_stddev(torch.zeros(4, 4, dtype=torch.float64), backend="triton")


@FUSED
def test_same_bits_in_two_runs_and_for_permuted_members(backend, device) -> None:
    """Permuting the groups permutes the result, bit for bit."""
    x = torch.randn(8, 4, 3, 3, device=device)
    value = minibatch_stddev(x, 4, backend=backend)
    assert torch.equal(value, minibatch_stddev(x, 4, backend=backend))
    swapped = torch.arange(8, device=device).reshape(4, 2).flip(1).flatten()  # groups 0 and 1 change places
    assert torch.equal(minibatch_stddev(x[swapped], 4, backend=backend), value[swapped])


def test_compiled_gives_the_same_on_any_number_of_threads() -> None:
    x, g = torch.randn(24, 6, 64, 65), torch.randn(24, 8, 64, 65)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        try:
            results.append((compiled_path.forward(x, 4, 2, 1e-8, True), compiled_path.backward(g, x, 4, 2, 1e-8, True)))
        finally:
            torch.set_num_threads(1)
    for value, grad in results[1:]:
        assert torch.equal(value, results[0][0])
        assert torch.equal(grad, results[0][1])


@FUSED
def test_third_derivative_is_refused(backend, device) -> None:
    x = torch.randn(4, 2, 3, device=device, requires_grad=True)
    (first,) = torch.autograd.grad(minibatch_stddev(x, backend=backend).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="order one and two"):
        second.sum().backward()


@FUSED
def test_opcheck(backend, device) -> None:
    ops = torch.ops.gencore
    x = torch.randn(4, 4, 2, 2, device=device, requires_grad=True)
    g = torch.randn(4, 6, 2, 2, device=device, requires_grad=True)
    torch.library.opcheck(ops.minibatch_stddev.default, (x, 2, 2, 1e-2, True, backend))
    torch.library.opcheck(ops.minibatch_stddev_backward.default, (g, x, 2, 2, 1e-2, True, backend))
    detached = (torch.randn_like(x), g.detach(), x.detach(), 2, 2, 1e-2, True)
    torch.library.opcheck(ops.minibatch_stddev_double_backward.default, detached)


@FUSED
def test_compiles_without_a_graph_break(backend, device) -> None:
    def run(x: Tensor) -> Tensor:
        return minibatch_stddev(x * 2.0, 2, backend=backend).square().sum()

    x = torch.randn(4, 3, 2, 2, device=device, requires_grad=True)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    expected, actual = run(x), compiled(x)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual, x)[0], torch.autograd.grad(expected, x)[0])


@pytest.mark.gpu
def test_gpu_runs_the_stylegan_shape() -> None:
    x = torch.randn(64, 512, 4, 4, device="cuda", requires_grad=True)
    value = minibatch_stddev(x, backend="triton")
    torch.testing.assert_close(
        value.double(), reference.minibatch_stddev(x.double(), 4, 1, 1e-8, True), atol=1e-5, rtol=0
    )
