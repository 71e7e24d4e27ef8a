"""The ahead-of-time gate: every kernel compiles for sm_80 and sm_90 within its stored budget; and the gate can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("triton")

from gencore_kernels import aot

BUDGETS = Path(__file__).parent / "aot_budgets.json"
CASE = aot.KernelCase(name="example", kernel=None, signature={}, tensor_core="HGMMA", work=1.0)
GOOD = aot.Measurement(
    registers=100, spills=0, shared=1000, tensor_core=4, instructions=500, loop_instructions=200, per_unit=200.0
)
BUDGET = {"registers": 100, "shared": 1000, "instructions": 500, "loop_instructions": 200}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_kernel_keeps_its_budget() -> None:
    """In a process of its own, because nothing compiles under the interpreter that the other tests run in."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "gencore_kernels.aot", "--check", str(BUDGETS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" sm_80 ") >= 20
    assert done.stdout.count(" sm_90 ") >= 20


def test_every_operation_lists_kernels() -> None:
    homes = {name.split(".")[1] for name in aot.providers()}
    assert homes == {
        "bias_activation",
        "diffusion_step",
        "minibatch_discrimination",
        "minibatch_stddev",
        "nearest_code",
        "upfirdn2d",
    }


def test_budgets_cover_every_row_and_nothing_else() -> None:
    rows = {aot.row_name(case, architecture) for case in aot.collect() for architecture in case.architectures}
    for version, stored in json.loads(BUDGETS.read_text()).items():
        assert set(stored) == rows, f"triton {version}: run python -m gencore_kernels.aot --write {BUDGETS.name}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spills": 2}, "2 spill instructions"),
        ({"tensor_core": 0}, "no HGMMA"),
        ({"registers": 101}, "registers 101 over the budget of 100"),
        ({"shared": 1001}, "shared 1001"),
        ({"instructions": 551}, "instructions 551"),
        ({"loop_instructions": 179}, "loop_instructions 179"),
    ],
)
def test_gate_reports(change: dict[str, int], message: str) -> None:
    assert aot.violations(CASE, GOOD, BUDGET) == []
    found = aot.violations(CASE, replace(GOOD, **change), BUDGET)
    assert len(found) == 1
    assert message in found[0]


def test_without_a_budget_spills_still_fail() -> None:
    assert aot.violations(CASE, replace(GOOD, registers=255), None) == []
    assert aot.violations(CASE, replace(GOOD, spills=1), None) == ["1 spill instructions"]


LISTING = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   HGMMA.64x64x16.F32 R24, gdesc[UR4], R24 ;
        /*0020*/                   FMNMX R3, R3, R24, PT ;
        /*0030*/               @P0 BRA 0x10 ;
        /*0040*/                   FFMA R1, R1, R2, R3 ;
        /*0050*/              @!P1 BRA 0x0 ;
        /*0060*/                   EXIT ;
        /*0070*/                   BRA 0x70;
"""


def test_machine_code_is_read_right() -> None:
    instructions = aot.parse_instructions(LISTING)
    assert [opcode for _, opcode, _ in instructions][:3] == ["MOV", "HGMMA.64x64x16.F32", "FMNMX"]
    assert aot.hottest_loop(instructions) == {"HGMMA": 1, "FMNMX": 1, "BRA": 1}


def test_budget_file_keeps_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "budgets.json"
    aot.store_budgets(path, {"one": GOOD})
    aot.store_budgets(path, {"two": replace(GOOD, registers=7)})
    stored = aot.load_budgets(path)
    assert stored["one"]["registers"] == 100
    assert stored["two"]["registers"] == 7
