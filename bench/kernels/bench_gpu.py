"""The Triton kernels on a CUDA device, against what is used there; skipped without one, and so far never run on one.

"in a CUDA graph" is the same function, replayed: small shapes are otherwise bound by the launches of their kernels.
Cases that would need more than the GPU's memory fail alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from flash_kmeans.assign_euclid_triton import euclid_assign_triton as flash_kmeans_assign
from flashlib.primitives.kmeans.triton.assign import euclid_assign_triton as flashlib_assign
from torch import Tensor

from bench.kernels.bench_diffusion_step import Case
from bench.kernels.bench_minibatch import against, cdist_form, gradient_of, stylegan_form, torchgan_form
from bench.kernels.bench_nearest_code import chunked, expanded, quantiser, wrong_rows_per_million
from gencore_kernels.diffusion_step import diffusion_step, quantile_abs
from gencore_kernels.minibatch_discrimination import minibatch_discrimination
from gencore_kernels.minibatch_stddev import minibatch_stddev
from gencore_kernels.nearest_code import nearest_code, prepare_codebook

DEVICE = "cuda"
Contestants = dict[str, Callable[[], Any]]

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore"),  # torch.compile's, of its own parts
]

LOOK_UPS = [
    ((1 << 20, 8192, 64), torch.float32),
    ((1 << 20, 8192, 64), torch.float16),
    ((1 << 20, 8192, 256), torch.float16),
    ((1 << 18, 16384, 8), torch.float32),
    ((1 << 18, 8192, 64), torch.float32),
    ((1 << 14, 1024, 64), torch.float32),
]
MOST_SCORES = 1 << 32  # of contestants that hold the whole matrix
CHUNK = 1 << 27  # scores of a chunk: few launches, half a gigabyte
COMPARED_ROWS = 2048  # whose error is taken: the float64 oracle goes through all pairs and dimensions
DISCRIMINATION = [(64, 32, 5), (1024, 100, 5), (4096, 100, 5)]
MOST_PAIRS = 1 << 30  # N * N * B * C of torchgan's form
STDDEV = [(64, 512, 4, 4), (32, 256, 16, 16)]
STEPS = [(64, 3, 256, 256), (256, 3, 32, 32)]


def by_name(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def replayed(run: Callable[[], Any]) -> Callable[[], Any]:
    """`run`, captured in a CUDA graph; its result lies in the same memory at each call."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


def flash_kmeans(x: Tensor, codebook: Tensor) -> Tensor:
    return flash_kmeans_assign(x[None], codebook[None], x.float().square().sum(1)[None])[0]


def flashlib(x: Tensor, codebook: Tensor) -> Tensor:
    return flashlib_assign(x[None], codebook[None])[0]


def look_ups(x: Tensor, codebook: Tensor) -> Contestants:
    def ours() -> Tensor:
        return nearest_code(x, codebook).index

    prepared = prepare_codebook(codebook)
    contestants: Contestants = {
        "gencore": ours,
        "gencore, prepared codebook": lambda: nearest_code(x, codebook, prepared=prepared).index,
        "gencore, in a CUDA graph": replayed(ours),
        "gencore, backend torch": lambda: nearest_code(x, codebook, backend="torch").index,
        "flash-kmeans": lambda: flash_kmeans(x, codebook),
        "flashlib, Triton": lambda: flashlib(x, codebook),
        "chunked addmm + argmin": lambda: chunked(x, codebook, CHUNK),
    }
    if len(x) * len(codebook) <= MOST_SCORES:
        textbook = torch.compile(expanded)
        contestants["torch.compile of the textbook form"] = lambda: textbook(x, codebook)
        if x.dtype == torch.float32:
            evaluate = quantiser(codebook, training=False)
            contestants["vector-quantize-pytorch, eval"] = lambda: evaluate(x, codebook)
    return contestants


def wrong_among_the_first(x: Tensor, codebook: Tensor) -> Callable[[Tensor], float]:
    error = wrong_rows_per_million(x[:COMPARED_ROWS], codebook)
    return lambda index: error(index[:COMPARED_ROWS])


@pytest.mark.parametrize(("shape", "dtype"), LOOK_UPS, ids=str)
def test_look_up(race, shape, dtype) -> None:
    num_rows, num_codes, dim = shape
    x = torch.randn(num_rows, dim, device=DEVICE, dtype=dtype)
    codebook = torch.randn(num_codes, dim, device=DEVICE, dtype=dtype)
    case = f"{by_name(shape)} {str(dtype).removeprefix('torch.')} on the GPU"
    error = wrong_among_the_first(x, codebook)
    race("nearest_code", case, look_ups(x, codebook), error=error, error_unit="wrong rows per million", on_gpu=True)


def test_training_step(race) -> None:
    """Look-up, gathered code, counts and sums, against a module that also updates its codebook."""
    shape, _ = LOOK_UPS[4]
    num_rows, num_codes, dim = shape
    x, codebook = torch.randn(num_rows, dim, device=DEVICE), torch.randn(num_codes, dim, device=DEVICE)
    train = quantiser(codebook, training=True)
    contestants: Contestants = {
        "gencore": lambda: nearest_code(x, codebook, returns=("distance", "code", "counts", "sums")).index,
        "vector-quantize-pytorch, train": lambda: train(x, codebook),
    }
    case = f"{by_name(shape)} with counts and sums on the GPU"
    error = wrong_among_the_first(x, codebook)
    race("nearest_code", case, contestants, error=error, error_unit="wrong rows per million", on_gpu=True)


def gradients(race, operation: str, shape: tuple[int, ...], forms: Contestants, g: Tensor, exact: Any) -> None:
    """Forward and backward of `forms`, the first of which also runs in a graph."""
    x = torch.randn(shape, device=DEVICE) * 0.3
    contestants = {name: gradient_of(form, x, g) for name, form in forms.items()}
    contestants["gencore, in a CUDA graph"] = replayed(contestants["gencore"])
    case = f"{by_name(shape)} on the GPU"
    race(operation, case, contestants, error=against(exact, x, g), error_unit="rel. to largest", on_gpu=True)


@pytest.mark.parametrize("shape", DISCRIMINATION, ids=str)
def test_discrimination_forward_and_backward(race, shape) -> None:
    forms: Contestants = {
        "gencore": functools.partial(minibatch_discrimination, include_self=False),
        "cdist(p=1)": cdist_form,
    }
    if shape[0] ** 2 * shape[1] * shape[2] <= MOST_PAIRS:
        forms |= {"torchgan's form": torchgan_form, "torch.compile of torchgan's form": torch.compile(torchgan_form)}
    g = torch.randn(shape[:2], device=DEVICE)
    gradients(race, "minibatch_discrimination", shape, forms, g, cdist_form)


@pytest.mark.parametrize("shape", STDDEV, ids=str)
def test_stddev_forward_and_backward(race, shape) -> None:
    forms: Contestants = {
        "gencore": minibatch_stddev,
        "StyleGAN2's form": stylegan_form,
        "torch.compile of it": torch.compile(stylegan_form),
    }
    g = torch.randn(shape[0], shape[1] + 1, *shape[2:], device=DEVICE)
    gradients(race, "minibatch_stddev", shape, forms, g, stylegan_form)


@pytest.mark.parametrize("threshold", [None, 0.995], ids=["clip", "threshold"])
@pytest.mark.parametrize("shape", STEPS, ids=str)
def test_step(race, shape, threshold) -> None:
    case = Case(shape, threshold, DEVICE)
    ours = case.ours("auto")
    contestants: Contestants = {"gencore": ours, "gencore, in a CUDA graph": replayed(ours)}
    contestants["diffusers"] = case.diffusers
    contestants["torch.compile of backend torch"] = case.ours("torch", torch.compile(diffusion_step))
    kind = "clip" if threshold is None else "dynamic threshold"
    name = f"{by_name(shape)}, {len(case.steps)} steps, eta 1, {kind}, guidance, noise given, on the GPU"
    race("diffusion_step", name, contestants, error=case.error(), error_unit="max abs", on_gpu=True)


@pytest.mark.parametrize("shape", STEPS, ids=str)
def test_step_with_its_own_noise(race, shape) -> None:
    """The first step, with noise drawn in it. Error: of the noise's standard deviation, relative."""
    case = Case(shape, None, DEVICE)
    place, seeds = case.steps[0], torch.arange(shape[0], device=DEVICE)
    sigma = case.table[place, 5]
    mean = case.exact(case.steps[:1], torch.zeros_like(case.noise))

    @torch.no_grad()
    def ours() -> Tensor:
        return diffusion_step(case.x, case.out, case.table, place, uncond=case.uncond, seeds=seeds)

    @torch.compile
    @torch.no_grad()
    def compiled() -> Tensor:
        noise = torch.randn_like(case.x)
        return diffusion_step(case.x, case.out, case.table, place, uncond=case.uncond, noise=noise, backend="torch")

    @torch.no_grad()
    def diffusers() -> Tensor:
        out = case.uncond + case.guidance * (case.out - case.uncond)
        return case.scheduler.step(out, case.timesteps[0], case.x, eta=1.0).prev_sample

    contestants: Contestants = {
        "gencore": ours,
        "gencore, in a CUDA graph": replayed(ours),
        "diffusers": diffusers,
        "torch.compile of backend torch, with randn": compiled,
    }
    name = f"{by_name(shape)}, 1 step, eta 1, clip, guidance, own noise, on the GPU"
    error = lambda y: ((y.double() - mean).std() / sigma - 1).abs().item()  # noqa: E731
    race("diffusion_step", name, contestants, error=error, error_unit="rel. deviation", on_gpu=True)


def test_quantile(race) -> None:
    x = torch.randn(STEPS[0], device=DEVICE)
    exact = torch.quantile(x.double().abs().flatten(1), 0.995, dim=1)
    contestants: Contestants = {
        "gencore": lambda: quantile_abs(x, 0.995),
        "torch.quantile": lambda: torch.quantile(x.abs().flatten(1), 0.995, dim=1),
    }
    name = f"{by_name(STEPS[0])}, p = 0.995, on the GPU"
    error = lambda q: (q.double() - exact).abs().max().item()  # noqa: E731
    folder = "tests/kernels/diffusion_step"
    race("quantile_abs", name, contestants, error=error, error_unit="max abs", tests=folder, on_gpu=True)
