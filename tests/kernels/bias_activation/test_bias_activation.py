"""bias_activation against its reference in float64: values, two derivatives, bends, bad values, strides, dtypes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gencore_kernels.bias_activation import bias_activation, reference
from gencore_kernels.bias_activation.op import Activation
from gencore_kernels.dispatch import BackendUnavailableError, explain

triton = pytest.param(
    "triton", marks=pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
)
FUSED = pytest.mark.parametrize("backend", ["torch", triton])
ALL = pytest.mark.parametrize("backend", ["reference", "torch", triton])
ACTIVATIONS = get_args(Activation)
CURVED = [name for name in ACTIVATIONS if name not in ("linear", "relu", "leaky_relu")]
LAYOUTS = [((3, 5, 4, 6), 1), ((4, 7), -1), ((3, 5, 4), 0), ((2, 3, 1, 600), 1), ((9,), 0), ((2, 1030), 1)]


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """torch.empty gives NaN, so that a place that was never written shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def value_and_derivatives(tensors: list[Tensor], backend: str, **options: object) -> list[Tensor]:
    """Value; gradients to x and bias; and those of <v, first derivatives> to x, bias and the cotangent."""
    x, bias, cotangent = (t.detach().requires_grad_() for t in tensors[:3])
    with poisoned_memory():
        value = bias_activation(x, bias, backend=backend, **options)
        first = torch.autograd.grad(value, (x, bias), cotangent, create_graph=True)
        product = sum((v * g).sum() for v, g in zip(tensors[3:], first, strict=True))
        second = torch.autograd.grad(product, (x, bias, cotangent), allow_unused=True, materialize_grads=True)
    return [value, *first, *second]


def test_reference_is_the_definition() -> None:
    x, bias = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    u = x + bias[None, :, None]
    expected = {
        "linear": u,
        "relu": u * (u > 0),
        "leaky_relu": torch.where(u > 0, u, 0.1 * u),
        "tanh": (u.exp() - (-u).exp()) / (u.exp() + (-u).exp()),
        "sigmoid": 1 / (1 + (-u).exp()),
        "elu": torch.where(u > 0, u, u.exp() - 1),
        "selu": 1.0507009873554805 * torch.where(u > 0, u, 1.6732632423543772 * (u.exp() - 1)),
        "softplus": (1 + u.exp()).log(),
        "silu": u / (1 + (-u).exp()),
    }
    assert set(expected) == set(ACTIVATIONS)
    for name, value in expected.items():
        actual = reference.bias_activation(x, bias, 1, name, 0.1, 1.5, 1.2)
        torch.testing.assert_close(actual, (1.5 * value).clamp(-1.2, 1.2), rtol=0, atol=1e-12)


@FUSED
@pytest.mark.parametrize("clamp", [None, 0.9])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_value_and_both_derivatives_match_the_oracle(activation, clamp, backend, device) -> None:
    for shape, dim in LAYOUTS if activation == "leaky_relu" else LAYOUTS[:2]:
        x, bias = 3 * torch.randn(shape), torch.randn(shape[dim])
        x.view(-1)[:8] = torch.tensor([1e-4, -1e-4, 0.2, -0.2, -20.0, 20.0, 80.0, -80.0])
        tensors = [x, bias, torch.randn(shape), torch.randn(shape), torch.randn(shape[dim])]
        options = {"dim": dim, "activation": activation, "clamp": clamp, "gain": 1.3}
        expected = value_and_derivatives([t.to(device).double() for t in tensors], "reference", **options)
        actual = value_and_derivatives([t.to(device) for t in tensors], backend, **options)
        for one, other in zip(actual, expected, strict=True):
            scale = max(other.abs().max().item(), 1e-3)
            torch.testing.assert_close(one.double(), other, rtol=0, atol=3e-6 * scale)


@FUSED
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_small_and_large_arguments_keep_their_relative_precision(activation, backend, device) -> None:
    x = torch.cat([sign * torch.logspace(-20, 1.9, 60) for sign in (1, -1)]).to(device)
    value = bias_activation(x, activation=activation, gain=1.0, backend=backend).double()
    exact = bias_activation(x.double(), activation=activation, gain=1.0, backend="reference")
    assert ((value - exact).abs() <= 6e-7 * exact.abs() + 1e-37).all()


@FUSED
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_at_the_bends_and_at_the_clamp_it_does_as_torch_does(activation, backend, device) -> None:
    """u = 0, and |gain a(u)| equal to the clamp."""
    x, bias = torch.tensor([[0.0, -0.5], [0.5, 0.25]], device=device), torch.tensor([0.0, 0.5], device=device)
    tensors = [x, bias, *(torch.rand(s, device=device) + 0.5 for s in ((2, 2), (2, 2), (2,)))]
    options = {"activation": activation, "gain": 2.0, "clamp": 1.0}
    expected = value_and_derivatives([t.double() for t in tensors], "reference", **options)
    for one, other in zip(value_and_derivatives(tensors, backend, **options), expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-6)


@ALL
def test_defaults_are_stylegan2s(backend, device) -> None:
    x, bias = torch.randn(2, 3, 4, 4, device=device), torch.randn(3, device=device)
    expected = functional.leaky_relu(x + bias[:, None, None], 0.2) * math.sqrt(2)
    torch.testing.assert_close(bias_activation(x, bias, backend=backend), expected, rtol=1e-6, atol=1e-6)
    for activation in ACTIVATIONS:
        gain = math.sqrt(2) if activation in ("relu", "leaky_relu", "silu") else 1.0
        options = {"activation": activation, "backend": backend}
        given = bias_activation(x, bias, gain=gain, **options)
        assert torch.equal(bias_activation(x, bias, **options), given)


@ALL
def test_without_a_bias(backend, device) -> None:
    for shape in ((3, 5, 7), (2, 1300), (1,)):
        x = torch.randn(shape, device=device, requires_grad=True)
        value = bias_activation(x, activation="silu", gain=1.0, clamp=1.0, backend=backend)
        expected = functional.silu(x).clamp(-1, 1)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
        (grad,) = torch.autograd.grad(value.square().sum(), x)
        torch.testing.assert_close(grad, torch.autograd.grad(expected.square().sum(), x)[0], rtol=1e-5, atol=1e-6)


@FUSED
def test_only_the_bias_is_trained(backend, device) -> None:
    x, bias = torch.randn(2, 3, 4, device=device), torch.randn(3, device=device, requires_grad=True)
    bias_activation(x, bias, gain=1.0, backend=backend).square().sum().backward()
    u = x + bias.detach()[:, None]
    expected = (2 * torch.where(u > 0, u, 0.04 * u)).sum((0, 2))
    torch.testing.assert_close(bias.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck_and_gradgradcheck(activation, backend) -> None:
    x, bias = torch.randn(3, 4, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    inputs = (x.requires_grad_(), bias.requires_grad_())

    def run(x: Tensor, bias: Tensor) -> Tensor:
        return bias_activation(x, bias, activation=activation, clamp=1.1, backend=backend)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@FUSED
def test_any_strides(backend, device) -> None:
    base, bias = torch.randn(6, 6, 6, 6, device=device), torch.randn(12, device=device)[::2]
    views = {
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(0, 3),
        "sliced": base[::2, :, 1::3, :5],
        "expanded": base[:1].expand(6, 6, 6, 6),
        "offset": base.flatten()[5 : 5 + 96].reshape(4, 6, 2, 2),
    }
    for activation in ("linear", "leaky_relu", "tanh"):
        for name, view in views.items():
            results = []
            for x, b in ((view, bias), (view.clone(memory_format=torch.contiguous_format), bias.clone())):
                leaves = x.detach().requires_grad_(), b.detach().requires_grad_()
                value = bias_activation(*leaves, activation=activation, backend=backend)
                assert value.is_contiguous(), name
                weight = (
                    torch.linspace(-1, 1, value.numel(), device=device).reshape(value.shape[::-1]).permute(3, 2, 1, 0)
                )
                results.append((value, *torch.autograd.grad(value, leaves, weight)))
                assert bias_activation(x, activation=activation, backend=backend).is_contiguous(), name
            for one, other in zip(*results, strict=True):
                assert torch.equal(one, other), name


@FUSED
def test_the_input_is_left_alone(backend, device) -> None:
    x = torch.randn(2, 3, 4, device=device)
    kept = x.clone()
    for activation in ACTIVATIONS:
        bias_activation(x, activation=activation, gain=3.0, clamp=0.1, backend=backend)
        bias_activation(x, torch.zeros(3, device=device), activation=activation, clamp=0.1, backend=backend)
        assert torch.equal(x, kept)


@FUSED
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ["leaky_relu", "silu"])
def test_16_bit_error_is_at_most_that_of_plain_torch(activation, dtype, backend, device) -> None:
    """The bias stays in float32, as a trained parameter does."""
    x, bias = torch.randn(4, 8, 6, 6, device=device).to(dtype), torch.randn(8, device=device)
    g = torch.randn_like(x)
    leaf, leaf_bias = x.clone().requires_grad_(), bias.clone().requires_grad_()
    value = bias_activation(leaf, leaf_bias, activation=activation, backend=backend)
    grads = torch.autograd.grad(value, (leaf, leaf_bias), g)
    assert (value.dtype, grads[0].dtype, grads[1].dtype) == (dtype, dtype, torch.float32)
    exact_leaves = x.double().requires_grad_(), bias.double().requires_grad_()
    exact = bias_activation(*exact_leaves, activation=activation, backend="reference")
    exact_grads = torch.autograd.grad(exact, exact_leaves, g.double())
    plain_leaves = x.clone().requires_grad_(), bias.to(dtype).requires_grad_()
    u = plain_leaves[0] + plain_leaves[1][:, None, None]
    plain = (functional.silu(u) if activation == "silu" else functional.leaky_relu(u, 0.2)) * math.sqrt(2)
    plain_grads = torch.autograd.grad(plain, plain_leaves, g)
    cut_off = backend == "triton" and device.type == "cpu"  # the interpreter cuts bfloat16 off where hardware rounds
    for ours, theirs, true in zip((value, *grads), (plain, *plain_grads), (exact, *exact_grads), strict=True):
        error, other = ((t.double() - true).square().mean().sqrt() for t in (ours, theirs))
        assert 0 < error <= (2.0 if cut_off else 1.01) * other


@ALL
def test_bad_values_stay_where_they_are(backend, device) -> None:
    for activation in ACTIVATIONS:
        x = torch.ones(2, 3, 4, device=device)
        x[1, 2, 3] = torch.nan
        value = bias_activation(x, torch.ones(3, device=device), activation=activation, clamp=5.0, backend=backend)
        assert torch.equal(value.isnan(), x.isnan())
        infinite = torch.full((1, 1), -torch.inf, device=device)
        actual = bias_activation(infinite, activation=activation, backend=backend)
        expected = bias_activation(infinite.double(), activation=activation, backend="reference")
        torch.testing.assert_close(actual.double(), expected, equal_nan=True, rtol=1e-6, atol=0)


@ALL
@pytest.mark.parametrize(("shape", "dim"), [((0, 3, 2), 1), ((2, 3, 0), 1), ((2, 0, 4), 1), ((3, 0), 0)], ids=str)
def test_empty(shape, dim, backend, device) -> None:
    for activation in ("leaky_relu", "silu"):
        x = torch.empty(shape, device=device, requires_grad=True)
        bias = torch.zeros(shape[dim], device=device, requires_grad=True)
        value = bias_activation(x, bias, dim=dim, activation=activation, backend=backend)
        value.sum().backward()
        assert value.shape == x.grad.shape == shape
        assert torch.equal(bias.grad, torch.zeros_like(bias))


@ALL
@pytest.mark.parametrize(
    ("x", "bias", "options", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), None, {}, "x must be a floating tensor"),
        (torch.zeros(()), None, {}, "one dimension or more"),
        (torch.zeros(2, 3), torch.zeros(2), {}, r"bias must be a floating tensor \[3\]"),
        (torch.zeros(2, 3), torch.zeros(1, 3), {}, r"got torch.float32 \(1, 3\)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int32), {}, "torch.int32"),
        (torch.zeros(2, 3), torch.zeros(3), {"dim": 2}, "dim 2 is none of x's 2 dimensions: choose one from -2 to 1"),
        (torch.zeros(2, 3), torch.zeros(3, device="meta"), {}, "bias is on meta and x on cpu"),
        (torch.zeros(2, 3), None, {"activation": "lrelu"}, "activation is 'lrelu'; expected one of 'linear', 'relu'"),
        (torch.zeros(2, 3), None, {"activation": "tanh", "negative_slope": 0.2}, "but 'tanh' has none"),
        (torch.zeros(2, 3), None, {"activation": "relu", "negative_slope": 0.0}, "but 'relu' has none"),
        (torch.zeros(2, 3), None, {"negative_slope": math.nan}, "must be finite"),
        (torch.zeros(2, 3), None, {"gain": math.inf}, "must be finite"),
        (torch.zeros(2, 3), None, {"clamp": 0.0}, "clamp must be positive, got 0.0"),
        (torch.zeros(2, 3), None, {"clamp": math.nan}, "clamp must be positive, got nan"),
    ],
)
def test_bad_input_raises_the_same_everywhere(x, bias, options, message, backend) -> None:
    with pytest.raises(ValueError, match=message):
        bias_activation(x, bias, **options, backend=backend)


def test_dispatch_is_honest() -> None:
    x, bias = torch.zeros(2, 3), torch.zeros(3)
    assert explain(bias_activation, x, bias).implementation == "torch"
    assert explain(bias_activation, x, bias, backend="triton").implementation == "triton"
    for tensors in ((x.double(), bias), (x, bias.double())):
        with pytest.raises(BackendUnavailableError, match="float64"):
            bias_activation(*tensors, backend="triton")
    with pytest.raises(BackendUnavailableError, match="no such implementation"):
        bias_activation(x, bias, backend="compiled")


@FUSED
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu"])
def test_piecewise_linear_activations_have_every_derivative(activation, backend, device) -> None:
    x, bias = torch.randn(2, 3, device=device, requires_grad=True), torch.randn(3, device=device)
    leaf = x
    value = bias_activation(leaf, bias, activation=activation, gain=1.0, backend=backend).pow(4).sum()
    exact = reference.bias_activation(leaf, bias, 1, activation, 0.2, 1.0, None).pow(4).sum()
    for _ in range(4):
        (found,) = torch.autograd.grad(value, leaf, create_graph=True)
        (expected,) = torch.autograd.grad(exact, leaf, create_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        value, exact = found.sum(), expected.sum()


@FUSED
@pytest.mark.parametrize("activation", CURVED)
def test_third_derivative_of_a_curve_is_refused(activation, backend, device) -> None:
    x = torch.randn(4, 2, device=device, requires_grad=True)
    value = bias_activation(x, activation=activation, backend=backend).square().sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="order one and two"):
        second.sum().backward()


@FUSED
@pytest.mark.parametrize("activation", ["leaky_relu", "silu"])
def test_opcheck(activation, backend, device) -> None:
    ops = torch.ops.gencore
    x, g = (torch.randn(2, 3, 4, device=device, requires_grad=True) for _ in range(2))
    for bias in (torch.randn(3, device=device, requires_grad=True), None):
        settings = (1, activation, 0.2, 1.5, 0.8, backend)
        torch.library.opcheck(ops.bias_activation.default, (x, bias, *settings))
        torch.library.opcheck(ops.bias_activation_derivative.default, (g, x, bias, *settings))
    detached = (torch.randn_like(x), g.detach(), x.detach(), None, 1, "silu", 1.5, None, backend)
    torch.library.opcheck(ops.bias_activation_curvature.default, detached)


@FUSED
def test_compiles_without_a_graph_break(backend, device) -> None:
    def run(x: Tensor, bias: Tensor) -> Tensor:
        return bias_activation(x * 2.0, bias, clamp=2.0, backend=backend).square().sum()

    inputs = [torch.randn(s, device=device, requires_grad=True) for s in ((4, 3, 2), (3,))]
    expected, actual = run(*inputs), torch.compile(run, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(actual, expected)
    for one, other in zip(torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


@FUSED
def test_autocast_changes_nothing(backend, device) -> None:
    def run() -> tuple[Tensor, ...]:
        leaves = x.clone().requires_grad_(), bias.clone().requires_grad_()
        value = bias_activation(*leaves, activation="silu", backend=backend)
        return value, *torch.autograd.grad(value.square().sum(), leaves)

    x, bias = torch.randn(2, 3, 4, device=device), torch.randn(3, device=device)
    expected = run()
    with torch.autocast(device.type, torch.bfloat16):
        found = run()
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_exports_with_any_batch_size() -> None:
    class Act(torch.nn.Module):
        def forward(self, x: Tensor, bias: Tensor) -> Tensor:
            return bias_activation(x, bias, clamp=256.0)

    inputs = torch.randn(4, 3, 2), torch.randn(3)
    program = torch.export.export(Act(), inputs, dynamic_shapes=({0: torch.export.Dim("n", min=1)}, None))
    x = torch.randn(7, 3, 2)
    torch.testing.assert_close(program.module()(x, inputs[1]), Act()(x, inputs[1]))


@pytest.mark.gpu
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gpu_runs_the_stylegan_shape(activation) -> None:
    x, bias = torch.randn(8, 512, 64, 64, device="cuda"), torch.randn(512, device="cuda")
    expected = bias_activation(x.double(), bias.double(), activation=activation, backend="reference")
    actual = bias_activation(x, bias, activation=activation, backend="triton")
    torch.testing.assert_close(actual.double(), expected, atol=1e-6, rtol=1e-6)
