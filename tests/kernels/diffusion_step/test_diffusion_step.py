"""diffusion_step and quantile_abs against their float64 formulas: options, bad values, strides, dtypes, gradients."""

from __future__ import annotations

import importlib.util
import itertools
import shutil

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from gencore_kernels.diffusion_step import StepRow, diffusion_step, quantile_abs, stack_rows, step_table, torch_path

triton = pytest.param(
    "triton", marks=pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
)
FUSED = pytest.mark.parametrize("backend", ["torch", triton])
EVERY = pytest.mark.parametrize("backend", ["reference", "torch", triton])
ALPHAS = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0)
TIMESTEPS = list(range(980, -1, -20))
TABLES = {
    "ddim": step_table(ALPHAS, TIMESTEPS),
    "ddim eta clip": step_table(ALPHAS, TIMESTEPS, eta=1.0, clip=1.5, guidance=3.0),
    "clipped eps": step_table(ALPHAS, TIMESTEPS, eta=0.5, clip=1.0, clipped_eps=True, guidance=0.0),
    "x0": step_table(ALPHAS, TIMESTEPS, prediction="x0", eta=1.0),
    "negative p0": stack_rows([StepRow(0.5, -1.5, -0.7, 0.3, 0.2, 0.1, 0.8, -2.0)] * 50),
}
DEFAULT = TABLES["ddim eta clip"]


def close(actual: Tensor, expected: Tensor, tolerance: float = 2e-6) -> None:
    assert torch.equal(actual.isnan(), expected.isnan())
    scale = expected.nan_to_num().abs().max().item()
    torch.testing.assert_close(
        actual.double(), expected.double(), rtol=0, atol=tolerance * max(1.0, scale), equal_nan=True
    )


def both(backend: str, x: Tensor, out: Tensor, table: Tensor, step: Tensor | int, **options) -> tuple[Tensor, Tensor]:
    """(result, float64 reference) with poisoned free memory under the result."""
    exact = {k: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in options.items()}
    expected = diffusion_step(x.double(), out.double(), table, step, **exact, backend="reference")
    poison = torch.full_like(x, torch.nan, memory_format=torch.contiguous_format)
    del poison
    return diffusion_step(x, out, table, step, **options, backend=backend), expected


@FUSED
@pytest.mark.parametrize("threshold", [None, 0.9])
@pytest.mark.parametrize("name", TABLES)
def test_every_option_matches_the_oracle(name, threshold, backend, device) -> None:
    table = TABLES[name].to(device)
    x, out, uncond, noise = (torch.randn(3, 5, 7, 11, device=device) for _ in range(4))
    seeds = torch.tensor([5, 0, -7], device=device)
    steps = (torch.tensor(10, dtype=torch.int32, device=device), torch.tensor([3, 10, 49], device=device))
    for step, u, extra in itertools.product(steps, (None, uncond), ({"noise": noise}, {"seeds": seeds})):
        actual, expected = both(backend, x, out, table, step, uncond=u, threshold=threshold, **extra)
        close(actual, expected)
        assert expected.isfinite().all()


@EVERY
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 16), (2, 17), (1, 63), (2, 65), (5, 3, 1, 5)], ids=str)
def test_sizes_that_are_no_multiple_of_anything(shape, backend, device) -> None:
    x, out, noise = (torch.randn(shape, device=device) for _ in range(3))
    close(*both(backend, x, out, DEFAULT.to(device), 10, noise=noise))
    close(*both(backend, x, out, DEFAULT.to(device), 10, seeds=torch.arange(shape[0], device=device)))


@pytest.mark.parametrize("threshold", [None, 0.9])
def test_chunks_do_not_change_the_result(threshold, monkeypatch) -> None:
    x, out, uncond, noise = (torch.randn(3, 100) for _ in range(4))
    runs = []
    for chunk in (7, 1 << 17):
        monkeypatch.setattr(torch_path, "CHUNK", chunk)
        options = {"uncond": uncond, "noise": noise, "threshold": threshold}
        runs.append(diffusion_step(x, out, DEFAULT, torch.tensor([1, 20, 30]), **options, backend="torch"))
    assert torch.equal(*runs)


@EVERY
def test_python_step_scalar_step_and_step_a_sample_agree(backend, device) -> None:
    x, out, noise = (torch.randn(3, 40, device=device) for _ in range(3))
    table = DEFAULT.to(device)
    steps = (7, torch.tensor(7, device=device), torch.tensor([7, 7, 7], dtype=torch.int32, device=device))
    first, *others = (diffusion_step(x, out, table, step, noise=noise, backend=backend) for step in steps)
    for other in others:
        assert torch.equal(first, other)


@EVERY
def test_a_sample_does_not_depend_on_its_batch(backend, device) -> None:
    x, out = torch.randn(2, 4, 60, device=device).unbind(0)
    seeds = torch.tensor([3, 1, 4, 1], device=device)
    options = {"backend": backend, "threshold": 0.8}
    whole = diffusion_step(x, out, DEFAULT.to(device), 5, seeds=seeds, **options)
    for pick in ([2], [3, 0], [1, 2, 3]):
        part = diffusion_step(x[pick], out[pick], DEFAULT.to(device), 5, seeds=seeds[pick], **options)
        assert torch.equal(part, whole[pick])


@EVERY
def test_step_outside_the_table_and_missing_noise_give_nan(backend, device) -> None:
    x = torch.randn(4, 20, device=device)
    table = DEFAULT.to(device)
    steps = torch.tensor([3, 50, -1, 49], device=device)
    assert table[3, 5] > 0
    assert table[49, 5] == 0
    result = diffusion_step(x, x, table, steps, noise=x, backend=backend)
    assert result.isnan().all(dim=1).tolist() == [False, True, True, False]
    assert result.isnan().any(dim=1).tolist() == [False, True, True, False]
    result = diffusion_step(x, x, table, steps, backend=backend)
    assert result.isnan().all(dim=1).tolist() == [True, True, True, False]
    assert result[3].isfinite().all()


@FUSED
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", ["x", "out", "uncond", "noise"])
@pytest.mark.parametrize("name", TABLES)
def test_bad_values_do_the_same_everywhere(name, where, bad, backend, device) -> None:
    given = {key: torch.randn(2, 20, device=device) for key in ("x", "out", "uncond", "noise")}
    given[where][0, 3] = bad
    for step in (10, 49):
        options = {"table": TABLES[name].to(device), "step": step} | given
        expected = diffusion_step(**options, backend="reference")
        actual = diffusion_step(**options, backend=backend)
        assert torch.equal(actual.isfinite(), expected.isfinite())
        torch.testing.assert_close(actual[expected.isfinite()], expected[expected.isfinite()], rtol=1e-5, atol=1e-5)


@EVERY
def test_coefficient_zero_leaves_its_term_out(backend, device) -> None:
    table = stack_rows([StepRow(0, 1, 1, 0, 0, 0)]).to(device)
    out, nowhere = torch.randn(2, 9, device=device), torch.full((2, 9), torch.nan, device=device)
    assert torch.equal(diffusion_step(nowhere, out, table, 0, noise=nowhere, backend=backend), out)


@FUSED
def test_nan_spoils_the_whole_sample_with_a_threshold(backend, device) -> None:
    x, out = torch.randn(2, 2, 20, device=device).unbind(0)
    x[0, 3] = torch.nan
    result = diffusion_step(x, out, TABLES["ddim"].to(device), 10, threshold=0.5, backend=backend)
    assert result[0].isnan().all()
    assert result[1].isfinite().all()


@FUSED
def test_any_strides(backend, device) -> None:
    base = torch.randn(4, 6, 8, 10, device=device)
    views = {
        "transposed": base.transpose(1, 3),
        "sliced": base[::2, ::2, 1::3],
        "expanded": base[:, :1].expand(4, 6, 8, 10),
        "channels_last": base.to(memory_format=torch.channels_last),
        "offset": base.flatten()[3:123].reshape(4, 30),
    }
    for name, view in views.items():
        seeds = torch.arange(len(view), device=device)
        options = {"table": DEFAULT.to(device), "step": 9, "seeds": seeds, "backend": backend}
        result = diffusion_step(view, view, uncond=view * 0.5, **options)
        copy = view.clone(memory_format=torch.contiguous_format)
        assert torch.equal(result, diffusion_step(copy, copy, uncond=copy * 0.5, **options)), name
        assert result.is_contiguous(), name


@FUSED
@pytest.mark.parametrize("threshold", [None, 0.9])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_error_is_that_of_rounding_the_result(dtype, threshold, backend, device) -> None:
    x, out, uncond, noise = (torch.randn(2, 90, device=device).to(dtype) for _ in range(4))
    options = {"uncond": uncond, "noise": noise, "threshold": threshold}
    actual, expected = both(backend, x, out, DEFAULT.to(device), 20, **options)
    assert actual.dtype == dtype
    assert ((actual.double() - expected).abs() <= expected.abs() * torch.finfo(dtype).eps + 1e-5).all()


@FUSED
def test_mixed_dtypes_are_worked_in_float32(backend, device) -> None:
    x, noise = torch.randn(2, 2, 30, device=device).unbind(0)
    out = torch.randn(2, 30, device=device).bfloat16()
    actual, expected = both(backend, x, out, DEFAULT.to(device), 20, uncond=out.flip(0), noise=noise)
    assert actual.dtype == torch.float32
    close(actual, expected)


@FUSED
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0,)], ids=str)
@pytest.mark.parametrize("threshold", [None, 0.9])
def test_empty(shape, threshold, backend, device) -> None:
    x = torch.empty(shape, device=device)
    seeds = torch.arange(shape[0], device=device)
    if shape == (0,):
        assert diffusion_step(x, x, DEFAULT.to(device), 0, noise=x, threshold=threshold, backend=backend).shape == shape
    else:
        result = diffusion_step(x, x, DEFAULT.to(device), 0, seeds=seeds, threshold=threshold, backend=backend)
        assert result.shape == shape


@FUSED
@pytest.mark.parametrize("step", [10, 49, torch.tensor([0, 20])], ids=str)
@pytest.mark.parametrize("name", TABLES)
def test_gradients_match_the_oracle(name, step, backend, device) -> None:
    table = TABLES[name].to(device)
    step = step.to(device) if isinstance(step, Tensor) else step
    values = [torch.randn(2, 33) for _ in range(4)]
    g = torch.randn(2, 33)
    results = []
    for dtype, chosen in ((torch.float64, "reference"), (torch.float32, backend)):
        x, out, uncond, noise = leaves = [v.to(device, dtype).requires_grad_() for v in values]
        y = diffusion_step(x, out, table, step, uncond=uncond, noise=noise, backend=chosen)
        results.append(torch.autograd.grad(y, leaves, g.to(device, dtype), materialize_grads=True))
        alone = diffusion_step(x, out, table, step, noise=noise.detach(), backend=chosen)
        results[-1] += torch.autograd.grad(alone, (x, out), g.to(device, dtype), materialize_grads=True)
    for expected, actual in zip(*results, strict=True):
        close(actual, expected)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_gradcheck(backend) -> None:
    tensors = [torch.randn(2, 5, dtype=torch.float64, requires_grad=True) for _ in range(4)]

    def run(x: Tensor, out: Tensor, uncond: Tensor, noise: Tensor) -> Tensor:
        return diffusion_step(x, out, DEFAULT, 45, uncond=uncond, noise=noise, backend=backend)

    assert torch.autograd.gradcheck(run, tensors)


@FUSED
def test_second_derivative_is_refused(backend, device) -> None:
    x = torch.randn(2, 5, device=device, requires_grad=True)
    y = diffusion_step(x, x, DEFAULT.to(device), 20, noise=x.detach(), backend=backend)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="order one"):
        first.sum().backward()


@FUSED
def test_threshold_has_a_gradient_in_the_reference_only(backend, device) -> None:
    x = torch.randn(2, 30, device=device, requires_grad=True)
    table = TABLES["ddim"].to(device)
    for chosen in ("auto", backend):
        with pytest.raises(ValueError, match="in the reference only"):
            diffusion_step(x, x, table, 20, threshold=0.9, backend=chosen)
    diffusion_step(x, x, table, 20, threshold=0.9, backend="reference").sum().backward()
    assert x.grad.isfinite().all()
    with torch.no_grad():
        assert diffusion_step(x, x, table, 20, threshold=0.9, backend=backend).isfinite().all()


X = torch.zeros(2, 6)


@pytest.mark.parametrize("backend", ["auto", "reference", "torch", "triton"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"table": torch.zeros(5, 7)}, r"table must be float32 \[T, 8\]"),
        ({"table": torch.zeros(0, 8)}, r"table must be float32 \[T, 8\]"),
        ({"table": torch.zeros(5, 8, dtype=torch.float64)}, "table must be float32"),
        ({"step": 50}, "step 50 is outside the table, whose rows are 0 to 49"),
        ({"step": -1}, "step -1 is outside"),
        ({"step": torch.tensor(0.0)}, "step must be int32 or int64"),
        ({"step": torch.zeros(3, dtype=torch.int32)}, "step must be int32 or int64, scalar or"),
        ({"out": torch.zeros(2, 5)}, r"out must be floating, of x's shape \(2, 6\)"),
        ({"uncond": torch.zeros(2, 6, dtype=torch.int32)}, "uncond must be floating"),
        ({"noise": torch.zeros(1, 6)}, "noise must be floating, of x's shape"),
        ({"out": torch.zeros(2, 6, device="meta")}, "on cpu, got .* on meta"),
        ({"table": torch.zeros(5, 8, device="meta")}, "table is on meta and x on cpu"),
        ({"seeds": torch.zeros(3, dtype=torch.int64)}, r"seeds must be int64 \[2\]"),
        ({"seeds": torch.zeros(2)}, r"seeds must be int64 \[2\]"),
        ({"noise": X, "seeds": torch.zeros(2, dtype=torch.int64)}, "both noise and seeds"),
        ({"threshold": 1.5}, r"threshold must be a quantile in \[0, 1\]"),
        ({"x": torch.zeros(2, 6, dtype=torch.int64)}, "x must be a floating tensor"),
    ],
)
def test_bad_input_raises_the_same_everywhere(changed, message, backend) -> None:
    given = {"x": X, "out": X, "table": DEFAULT, "step": 0} | changed
    with pytest.raises(ValueError, match=message):
        diffusion_step(**given, backend=backend)


@EVERY
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.9, 0.995, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5, 64, 777])
def test_quantile_matches_torch(n, p, backend, device) -> None:
    x = torch.randn(3, n, device=device)
    x[1] = x[1].round()
    x[2] = 0.0
    expected = torch.quantile(x.abs().double(), p, dim=1)
    torch.testing.assert_close(quantile_abs(x, p, backend=backend).double(), expected, rtol=2e-7, atol=0)


@EVERY
def test_quantile_of_bad_and_tiny_values(backend, device) -> None:
    x = torch.randn(4, 50, device=device)
    x[0, 3], x[1, 7], x[2] = torch.nan, -torch.inf, x[2] * 1e-41
    low, high = (quantile_abs(x, p, backend=backend) for p in (0.5, 0.99))
    assert low.isnan().tolist() == high.isnan().tolist() == [True, False, False, False]
    assert low[1].isfinite()
    assert high[1] == torch.inf
    torch.testing.assert_close(low[2].double(), torch.quantile(x[2].abs().double(), 0.5), rtol=1e-3, atol=1e-45)


@FUSED
def test_quantile_in_blocks_in_16_bits_and_of_views(backend, device, monkeypatch) -> None:
    x = torch.randn(5, 6, 40, device=device)
    expected = quantile_abs(x, 0.7, backend="reference")
    monkeypatch.setattr(torch_path, "SELECTION", 500)
    assert torch.equal(quantile_abs(x, 0.7, backend=backend), expected)
    assert torch.equal(quantile_abs(x.transpose(1, 2), 0.7, backend=backend), expected)
    half = quantile_abs(x.half(), 0.7, backend=backend)
    assert half.dtype == torch.float32
    assert torch.equal(half, quantile_abs(x.half().float(), 0.7, backend="reference"))
    assert quantile_abs(x[:0], 0.7, backend=backend).shape == (0,)


@pytest.mark.parametrize("backend", ["auto", "reference", "torch", "triton"])
def test_quantile_bad_input(backend) -> None:
    for x, p in ((torch.zeros(()), 0.5), (torch.zeros(2, 0), 0.5), (torch.zeros(2, 3), 1.5), (torch.arange(3), 0.5)):
        with pytest.raises(ValueError, match="must be"):
            quantile_abs(x, p, backend=backend)


def test_quantile_gradient_is_the_references() -> None:
    x = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    for backend in ("auto", "torch"):
        with pytest.raises(ValueError, match="in the reference only"):
            quantile_abs(x, 0.4, backend=backend)
    assert torch.autograd.gradcheck(lambda x: quantile_abs(x, 0.4, backend="reference"), (x,))


@FUSED
def test_opcheck(backend, device) -> None:
    ops = torch.ops.gencore
    x, out, uncond, noise = (torch.randn(2, 9, device=device, requires_grad=True) for _ in range(4))
    table, step, seeds = DEFAULT.to(device), torch.tensor([3, 5], device=device), torch.arange(2, device=device)
    checked = torch.library.opcheck
    checked(ops.diffusion_step.default, (x, out, table, step, uncond, noise, None, None, backend))
    checked(ops.diffusion_step.default, (x.detach(), out.detach(), table, step, None, None, seeds, 0.9, backend))
    detached = [t.detach() for t in (noise, x, out)]
    checked(ops.diffusion_step_backward.default, (*detached, table, step, uncond.detach(), backend))
    checked(ops.diffusion_step_backward.default, (*detached, table, step, None, backend))
    checked(ops.quantile_abs.default, (x.detach(), 0.9, backend))


@FUSED
@pytest.mark.parametrize("threshold", [None, 0.9])
def test_compiles_without_a_graph_break_and_once_for_all_steps(threshold, backend, device) -> None:
    table = DEFAULT.to(device)

    def run(x: Tensor, out: Tensor, step: Tensor, seeds: Tensor) -> Tensor:
        return diffusion_step(x * 1.0, out, table, step, seeds=seeds, threshold=threshold, backend=backend)

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(run, fullgraph=True, backend=counter)
    x, out = torch.randn(2, 3, 20, device=device).unbind(0)
    seeds = torch.arange(3, device=device)
    for index in (0, 7, 49):
        step = torch.tensor(index, device=device)
        torch.testing.assert_close(compiled(x, out, step, seeds), run(x, out, step, seeds), rtol=1e-5, atol=1e-5)
    assert counter.frame_count == 1
    whole = any("gencore" in str(node.target) for node in counter.graphs[0].graph.nodes)
    assert whole == (threshold is not None or backend == "triton"), "written out only where inductor fuses it"


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler here")
@pytest.mark.parametrize("threshold", [None, 0.9])
def test_compiled_by_inductor_is_the_reference(threshold) -> None:
    x, out, uncond, noise = torch.randn(4, 4, 3, 8, 8).unbind(0)
    step, options = torch.tensor(20), {"uncond": uncond, "noise": noise, "threshold": threshold}
    torch._dynamo.reset()
    with torch.no_grad():
        actual = torch.compile(diffusion_step, fullgraph=True)(x, out, DEFAULT, step, backend="torch", **options)
    close(actual, diffusion_step(x.double(), out.double(), DEFAULT, step, backend="reference", **options), 5e-6)


@pytest.mark.gpu
def test_gpu_graph_serves_every_step() -> None:
    table = DEFAULT.cuda()
    x, out = torch.randn(2, 4, 3, 64, 64, device="cuda").unbind(0)
    seeds, step = torch.arange(4, device="cuda"), torch.zeros((), dtype=torch.int32, device="cuda")
    diffusion_step(x, out, table, step, seeds=seeds, backend="triton")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = diffusion_step(x, out, table, step, seeds=seeds, backend="triton")
    for index in (0, 20, 49):
        step.fill_(index)
        graph.replay()
        close(result, diffusion_step(x.double(), out.double(), table, index, seeds=seeds, backend="reference"), 5e-6)
