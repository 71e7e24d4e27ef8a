"""Outputs beside the index, gradients, prepared codebooks, registration, bad input."""

from __future__ import annotations

import pytest
import torch

from gencore_kernels.nearest_code import nearest_code, prepare_codebook
from gencore_kernels.nearest_code import op as registration

BACKENDS = ["reference", "torch", "triton", "compiled"]
ALL = ("distance", "code", "counts", "sums")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_code_counts_and_sums(backend: str, deterministic: bool, device: torch.device) -> None:
    x, codebook = torch.randn(90, 24, device=device), torch.randn(37, 24, device=device)
    x[4, 1] = torch.nan
    torch.use_deterministic_algorithms(deterministic)
    try:
        found = nearest_code(x, codebook, returns=ALL, backend=backend)
    finally:
        torch.use_deterministic_algorithms(False)
    kept = torch.arange(90, device=device) != 4
    assert torch.equal(found.code, codebook[found.index])
    assert torch.equal(found.counts, torch.bincount(found.index[kept], minlength=37))
    sums = torch.zeros(37, 24, dtype=torch.float64, device=device).index_add_(0, found.index[kept], x[kept].double())
    torch.testing.assert_close(found.sums.double(), sums, rtol=1e-6, atol=1e-5)
    assert found.sums.dtype == torch.float32
    assert found.counts.sum() == 89


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_what_was_asked_for(backend: str, device: torch.device) -> None:
    x, codebook = torch.randn(4, 3, device=device), torch.randn(5, 3, device=device)
    found = nearest_code(x, codebook, returns=(), backend=backend)
    assert found[1:] == (None, None, None, None)
    counted = nearest_code(x, codebook, returns=("counts",), backend=backend)
    assert counted.sums is None
    assert counted.counts.sum() == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batch(backend: str, device: torch.device) -> None:
    found = nearest_code(
        torch.empty(0, 3, device=device), torch.randn(5, 3, device=device), returns=ALL, backend=backend
    )
    assert [tuple(part.shape) for part in found] == [(0,), (0,), (0, 3), (5,), (5, 3)]
    assert found.counts.sum() == 0
    assert found.sums.abs().sum() == 0


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_first_and_second_derivatives(backend: str) -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    codebook = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)

    def outputs(x: torch.Tensor, codebook: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = nearest_code(x, codebook, returns=("distance", "code"), backend=backend)
        return found.distance, found.code

    assert torch.autograd.gradcheck(outputs, (x, codebook))
    assert torch.autograd.gradgradcheck(outputs, (x, codebook))


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_gradients_match_the_reference(backend: str, device: torch.device) -> None:
    base_x, base_codes = torch.randn(30, 8, device=device), torch.randn(9, 8, device=device)
    weight = torch.randn(30, device=device)
    gradients = []
    for name in ("reference", backend):
        x, codebook = base_x.clone().requires_grad_(), base_codes.clone().requires_grad_()
        found = nearest_code(x, codebook, returns=("distance", "code"), backend=name)
        ((found.distance * weight).sum() + found.code.square().sum()).backward()
        gradients.append((x.grad, codebook.grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not nearest_code(x, codebook, backend=backend).index.requires_grad


def test_gradient_keeps_the_dtype_of_its_input() -> None:
    x = torch.randn(6, 4, dtype=torch.bfloat16, requires_grad=True)
    codebook = torch.randn(5, 4, requires_grad=True)
    nearest_code(x, codebook).distance.sum().backward()
    assert (x.grad.dtype, codebook.grad.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_prepared_gives_the_same_answer(backend: str, device: torch.device) -> None:
    x, codebook = torch.randn(20, 8, device=device), torch.randn(30, 8, device=device, requires_grad=True)
    bias = torch.rand(30, device=device)
    prepared = prepare_codebook(codebook, bias, backend=backend)
    found = nearest_code(x, codebook, bias=bias, prepared=prepared)
    direct = nearest_code(x, codebook, bias=bias, backend=backend)
    assert prepared.implementation == backend
    assert torch.equal(found.index, direct.index)
    assert torch.equal(found.distance, direct.distance)
    found.distance.sum().backward()
    assert codebook.grad.abs().sum() > 0


def test_stale_prepared_codebook_raises() -> None:
    x, codebook, bias = torch.randn(5, 4), torch.randn(6, 4), torch.rand(6)
    prepared = prepare_codebook(codebook, bias)
    nearest_code(x, codebook, bias=bias, prepared=prepared)
    with pytest.raises(ValueError, match="made from another codebook"):
        nearest_code(x, codebook.clone(), bias=bias, prepared=prepared)
    with pytest.raises(ValueError, match="made from another bias"):
        nearest_code(x, codebook, prepared=prepared)
    bias.mul_(2)
    with pytest.raises(ValueError, match="the bias was changed in place"):
        nearest_code(x, codebook, bias=bias, prepared=prepared)
    prepared = prepare_codebook(codebook)
    codebook[0] += 1
    with pytest.raises(ValueError, match="stale: the codebook was changed in place since; call prepare_codebook"):
        nearest_code(x, codebook, prepared=prepared)
    with pytest.raises(ValueError, match="prepared for backend 'compiled' and the call asks for 'reference'"):
        nearest_code(x, codebook, prepared=prepare_codebook(codebook), backend="reference")
    with torch.inference_mode():
        unversioned = torch.randn(6, 4)
    with pytest.raises(ValueError, match="inference tensor"):
        prepare_codebook(unversioned)
    assert nearest_code(x, unversioned).index.shape == (5,)


@pytest.mark.parametrize("implementation", BACKENDS)
def test_opcheck(implementation: str, device: torch.device) -> None:
    x = torch.randn(2, 6, 4, device=device, requires_grad=True)
    codebook = torch.randn(2, 5, 4, device=device, requires_grad=True)
    torch.library.opcheck(registration._look_up, (x, codebook, None, [], "exact", implementation))
    if implementation != "reference":
        prepared = list(prepare_codebook(codebook, backend=implementation).tensors)
        torch.library.opcheck(registration._look_up, (x, codebook, None, prepared, "exact", implementation))
    index, defined = torch.zeros(2, 6, dtype=torch.int64, device=device), torch.ones(2, 6, dtype=bool, device=device)
    for with_sums in (False, True):
        arguments = (x.detach(), index, defined, 5, with_sums, True, implementation)
        torch.library.opcheck(registration._statistics, arguments)


def test_compiles_without_a_graph_break() -> None:
    x, codebook = torch.randn(12, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    prepared = prepare_codebook(codebook)

    def loss(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
        found = nearest_code(x, codebook, returns=ALL)
        again = nearest_code(x, codebook, prepared=prepared)
        return found.distance.sum() + found.code.sum() + found.sums.sum() + found.counts.sum() + again.distance.sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, codebook), loss(x, codebook))
    ours = torch.autograd.grad(compiled(x, codebook), (x, codebook))
    for one, other in zip(ours, torch.autograd.grad(loss(x, codebook), (x, codebook)), strict=True):
        torch.testing.assert_close(one, other)


def test_exports() -> None:
    class Quantiser(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codebook = torch.nn.Parameter(torch.randn(5, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nearest_code(x, self.codebook).index

    module, x = Quantiser(), torch.randn(6, 4)
    assert torch.equal(torch.export.export(module, (x,)).module()(x), module(x))


def test_reduced_precision_switches_do_not_reach_it() -> None:
    """A process may allow bfloat16 products for its networks; the index must not change, nor the switch."""
    x, codebook = torch.randn(500, 64), torch.randn(1000, 64)
    exact = nearest_code(x, codebook, backend="reference").index
    for allowed in ("high", "medium"):
        torch.set_float32_matmul_precision(allowed)
        try:
            assert torch.equal(nearest_code(x, codebook).index, exact)
            assert torch.get_float32_matmul_precision() == allowed
        finally:
            torch.set_float32_matmul_precision("highest")


BAD = {
    "no codes": ({"codebook": torch.randn(0, 4)}, r"\(0, 4\); expected \[K, D\]"),
    "no dimensions": ({"x": torch.randn(3, 0), "codebook": torch.randn(3, 0)}, "at least one code and one dimension"),
    "one axis": ({"codebook": torch.randn(4)}, r"codebook has shape \(4,\)"),
    "other D": ({"x": torch.randn(3, 5)}, r"x has shape \(3, 5\) and the codebook \(6, 4\)"),
    "other heads": ({"x": torch.randn(2, 3, 4), "codebook": torch.randn(3, 6, 4)}, r"\[H, N, D\] with \[H, K, D\]"),
    "no heads": ({"x": torch.randn(2, 3, 4)}, "expected"),
    "integer x": ({"x": torch.ones(3, 4, dtype=torch.int64)}, "x is torch.int64"),
    "integer codes": ({"codebook": torch.ones(6, 4, dtype=torch.int64)}, "codebook is torch.int64"),
    "float64 mixed": ({"x": torch.randn(3, 4).double()}, "float64 for both"),
    "bias shape": ({"bias": torch.randn(5)}, r"bias has shape \(5,\); expected one number a code, \(6,\)"),
    "bias dtype": ({"bias": torch.randn(6).double()}, "bias is float64"),
    "device": ({"x": torch.randn(3, 4, device="meta")}, "x is on meta and the codebook on cpu"),
    "returns": ({"returns": ("index", "distances")}, r"expected a tuple of names among"),
    "returns text": ({"returns": "sums"}, "expected a tuple"),
    "precision": ({"precision": "half"}, "'exact' or 'fast'"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_bad_input(name: str, backend: str) -> None:
    changed, message = BAD[name]
    arguments = {"x": torch.randn(3, 4), "codebook": torch.randn(6, 4), **changed}
    with pytest.raises(ValueError, match=message):
        nearest_code(arguments.pop("x"), arguments.pop("codebook"), **arguments, backend=backend)
