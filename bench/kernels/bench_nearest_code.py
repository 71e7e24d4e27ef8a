"""Nearest code against the look-ups in use. Error: wrong rows per million, against the float64 argmin."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import pytest
import torch
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize

from gencore_kernels.dispatch import Backend
from gencore_kernels.nearest_code import nearest_code

faiss.omp_set_num_threads(1)
SHAPES = [(8192, 1024, 64), (4096, 8192, 32), (4096, 16384, 8), (4096, 1024, 256)]


def ours(x: Tensor, codebook: Tensor) -> Tensor:
    return nearest_code(x, codebook).index


def ours_torch(x: Tensor, codebook: Tensor) -> Tensor:
    return nearest_code(x, codebook, backend="torch").index


def flat_index(x: Tensor, codebook: Tensor) -> Tensor:
    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook.numpy())
    return torch.from_numpy(index.search(x.numpy(), 1)[1][:, 0])


def distances_then_argmin(x: Tensor, codebook: Tensor) -> Tensor:
    return torch.cdist(x, codebook).argmin(1)


def expanded(x: Tensor, codebook: Tensor) -> Tensor:
    """The textbook form: the whole matrix of ||x||^2 - 2 x.c + ||c||^2."""
    return (x.square().sum(1, keepdim=True) - 2.0 * x @ codebook.t() + codebook.square().sum(1)).argmin(1)


def chunked(x: Tensor, codebook: Tensor, most_scores: int = 1 << 18) -> Tensor:
    """The textbook form in chunks, of about 1 MB unless told, in place."""
    squares, found = codebook.square().sum(1), torch.empty(len(x), dtype=torch.int64, device=x.device)
    rows = max(16, most_scores // len(codebook))
    scores = codebook.new_empty(rows, len(codebook))
    for part, out in zip(x.split(rows), found.split(rows), strict=True):
        torch.addmm(squares, part, codebook.t(), alpha=-2, out=scores[: len(part)])
        torch.argmin(scores[: len(part)], 1, out=out)
    return found


def quantiser(codebook: Tensor, training: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """vector-quantize-pytorch with this codebook; training adds its EMA update, undone before the next call."""
    module = VectorQuantize(dim=codebook.shape[1], codebook_size=len(codebook), kmeans_init=False)
    module.to(codebook.device).train(training)

    @torch.no_grad()
    def run(x: Tensor, codebook: Tensor) -> Tensor:
        module._codebook.embed.copy_(codebook[None])
        return module(x[None])[1][0]

    return run


def wrong_rows_per_million(x: Tensor, codebook: Tensor) -> Callable[[Tensor], float]:
    exact = nearest_code(x, codebook, backend="reference").index
    return lambda found: (found != exact).double().mean().item() * 1e6


def look_ups(codebook: Tensor) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    return {
        "gencore": ours,
        "gencore, backend torch": ours_torch,
        "faiss-cpu IndexFlatL2": flat_index,
        "vector-quantize-pytorch, eval": quantiser(codebook, training=False),
        "cdist + argmin": distances_then_argmin,
        "chunked addmm + argmin": chunked,
        "torch.compile of the textbook form": torch.compile(expanded),
    }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_look_up(race, shape) -> None:
    num_rows, num_codes, dim = shape
    x, codebook = torch.randn(num_rows, dim), torch.randn(num_codes, dim)
    contestants = {name: lambda find=find: find(x, codebook) for name, find in look_ups(codebook).items()}
    case = "x".join(map(str, shape))
    error = wrong_rows_per_million(x, codebook)
    race("nearest_code", case, contestants, error=error, error_unit="wrong rows per million")


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_training_step(race, shape) -> None:
    """Look-up, gathered code, counts and sums, against a module that also updates its codebook."""
    num_rows, num_codes, dim = shape
    x, codebook = torch.randn(num_rows, dim), torch.randn(num_codes, dim)

    def with_statistics(backend: Backend) -> Tensor:
        return nearest_code(x, codebook, returns=("distance", "code", "counts", "sums"), backend=backend).index

    train = quantiser(codebook, training=True)
    contestants = {
        "gencore": lambda: with_statistics("auto"),
        "gencore, backend torch": lambda: with_statistics("torch"),
        "vector-quantize-pytorch, train": lambda: train(x, codebook),
    }
    case = "x".join(map(str, shape)) + " with counts and sums"
    error = wrong_rows_per_million(x, codebook)
    race("nearest_code", case, contestants, error=error, error_unit="wrong rows per million")


def decoys() -> tuple[Tensor, Tensor]:
    codes = torch.randn(1024, 64)
    return codes, torch.cat([codes + 1e-4 * torch.randn_like(codes), codes])


HARD = {
    "offset 1000": lambda: (torch.randn(4096, 64) + 1000, torch.randn(1024, 64) + 1000),
    "decoys": decoys,
    "equal codes": lambda: (torch.randn(1024, 64), torch.randn(1, 64).repeat(1024, 1)),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_data(race, name) -> None:
    """Data far from the origin; rows that equal a code, with another one 1e-4 beside it; and a collapsed codebook."""
    x, codebook = HARD[name]()
    contestants = {label: lambda find=find: find(x, codebook) for label, find in look_ups(codebook).items()}
    error = wrong_rows_per_million(x, codebook)
    case = f"{len(x)}x{len(codebook)}x64 {name}"
    race("nearest_code", case, contestants, error=error, error_unit="wrong rows per million")
