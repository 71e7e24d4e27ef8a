"""Ahead-of-time gate: every kernel and configuration compiled for sm_80 and sm_90 on a machine without a GPU.

`python -m gencore_kernels.aot` prints registers, spill instructions, shared memory and instruction counts read from
the machine code; `--write FILE` stores them as budgets, `--check FILE` compares. An operation adds rows by a module
`gencore_kernels/<operation>/aot_cases.py` with a function `aot_cases() -> Iterable[KernelCase]`.
The tools (ptxas, cuobjdump, nvdisasm) are those inside the triton wheel; no CUDA toolkit is needed.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gencore_kernels.dispatch import interpreting

ARCHITECTURES = (80, 90)
TOLERANCE = 0.10
_INSTRUCTION = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+(?:x[0-9A-Za-z_.]+)?)(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCase:
    """One kernel with one pinned configuration.

    name: the row's label; the architecture is appended, and the
    two together are unique. kernel: a `triton.jit` function. signature: the Triton
    type ("*fp32", "i32", "fp32", ...) of every argument that is not a constant. constants: the constexpr arguments.
    divisible_by_16: integer arguments that are multiples of 16 (pointers are taken to be aligned). tensor_core: the
    matrix instruction that the machine code must contain ("HMMA", "HGMMA"; "" for none). work: scores, pairs or
    elements that one thread handles in one turn of the hottest loop (0: no loop worth counting); it turns loop
    instructions into instructions per unit of work.
    """

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    num_warps: int = 4
    num_stages: int = 3
    divisible_by_16: tuple[str, ...] = ()
    tensor_core: str = ""
    work: float = 0.0
    architectures: tuple[int, ...] = ARCHITECTURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the machine code of one case needs. Register counts are per thread, shared memory in bytes per block."""

    registers: int
    spills: int
    shared: int
    tensor_core: int
    instructions: int
    loop_instructions: int
    per_unit: float


def providers() -> Iterator[str]:
    """Names of the modules that list kernels: `gencore_kernels.<operation>.aot_cases`."""
    package = importlib.import_module("gencore_kernels")
    for module in pkgutil.iter_modules(package.__path__, "gencore_kernels."):
        if module.ispkg and importlib.util.find_spec(f"{module.name}.aot_cases") is not None:
            yield f"{module.name}.aot_cases"


def collect(only: str = "") -> list[KernelCase]:
    """All cases whose provider's or own name contains `only`, in order. Raises ValueError on a repeated row."""
    cases = [
        case
        for provider in providers()
        for case in importlib.import_module(provider).aot_cases()
        if only in provider or only in case.name
    ]
    rows = collections.Counter(row_name(case, architecture) for case in cases for architecture in case.architectures)
    repeated = [name for name, count in rows.items() if count > 1]
    if repeated:
        raise ValueError(f"kernel cases share a row: {repeated}")
    return cases


def row_name(case: KernelCase, architecture: int) -> str:
    """The key of a row in the table and in the budget file."""
    return f"{case.name} sm_{architecture}"


def compile_case(case: KernelCase, architecture: int) -> Any:
    """Compiles one case for one architecture; returns triton's compiled kernel. ValueError under the interpreter."""
    if interpreting():
        raise ValueError("TRITON_INTERPRET is set, under which triton compiles nothing; unset it")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as triton_compile

    names = list(case.kernel.arg_names)
    missing = [name for name in names if name not in case.constants and name not in case.signature]
    if missing:
        raise ValueError(f"{case.name}: no type for argument(s) {missing}")
    signature = {name: "constexpr" if name in case.constants else case.signature[name] for name in names}
    aligned = {
        (position,): [["tt.divisibility", 16]]
        for position, name in enumerate(names)
        if name not in case.constants and (signature[name].startswith("*") or name in case.divisible_by_16)
    }
    source = ASTSource(fn=case.kernel, signature=signature, constexprs=dict(case.constants), attrs=aligned)
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages, "enable_fp_fusion": True}
    return triton_compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def _tool(name: str, *arguments: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"this triton has no {name} at {path}; the ahead-of-time gate needs the Linux wheel")
    return subprocess.run([str(path), *arguments], capture_output=True, text=True, check=True).stdout


def disassemble(cubin: bytes) -> tuple[str, str]:
    """(resource usage, machine code listing) of a cubin."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return _tool("cuobjdump", "-res-usage", file.name), _tool("cuobjdump", "-sass", file.name)


def parse_instructions(listing: str) -> list[tuple[int, str, str]]:
    """(address, opcode, operands) of every instruction of a listing, in order."""
    found = (_INSTRUCTION.match(line) for line in listing.splitlines())
    return [(int(match[1], 16), match[2], match[3].strip()) for match in found if match]


def hottest_loop(instructions: list[tuple[int, str, str]]) -> collections.Counter[str]:
    """Opcode counts of the loop with most tensor-core (else float multiply-add) instructions, smallest first.

    A loop is a backward branch; the branch to itself that ends every kernel is none.
    """
    best: tuple[tuple[int, int], collections.Counter[str]] = ((-1, 0), collections.Counter())
    for address, opcode, operands in instructions:
        target = re.search(r"0x([0-9a-f]+)", operands) if opcode.startswith("BRA") else None
        if target is None or int(target[1], 16) >= address:
            continue
        start = int(target[1], 16)
        counts = collections.Counter(op.split(".")[0] for at, op, _ in instructions if start <= at <= address)
        heavy = counts["HGMMA"] + counts["HMMA"] or counts["DFMA"] or counts["FFMA"] + counts["FADD"]
        best = max(best, ((heavy, -counts.total()), counts), key=lambda entry: entry[0])
    return best[1]


def measure(case: KernelCase, architecture: int) -> Measurement:
    """Compiles a case and reads its budget from the machine code."""
    compiled = compile_case(case, architecture)
    usage, listing = disassemble(compiled.asm["cubin"])
    instructions = parse_instructions(listing)
    registers = re.search(r"REG:(\d+)", usage)
    assert registers is not None, f"no machine code was listed for {case.name}"
    opcodes = collections.Counter(opcode.split(".")[0] for _, opcode, _ in instructions)
    loop = hottest_loop(instructions).total() if case.work else 0
    return Measurement(
        registers=int(registers[1]),
        spills=opcodes["STL"] + opcodes["LDL"],
        shared=compiled.metadata.shared,
        tensor_core=opcodes[case.tensor_core] if case.tensor_core else opcodes["HMMA"] + opcodes["HGMMA"],
        instructions=len(instructions) - opcodes["NOP"],
        loop_instructions=loop,
        per_unit=round(loop / case.work, 3) if case.work else 0.0,
    )


def violations(case: KernelCase, measured: Measurement, budget: Mapping[str, float] | None) -> list[str]:
    """What is wrong with a measurement: spills, missing tensor cores, and (where a budget is stored) growth.

    Registers and shared memory are ceilings; instruction counts may move by 10 % either way, so that an improvement is
    written down too.
    """
    found = [f"{measured.spills} spill instructions"] if measured.spills else []
    if case.tensor_core and not measured.tensor_core:
        found.append(f"no {case.tensor_core} in the machine code")
    if budget is None:
        return found
    for name in ("registers", "shared"):
        value = getattr(measured, name)
        if value > budget[name]:
            found.append(f"{name} {value} over the budget of {budget[name]}")
    for name in ("instructions", "loop_instructions"):
        value = getattr(measured, name)
        if abs(value - budget[name]) > TOLERANCE * budget[name]:
            found.append(f"{name} {value} is more than 10 % away from {budget[name]}")
    return found


def measure_all(
    only: str = "", architectures: Iterable[int] = ARCHITECTURES
) -> Iterator[tuple[str, KernelCase, Measurement]]:
    """(row name, case, measurement) of every case and architecture."""
    for case in collect(only):
        for architecture in architectures:
            if architecture in case.architectures:
                yield row_name(case, architecture), case, measure(case, architecture)


def load_budgets(path: Path) -> dict[str, dict[str, float]]:
    """Budgets stored for the installed triton version; empty when none are. Format: {version: {row: numbers}}."""
    import triton

    return json.loads(path.read_text()).get(triton.__version__, {}) if path.exists() else {}


def store_budgets(path: Path, rows: Mapping[str, Measurement]) -> None:
    """Adds or replaces `rows` under the installed triton version; rows of other names and versions stay."""
    import triton

    stored = json.loads(path.read_text()) if path.exists() else {}
    kept = stored.get(triton.__version__, {})
    stored[triton.__version__] = dict(sorted({**kept, **{name: asdict(row) for name, row in rows.items()}}.items()))
    path.write_text(json.dumps(stored, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns 1 when a row breaks its budget."""
    parser = argparse.ArgumentParser(prog="python -m gencore_kernels.aot", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose operation or name contains this text")
    parser.add_argument("--check", type=Path, help="compare with the budgets in this JSON file")
    parser.add_argument("--write", type=Path, help="store the measured numbers as budgets in this JSON file")
    options = parser.parse_args(arguments)
    budgets = load_budgets(options.check) if options.check else {}
    rows, failures = {}, 0
    print(f"{'kernel':<52} {'regs':>5} {'spill':>5} {'smem':>7} {'MMA':>4} {'instr':>6} {'loop':>5} {'per unit':>8}")
    for name, case, row in measure_all(options.only):
        rows[name] = row
        print(
            f"{name:<52} {row.registers:>5} {row.spills:>5} {row.shared:>7} {row.tensor_core:>4} {row.instructions:>6} "
            f"{row.loop_instructions:>5} {row.per_unit:>8.2f}",
            flush=True,
        )
        for problem in violations(case, row, budgets.get(name)):
            failures += 1
            print(f"    {problem}")
    if options.write:
        store_budgets(options.write, rows)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
