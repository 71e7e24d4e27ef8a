"""Who serves a call: explicit backends never fall back, "auto" says why."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import gencore_kernels
from gencore_kernels import BackendUnavailableError, dispatch, explain, nearest_code, registered_operations, use_backend

X, CODES = torch.randn(5, 4), torch.randn(3, 4)
NAMES = [
    *("bias_activation", "diffusion_step", "minibatch_discrimination", "minibatch_stddev"),
    *("nearest_code", "quantile_abs", "upfirdn2d"),
]


def test_every_operation_is_registered_and_exported() -> None:
    assert sorted(operation.name for operation in registered_operations()) == NAMES
    for operation in registered_operations():
        assert callable(getattr(gencore_kernels, operation.name))
        assert operation.gradient_order in (0, 1, 2)


def test_auto_takes_cpp_on_cpu_and_says_why() -> None:
    for operation in ("nearest_code", nearest_code):
        explanation = explain(operation, X, CODES)
        assert explanation.implementation == "compiled"
        assert "C++ for the CPU" in explanation.reason


def test_auto_takes_torch_where_cpp_cannot_serve() -> None:
    explanation = explain(nearest_code, X.double(), CODES.double())
    assert explanation.implementation == "torch"
    assert "takes float16, bfloat16, float32 on the CPU, not float64" in explanation.reason
    assert explain(nearest_code, X.to("meta"), CODES.to("meta")).implementation == "torch"


@pytest.mark.parametrize("name", ["reference", "torch", "triton"])
def test_explicit_backend_is_what_runs(name: str) -> None:
    assert explain(nearest_code, X, CODES, backend=name).implementation == name


def test_context_manager_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCORE_KERNELS", "reference")
    assert explain(nearest_code, X, CODES).implementation == "reference"
    with use_backend("torch"):
        assert explain(nearest_code, X, CODES).implementation == "torch"
        with use_backend("reference"):
            assert explain(nearest_code, X, CODES).implementation == "reference"
        assert explain(nearest_code, X, CODES, backend="triton").implementation == "triton"
    monkeypatch.setenv("GENCORE_KERNELS", "cuda")
    with pytest.raises(ValueError, match="GENCORE_KERNELS is 'cuda'; expected one of 'auto'"):
        nearest_code(X, CODES)


def test_context_manager_restores_after_an_error() -> None:
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert explain(nearest_code, X, CODES).implementation == "compiled"


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        nearest_code(X, CODES, backend="cuda")
    with pytest.raises(ValueError, match="backend is 'gpu'"), use_backend("gpu"):
        pass
    with pytest.raises(ValueError, match="no operation 'nearest'; known: bias_activation, diffusion_step"):
        explain("nearest", X)


def test_explicit_triton_raises_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailableError, match="float16, bfloat16, float32, not float64"):
        nearest_code(X.double(), CODES.double(), backend="triton")
    with pytest.raises(BackendUnavailableError, match="at most 512 dimensions, not 513"):
        nearest_code(torch.randn(2, 513), torch.randn(3, 513), backend="triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(BackendUnavailableError, match="need CUDA"):
        nearest_code(X, CODES, backend="triton")
    monkeypatch.setattr(dispatch, "_find_triton", lambda: False)
    with pytest.raises(BackendUnavailableError, match="triton is not installed"):
        nearest_code(X, CODES, backend="triton")


def test_the_default_that_cannot_run_raises_too() -> None:
    with use_backend("triton"), pytest.raises(BackendUnavailableError, match="set by use_backend or GENCORE_KERNELS"):
        nearest_code(X.double(), CODES.double())


def test_old_gpus_and_missing_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen through a tensor that only says it is on CUDA: no GPU here."""

    class OnCuda(torch.Tensor):
        @property
        def device(self) -> torch.device:
            return torch.device("cuda", 0)

    x = torch.randn(3, 4).as_subclass(OnCuda)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(dispatch, "_capability", lambda index: (7, 5))
    assert "compute capability 7.5" in explain(nearest_code, x, x).reason
    monkeypatch.setattr(dispatch, "_capability", lambda index: (9, 0))
    assert explain(nearest_code, x, x).implementation == "triton"
    monkeypatch.setattr(dispatch, "_find_triton", lambda: False)
    dispatch._warn_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="triton is not installed"):
        assert explain(nearest_code, x, x).implementation == "torch"
    explain(nearest_code, x, x)  # a second warning would be an error: pytest.warns has closed, and warn_once has spoken


def test_import_and_run_without_triton_and_gencore() -> None:
    """A fresh process in which `import triton` fails: the package imports, runs, and pulls in nothing of gencore."""
    program = """
import sys
sys.modules["triton"] = None
import torch, gencore_kernels
assert not [name for name in sys.modules if name == "gencore" or name.startswith("gencore.")]
found = gencore_kernels.nearest_code(torch.eye(3), torch.eye(3).flip(0), returns=("distance", "counts", "sums"))
assert found.index.tolist() == [2, 1, 0] and found.counts.tolist() == [1, 1, 1]
gencore_kernels.minibatch_stddev(torch.randn(4, 3, 2, 2))
gencore_kernels.minibatch_discrimination(torch.randn(4, 3, 2))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_importing_does_not_import_triton() -> None:
    program = "import sys, gencore_kernels; sys.exit('triton' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
