"""The warm-up runs what it names, on the machine at hand, and says so where there is nothing to compile."""

from __future__ import annotations

import importlib

import pytest
import torch

from gencore_kernels import dispatch, warmup
from gencore_kernels.diffusion_step import compiled_path as step
from gencore_kernels.minibatch_discrimination import compiled_path as pairs
from gencore_kernels.nearest_code import compiled_path as search


def test_a_cpu_gets_its_cpp_kernels(monkeypatch, capsys) -> None:
    monkeypatch.setattr(dispatch, "interpreting", lambda: False)
    for path in (step, pairs, search):
        path.functions.cache_clear()
    assert warmup.main(["--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "diffusion_step: step.cpp",
        "minibatch_discrimination: pairs.cpp",
        "nearest_code: search.cpp",
    ]
    for path in (step, pairs, search):
        assert path.functions.cache_info().currsize == 1


@pytest.mark.parametrize(("operation", "count"), [("diffusion_step", 16), ("minibatch_stddev", 2)])
def test_operations_run_a_call_for_each_configuration(operation: str, count: int, device: torch.device) -> None:
    lines = list(importlib.import_module(f"gencore_kernels.{operation}.aot_cases").warm_up(device))
    assert len(set(lines)) == count
    assert all(line.startswith(operation) for line in lines)


def test_nothing_to_compile_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setattr(dispatch, "triton_installed", lambda: False)
    monkeypatch.setattr(dispatch, "_find_missing_compiler", lambda: "there is no C++ compiler on this machine")
    assert warmup.main(["--device", "cpu"]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "triton is not installed" in told.err
    assert "no C++ compiler" in told.err
