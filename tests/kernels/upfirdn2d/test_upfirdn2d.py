"""upfirdn2d against its formula, against scipy and against its reference in float64: values and all derivatives."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from scipy import signal
from torch import Tensor
from torch.nn import functional

from gencore_kernels.dispatch import BackendUnavailableError, explain
from gencore_kernels.upfirdn2d import downsample2d, reference, setup_filter, upfirdn2d, upsample2d
from gencore_kernels.upfirdn2d.filters import SEPARATE_FROM

triton = pytest.param(
    "triton", marks=pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
)
FUSED = pytest.mark.parametrize("backend", ["torch", triton])
ALL = pytest.mark.parametrize("backend", ["reference", "torch", triton])
CASES = [  # shape, taps, up, down, padding
    ((2, 3, 8, 8), (4, 4), 2, 1, (2, 1, 2, 1)),
    ((2, 3, 8, 8), (4, 4), 1, 2, 1),
    ((2, 3, 7, 5), (4,), 1, 1, (2, 1, 2, 1)),
    ((1, 5, 9, 6), (3, 2), 2, 1, (0, 3, 1, 0)),
    ((2, 1, 5, 7), (2, 5), (3, 1), (1, 2), (4, 0, 1, 2)),
    ((1, 2, 9, 9), (5,), 3, 2, (-2, 1, 4, -3)),
    ((1, 2, 6, 6), (3, 3), 2, 3, (-1, -2, -3, -1)),
    ((3, 1, 1, 1), (1, 1), 1, 1, 0),
    ((1, 1, 1, 1), (4, 4), 2, 2, (9, 0, 0, 9)),
    ((1, 1, 3, 4), (2, 2), 1, 3, (7, 0, 7, 1)),
    ((2, 2, 11, 13), (SEPARATE_FROM,), 2, 1, (10, 7, 9, 8)),
    ((1, 2, 12, 10), (SEPARATE_FROM + 1,), 1, 2, (9, 8, 6, 11)),
    ((1, 2, 24, 31), (4, 5), 1, 1, 3),
]


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """torch.empty gives NaN, so that a place that was never written shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def textbook(x: Tensor, f: Tensor, up: int, down: int, padding: tuple[int, int, int, int]) -> Tensor:
    """Every step for itself, in x's dtype."""
    n, c, h, w = x.shape
    x = functional.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    weight = f.flip(0, 1).to(x.dtype).expand(c, 1, -1, -1)
    return functional.conv2d(functional.pad(x, padding), weight, groups=c)[:, :, ::down, ::down]


@ALL
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2), (2, 3)])
def test_is_scipys_upfirdn_along_both_axes(up, down, flip, backend, device) -> None:
    """scipy pads by taps - 1 before, and by taps - up behind."""
    x, vertical, horizontal = torch.randn(2, 3, 7, 6), torch.randn(4), torch.randn(5)
    h, v = (t.flip(0).double().numpy() if flip else t.double().numpy() for t in (horizontal, vertical))
    expected = signal.upfirdn(v, signal.upfirdn(h, x.double().numpy(), up, down, axis=3), up, down, axis=2)
    f = torch.outer(vertical, horizontal).to(device)
    actual = upfirdn2d(x.to(device), f, up, down, (4, 5 - up, 3, 4 - up), flip=flip, backend=backend)
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual.cpu().double(), torch.from_numpy(expected), rtol=0, atol=2e-5)


@ALL
@pytest.mark.parametrize(("up", "down", "left", "right"), [(1, 1, 0, 0), (3, 2, 2, 4), (2, 1, -1, 3), (2, 3, 5, -2)])
def test_is_the_sum_that_the_docstring_writes_down(up, down, left, right, backend, device) -> None:
    x, f = torch.randn(7, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    inserted = torch.zeros(7 * up, dtype=torch.float64)
    inserted[::up] = x
    expected = []
    for o in range((7 * up + left + right - 4) // down + 1):
        places = [(f[k], o * down - left + 3 - k) for k in range(4)]
        expected.append(1.7 * sum((tap * inserted[m] for tap, m in places if 0 <= m < 7 * up), f.new_zeros(())))
    actual = upfirdn2d(
        x.float().to(device).reshape(1, 1, 1, 7), f.float().to(device)[None], (1, up), (1, down), (left, right, 0, 0),
        gain=1.7, backend=backend,
    )  # fmt: skip
    torch.testing.assert_close(actual.flatten().cpu().double(), torch.stack(expected), rtol=0, atol=1e-5)


@FUSED
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_both_derivatives_match_the_oracle(case, flip, backend, device) -> None:
    shape, taps, up, down, padding = case
    x, f, v = torch.randn(shape), torch.randn(taps), torch.randn(shape)
    results = []
    for dtype, chosen in ((torch.float64, "reference"), (torch.float32, backend)):
        leaf = x.to(device, dtype).requires_grad_()
        with poisoned_memory():
            value = upfirdn2d(leaf, f.to(device, dtype), up, down, padding, flip=flip, gain=0.7, backend=chosen)
            cotangent = torch.linspace(-1, 1, value.numel()).reshape(value.shape).to(device, dtype).requires_grad_()
            (first,) = torch.autograd.grad(value, leaf, cotangent, create_graph=True)
            (second,) = torch.autograd.grad(first, cotangent, v.to(device, dtype))
        results.append((value, first, second))
    for expected, actual in zip(*results, strict=True):
        assert actual.is_contiguous()
        scale = expected.abs().max().item()
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=2e-6 * max(scale, 1e-3))


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("taps", "up", "down", "padding"), [((3, 2), (2, 1), (1, 3), (1, -1, 2, 0)), ((SEPARATE_FROM,), 2, 2, 6)]
)
def test_gradcheck_and_gradgradcheck(taps, up, down, padding, flip, backend) -> None:
    f = torch.randn(taps, dtype=torch.float64)
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor) -> Tensor:
        return upfirdn2d(x, f, up, down, padding, flip=flip, gain=1.3, backend=backend)

    assert torch.autograd.gradcheck(run, (x,))
    assert torch.autograd.gradgradcheck(run, (x,))


@FUSED
def test_a_gradient_penalty_and_a_third_derivative_pass_through(backend, device) -> None:
    """R1: the squared norm of a critic's gradient, differentiated; then once more."""
    f = setup_filter((1, 3, 3, 1), device=device)
    x = torch.randn(2, 2, 6, 6)
    results = []
    for dtype, chosen in ((torch.float64, "reference"), (torch.float32, backend)):
        leaf = x.to(device, dtype).requires_grad_()
        score = downsample2d(upsample2d(leaf, f, backend=chosen).tanh(), f, backend=chosen).pow(4).sum()
        (first,) = torch.autograd.grad(score, leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), leaf, create_graph=True)
        (third,) = torch.autograd.grad(second.square().sum(), leaf)
        results.append((first, second, third))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=5e-6 * expected.abs().max().item())


@FUSED
def test_a_long_separable_filter_in_two_passes_is_its_outer_product_in_one(backend, device) -> None:
    f = torch.randn(SEPARATE_FROM + 3, device=device)
    x = torch.randn(2, 2, 9, 14, device=device)
    arguments = (2, 3, (7, 9, 11, 8))
    two = upfirdn2d(x, f, *arguments, flip=True, gain=3.0, backend=backend)
    one = upfirdn2d(x, torch.outer(f, f), *arguments, flip=True, gain=3.0, backend=backend)
    torch.testing.assert_close(two, one, rtol=0, atol=1e-5 * one.abs().max().item())


def test_setup_filter() -> None:
    f = setup_filter((1, 3, 3, 1))
    assert f.tolist() == [0.125, 0.375, 0.375, 0.125]
    assert f.dtype == torch.float32
    assert torch.allclose(setup_filter([[1, 2], [3, 4]]), torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    for bad, message in (([], "at least one"), ([1.0, -1.0], "sum other than 0"), ([torch.inf], "finite")):
        with pytest.raises(ValueError, match=message):
            setup_filter(bad)
    with pytest.raises(ValueError, match=r"\(1, 1, 1\)"):
        setup_filter(torch.ones(1, 1, 1))


@ALL
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1,), (1, 2, 1), (1, 1), (1, 5, 10, 10, 5, 1)])
def test_resampling_by_a_factor(taps, factor, backend, device) -> None:
    """Sizes are multiplied and divided; the gradient of one is the other, filtered the other way round."""
    f = setup_filter(taps, device=device)
    x, y = torch.randn(2, 3, 5, 4, device=device), torch.randn(2, 3, 5 * factor, 4 * factor, device=device)
    large, small = upsample2d(x, f, factor, backend=backend), downsample2d(y, f, factor, backend=backend)
    assert large.shape == y.shape
    assert small.shape == x.shape
    if len(taps) % 2 == factor % 2:  # else the filter's centre lies between two pixels on one of the two ways
        inner, outer = (large * y).sum(), factor**2 * (x * small).sum()
        torch.testing.assert_close(inner, outer, rtol=1e-4, atol=1e-4)


@ALL
def test_a_constant_image_stays_constant_inside(backend, device) -> None:
    f = setup_filter((1, 3, 3, 1), device=device)
    ones = torch.ones(1, 1, 8, 8, device=device)
    torch.testing.assert_close(upsample2d(ones, f, backend=backend)[..., 2:-2, 2:-2], ones.new_ones(1, 1, 12, 12))
    torch.testing.assert_close(downsample2d(ones, f, backend=backend)[..., 1:-1, 1:-1], ones.new_ones(1, 1, 2, 2))
    doubled = downsample2d(ones, f, gain=2.0, backend=backend)[..., 1:-1, 1:-1]
    torch.testing.assert_close(doubled, 2 * ones.new_ones(1, 1, 2, 2))


@FUSED
def test_any_strides(backend, device) -> None:
    base = torch.randn(4, 6, 6, 6, device=device)
    f = torch.randn(3, 2, device=device)
    views = {
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(2, 3),
        "batch and channels": base.transpose(0, 1),
        "sliced": base[::2, ::2, 1::3, :5],
        "expanded": base[:, :1].expand(4, 6, 6, 6),
        "offset": base.flatten()[5 : 5 + 96].reshape(2, 3, 4, 4),
    }
    for name, view in views.items():
        copy = view.clone(memory_format=torch.contiguous_format)
        for up, down in ((2, 1), (1, 2)):
            results = []
            for x, taps in ((view, f.t().contiguous().t()), (copy, f)):
                leaf = x.detach().requires_grad_()
                value = upfirdn2d(leaf, taps, up, down, 2, backend=backend)
                weight = torch.arange(value.numel(), device=device, dtype=value.dtype).reshape(value.shape)
                strided = weight.transpose(0, 1).contiguous().transpose(0, 1)
                results.append((value, torch.autograd.grad(value, leaf, strided)[0]))
            assert results[0][0].is_contiguous(), name
            for one, other in zip(*results, strict=True):
                assert torch.equal(one, other), name


@FUSED
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("up", "down", "padding"), [(2, 1, (3, 2, 3, 2)), (1, 2, (2, 2, 2, 2)), (1, 1, (3, 2, 3, 2))])
def test_16_bit_error_is_at_most_that_of_plain_torch(up, down, padding, dtype, backend, device) -> None:
    x, f = torch.randn(2, 4, 12, 12, device=device).to(dtype), torch.randn(6, 6, device=device)
    exact = reference.upfirdn2d(x.double(), f.double(), (up, up), (down, down), padding, False, 1.0)
    value = upfirdn2d(x, f, up, down, padding, backend=backend)
    assert value.dtype == dtype
    error, plain = ((t.double() - exact).square().mean().sqrt() for t in (value, textbook(x, f, up, down, padding)))
    cut_off = backend == "triton" and device.type == "cpu"  # the interpreter cuts bfloat16 off where hardware rounds
    assert 0 < error <= (2.0 if cut_off else 1.01) * plain
    assert ((value.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 1e-5).all()


@ALL
def test_bad_values_reach_the_outputs_that_the_filter_covers_and_no_others(backend, device) -> None:
    x, f = torch.randn(2, 2, 9, 9, device=device), torch.rand(3, 3, device=device) + 0.1
    x[0, 1, 4, 4] = torch.nan
    x[1, 0, 0, 8] = torch.inf
    for up, down in ((1, 1), (2, 1), (1, 2)):
        clean = upfirdn2d(x.isfinite().to(x.dtype), torch.ones_like(f), up, down, 1, backend="reference")
        everywhere = upfirdn2d(torch.ones_like(x), torch.ones_like(f), up, down, 1, backend="reference")
        assert torch.equal(upfirdn2d(x, f, up, down, 1, backend=backend).isfinite(), clean == everywhere)


@ALL
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
@pytest.mark.parametrize("taps", [4, SEPARATE_FROM])
def test_empty_batch(taps, shape, backend, device) -> None:
    f = torch.ones(taps, device=device)
    for up, down in ((2, 1), (1, 2)):
        x = torch.empty(shape, device=device, requires_grad=True)
        value = upfirdn2d(x, f, up, down, taps // 2, backend=backend)
        value.sum().backward()
        size = (4 * up + 2 * (taps // 2) - taps) // down + 1
        assert value.shape == (*shape[:2], size, size)
        assert x.grad.shape == shape


@ALL
@pytest.mark.parametrize(
    ("x", "f", "arguments", "message"),
    [
        (torch.zeros(2, 4, 4), torch.ones(4), {}, r"x must be a floating tensor \[N, C, H, W\]"),
        (torch.zeros(1, 2, 4, 4, dtype=torch.int32), torch.ones(4), {}, "torch.int32"),
        (torch.zeros(1, 2, 0, 4), torch.ones(4), {}, "with a pixel"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4, dtype=torch.int64), {}, "f must be a floating tensor"),
        (torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 2), {}, "f must be a floating tensor"),
        (torch.zeros(1, 2, 4, 4), torch.ones(0), {}, "f must be a floating tensor"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4, requires_grad=True), {}, "takes the filter as a constant"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4, device="meta"), {}, "f is on meta and x on cpu"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"up": 0}, "up must be a whole number of at least 1"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"up": 2.0}, "up must be a whole number of at least 1"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"padding": 0.5}, "padding must be a whole number"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"gain": math.nan}, "gain must be finite"),
        (
            torch.zeros(1, 2, 4, 4),
            torch.ones(4),
            {"down": (1, 2, 3)},
            "down must be a whole number of at least 1, or two",
        ),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"padding": (1, 1)}, "padding must be a whole number, or four"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"padding": (-4, 9, 0, 0)}, "crops the whole width of 4"),
        (torch.zeros(1, 2, 4, 4), torch.ones(4), {"padding": (0, 0, -9, 9)}, "crops the whole height of 4"),
        (torch.zeros(1, 2, 4, 3), torch.ones(4), {}, "padded width 3 is smaller than the filter's 4 taps: pad by 1"),
    ],
)
def test_bad_input_raises_the_same_everywhere(x, f, arguments, message, backend) -> None:
    with pytest.raises(ValueError, match=message):
        upfirdn2d(x, f, **arguments, backend=backend)


def test_resampling_by_a_factor_checks_its_arguments() -> None:
    for function in (upsample2d, downsample2d):
        with pytest.raises(ValueError, match="f must be a floating tensor"):
            function(torch.zeros(1, 1, 4, 4), torch.tensor(1.0))
        with pytest.raises(ValueError, match="must be a whole number of at least 1"):
            function(torch.zeros(1, 1, 4, 4), torch.ones(4), 0)


def test_dispatch_is_honest() -> None:
    x, f = torch.zeros(1, 1, 4, 4), torch.ones(4)
    assert explain(upfirdn2d, x, f).implementation == "torch"
    assert explain(upfirdn2d, x, f, backend="triton").implementation == "triton"
    with pytest.raises(BackendUnavailableError, match="float64"):
        upfirdn2d(x.double(), f, backend="triton")
    with pytest.raises(BackendUnavailableError, match="no such implementation"):
        upfirdn2d(x, f, backend="compiled")
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        upfirdn2d(x, f, backend="cuda")


@FUSED
def test_same_bits_whatever_the_batch(backend, device) -> None:
    x, f = torch.randn(5, 3, 9, 9, device=device), setup_filter((1, 3, 3, 1), device=device)
    value = upsample2d(x, f, backend=backend)
    assert torch.equal(value, upsample2d(x, f, backend=backend))
    assert torch.equal(value[1:4], upsample2d(x[1:4], f, backend=backend))


@FUSED
def test_autocast_and_defaults_change_nothing(backend, device) -> None:
    def run() -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        value = upfirdn2d(leaf, setup_filter((1, 3, 3, 1), device=device), 2, 1, 2, backend=backend)
        return value, torch.autograd.grad(value.square().sum(), leaf)[0]

    x = torch.randn(2, 2, 5, 5, device=device)
    expected = run()
    with torch.autocast(device.type, torch.bfloat16):
        found = run()
    torch.set_default_dtype(torch.float64)
    try:
        found += run()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected * 2, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@FUSED
@pytest.mark.parametrize("taps", [(4, 3), (SEPARATE_FROM,)])
def test_opcheck(taps, backend, device) -> None:
    x = torch.randn(2, 3, 5, 6, device=device, requires_grad=True)
    f = torch.randn(taps, device=device)
    for up, down in (([2, 1], [1, 1]), ([1, 1], [1, 2]), ([2, 3], [3, 2])):
        arguments = (x, f, up, down, [7, 8, 6, 9], False, 1.5, backend)
        torch.library.opcheck(torch.ops.gencore.upfirdn2d.default, arguments)


@FUSED
def test_compiles_without_a_graph_break(backend, device) -> None:
    f = setup_filter((1, 3, 3, 1), device=device)

    def run(x: Tensor) -> Tensor:
        return downsample2d(upsample2d(x * 2.0, f, backend=backend).tanh(), f, backend=backend).square().sum()

    x = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    expected, actual = run(x), torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual, x)[0], torch.autograd.grad(expected, x)[0])


def test_exports_with_any_batch_size() -> None:
    class Up(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("f", setup_filter((1, 3, 3, 1)))

        def forward(self, x: Tensor) -> Tensor:
            return upsample2d(x, self.f)

    program = torch.export.export(Up(), (torch.randn(4, 3, 4, 4),), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    x = torch.randn(7, 3, 4, 4)
    torch.testing.assert_close(program.module()(x), Up()(x))


@pytest.mark.gpu
def test_gpu_runs_the_stylegan_shape() -> None:
    x, f = torch.randn(8, 512, 64, 64, device="cuda"), setup_filter((1, 3, 3, 1), device="cuda")
    expected = upsample2d(x.double(), f, backend="reference")
    torch.testing.assert_close(upsample2d(x, f, backend="triton").double(), expected, atol=1e-5, rtol=0)
