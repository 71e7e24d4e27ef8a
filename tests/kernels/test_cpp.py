"""The C++ kernels as an install builds them: without torch, without a compiler, for each instruction set; threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from gencore_kernels import building, cpp, explain, minibatch_discrimination, minibatch_stddev, nearest_code

ROOT = Path(__file__).parents[2]
CAPABILITY = {"avx512": "avx512", "avx2": "avx2", "baseline": "default"}  # ATEN_CPU_CAPABILITY
# setup.py in a process in which `import torch` fails.
SETUP = "import sys, runpy; sys.modules['torch'] = None; sys.argv[0] = 'setup.py'; runpy.run_path('setup.py')"
HOLDS_TO_THE_REFERENCE = """
import sys, torch
from gencore_kernels import *
from gencore_kernels import cpp
torch.set_num_threads(1)
torch.manual_seed(0)
assert cpp.found().used == sys.argv[1], cpp.found()
codes = torch.randn(300, 37)
codes = torch.cat([codes, codes[:50], codes + 1e-6 * torch.randn_like(codes)])
x = torch.cat([codes[:200], torch.randn(200, 37)])
both = [nearest_code(x, codes, backend=backend) for backend in ("compiled", "reference")]
assert torch.equal(both[0].index, both[1].index)
torch.testing.assert_close(both[0].distance, both[1].distance)
m, images, rows = torch.randn(70, 3, 5), torch.randn(8, 6, 7, 5), torch.randn(4, 2, 3, 7, 11)
table = step_table(torch.linspace(0.99, 0.01, 20, dtype=torch.float64), [15, 10, 5], eta=1.0, clip=1.0)

def results(backend, dtype):
    def with_gradient(function, tensor):
        leaf = tensor.to(dtype, copy=True).requires_grad_()
        value = function(leaf)
        return value, torch.autograd.grad(value.square().sum(), leaf)[0]
    yield from with_gradient(lambda m: minibatch_discrimination(m, backend=backend), m)
    yield from with_gradient(lambda x: minibatch_stddev(x, 4, 2, 1e-2, backend=backend), images)
    for threshold in (None, 0.9):
        x, out, uncond, noise = rows.to(dtype)
        options = {"uncond": uncond, "noise": noise, "threshold": threshold, "backend": backend}
        yield diffusion_step(x, out, table, 1, **options)

for actual, exact in zip(results("compiled", torch.float32), results("reference", torch.float64), strict=True):
    torch.testing.assert_close(actual.double(), exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())
assert torch.equal(quantile_abs(images, 0.3, backend="compiled"), quantile_abs(images, 0.3, backend="reference"))
"""


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    options = ["build_ext", "--build-lib", str(folder / "lib"), "--build-temp", str(folder / "objects")]
    return subprocess.run(
        [sys.executable, "-c", SETUP, *options],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_install_builds_them_without_torch(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr, built.stderr
    found = cpp.libraries(tmp_path / "lib" / "gencore_kernels")
    assert found.built == tuple(building.instruction_sets())
    assert found.obstacle is None
    assert (found.used == "baseline") == (len(found.built) == 1 or torch.backends.cpu.get_cpu_capability() == "DEFAULT")


def test_an_install_without_a_compiler_succeeds_and_torch_serves(tmp_path: Path, monkeypatch) -> None:
    built = build(tmp_path, CC="false", CXX="false")
    assert built.returncode == 0, built.stderr
    found = cpp.libraries(tmp_path / "lib" / "gencore_kernels")
    assert found.built == ()
    assert "install g++ or clang" in found.obstacle
    monkeypatch.setattr(cpp, "found", lambda: found)
    x, codes = torch.randn(5, 4), torch.randn(3, 4)
    served = explain(nearest_code, x, codes)
    assert served.implementation == "torch"
    assert found.obstacle in served.reason
    assert torch.equal(nearest_code(x, codes).index, nearest_code(x, codes, backend="reference").index)
    assert minibatch_stddev(torch.randn(4, 3, 2, 2)).shape == (4, 4, 2, 2)
    assert minibatch_discrimination(torch.randn(4, 3, 2)).shape == (4, 3)


def test_libraries_of_other_sources_are_not_loaded(tmp_path: Path) -> None:
    name = building.library_name("baseline", "0" * 12)
    (tmp_path / f"{name}.so").touch()
    found = cpp.libraries(tmp_path)
    assert found.used is None
    assert "built from other sources" in found.obstacle


def test_another_kind_of_processor_has_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert cpp.libraries(tmp_path).obstacle == "there are no C++ kernels for this kind of processor"


def test_the_digest_follows_every_source(tmp_path: Path, monkeypatch) -> None:
    for path in (*building.sources(), *building.headers()):
        copy = tmp_path / path.relative_to(building.FOLDER)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    expected = building.digest()
    monkeypatch.setattr(building, "FOLDER", tmp_path)
    copies = [*building.sources(), *building.headers()]
    assert len(copies) == 5
    assert building.digest() == expected
    digests = {expected}
    for path in copies:
        path.write_bytes(path.read_bytes() + b"\n")
        digests.add(building.digest())
    assert len(digests) == 1 + len(copies)


@pytest.mark.parametrize("instruction_set", list(building.instruction_sets()))
def test_every_instruction_set_holds_to_the_reference(instruction_set: str) -> None:
    if instruction_set not in cpp._executable(tuple(building.instruction_sets())):
        pytest.skip(f"this processor has no {instruction_set}")
    capability = CAPABILITY[instruction_set]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HOLDS_TO_THE_REFERENCE, instruction_set],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("units", [0, 1, 7, 64, 65])
@pytest.mark.parametrize("grain", [1, 3, 64])
def test_parts_cover_all_units_once_in_whole_grains(units: int, grain: int, threads: int, monkeypatch) -> None:
    parts: list[tuple[int, int]] = []
    names = set()

    def kernel(begin: int, end: int) -> None:
        parts.append((begin, end))
        names.add(threading.current_thread().name)

    monkeypatch.setattr(cpp, "_function", lambda name: kernel)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    cpp.run("kernel", units=units, grain=grain)
    covered = [unit for begin, end in sorted(parts) for unit in range(begin, end)]
    assert covered == list(range(units))
    assert len(parts) <= threads
    assert all(begin % grain == 0 for begin, _ in parts)
    assert threading.current_thread().name in names


def test_a_forked_process_has_threads_of_its_own() -> None:
    program = """
import os, torch
from gencore_kernels import cpp, quantile_abs
x = torch.randn(8, 4000)  # too little for threads of torch's own, which do not outlive a fork
torch.set_num_threads(2)
expected = quantile_abs(x, 0.9)
assert cpp._pool.cache_info().currsize == 1
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(quantile_abs(x, 0.9), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)
