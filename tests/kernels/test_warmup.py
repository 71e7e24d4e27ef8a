"""The warm-up runs what it names, on the machine at hand, and says so where there is nothing to compile."""

from __future__ import annotations

import importlib

import pytest
import torch

from gencore_kernels import dispatch, warmup


@pytest.mark.parametrize(("operation", "count"), [("diffusion_step", 16), ("minibatch_stddev", 2)])
def test_operations_run_a_call_for_each_configuration(operation: str, count: int, device: torch.device) -> None:
    lines = list(importlib.import_module(f"gencore_kernels.{operation}.aot_cases").warm_up(device))
    assert len(set(lines)) == count
    assert all(line.startswith(operation) for line in lines)


def test_it_runs_those_of_every_operation(monkeypatch, capsys, device: torch.device) -> None:
    kept = [name for name in warmup.providers() if "minibatch" in name]
    assert len(kept) == 2
    monkeypatch.setattr(warmup, "providers", lambda: kept)
    assert warmup.main(["--device", device.type]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0].rstrip(":") for line in lines} == {"minibatch_discrimination", "minibatch_stddev"}


def test_nothing_to_compile_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setattr(dispatch, "interpreting", lambda: False)
    assert warmup.main(["--device", "cpu"]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "triton kernels need CUDA" in told.err
    assert "built at installation" in told.err
