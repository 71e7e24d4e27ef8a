"""The benchmark harness: contestants of one case run in turn in one process, on one thread, by process CPU time, or on
a GPU by its own clock.

A suite calls the fixture `race` once a case. It first runs the operation's own tests (once a session and operation),
then measures each contestant's error and peak extra memory, then times all of them interleaved, and adds a row to
bench/results/<machine>.json. Rows of other cases in that file stay. bench/README.md says how to write a suite.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import ctypes
import functools
import gc
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt, from glibc's malloc.h


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench")
    group.addoption("--bench-rounds", type=int, default=9, help="interleaved rounds a case; the best one counts")
    group.addoption("--bench-output", type=Path, default=None, help="result file; default bench/results/<machine>.json")
    group.addoption("--bench-skip-tests", action="store_true", help="rows then say so, and the report shows no ratio")


def command(*arguments: str) -> str:
    """Standard output of a command, stripped; empty when it fails."""
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def processor() -> str:
    """Its name, with family and model where Linux tells them: cloud machines of several generations share a name."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = [re.search(rf"^{key}\s*: (.+)$", info, re.MULTILINE) for key in ("model name", "cpu family", "model")]
    if not all(found):
        return platform.processor() or platform.machine()
    return "{}, family {}, model {}".format(*(match[1] for match in found))


def machine() -> dict[str, str]:
    """What the numbers depend on."""

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    return {
        "cpu": f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, 1 thread",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none: nothing was timed on a GPU",
        **{name: installed(name) for name in ("torch", "triton", "diffusers", "faiss-cpu", "vector-quantize-pytorch")},
        "python": platform.python_version(),
        "commit": command("git", "rev-parse", "--short", "HEAD") or "none",
        "date": date.today().isoformat(),
    }


class HeapInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(f"count_{i}", ctypes.c_size_t) for i in range(8)] + [
        ("free", ctypes.c_size_t),
        ("top", ctypes.c_size_t),
    ]


def plug_holes(libc: ctypes.CDLL, size: int) -> list[ctypes.c_void_p]:
    """Blocks of `size` bytes, never written to, for as much of the heap as is free; none before glibc 2.33, which does
    not tell. To be freed by the caller."""
    if not hasattr(libc, "mallinfo2"):
        return []
    libc.malloc.argtypes, libc.malloc.restype, libc.free.argtypes = (
        [ctypes.c_size_t],
        ctypes.c_void_p,
        [ctypes.c_void_p],
    )
    libc.mallinfo2.restype = HeapInfo
    return [libc.malloc(size) for _ in range(libc.mallinfo2().free // size)]


def peak_extra_memory(run: Callable[[], Any]) -> int | None:
    """Bytes by which a second run raises the resident set, results included; None where the kernel does not tell.

    Free heap is given back and the high-water mark reset first, so that no earlier contestant's memory hides this one.
    Meanwhile glibc maps each block of 128 kB or more by itself and gives it back when it is freed, and the holes that
    earlier contestants left in the heap are plugged: what a contestant holds is measured, not how its blocks lie.
    """
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 17)
    run()
    gc.collect()
    plugs = plug_holes(libc, (1 << 17) - 64)
    libc.malloc_trim(0)
    reset.write_text("5")  # Linux: sets VmHWM back to the present resident set
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    kept = run()
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    del kept
    for plug in plugs:
        libc.free(plug)
    # What glibc itself comes to in a process that has made and freed large tensors: their pages are kept.
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)
    libc.mallopt(M_TRIM_THRESHOLD, 1 << 26)
    return None if peak is None else max(0, int(peak[1]) * 1024 - before)


def peak_extra_gpu_memory(run: Callable[[], Any]) -> int:
    """Bytes of the GPU by which a second run raises what torch has given out, results included."""
    run()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = run()
    torch.cuda.synchronize()
    del kept
    return torch.cuda.max_memory_allocated() - before


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Of this process, whatever else the machine does."""
    start = time.process_time()
    run()
    return time.process_time() - start


@functools.cache
def larger_than_any_cache() -> torch.Tensor:
    return torch.empty(1 << 28, dtype=torch.uint8, device="cuda")


def gpu_seconds(run: Callable[[], Any]) -> float:
    """Between two events of the stream, with none of the inputs in the cache."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    larger_than_any_cache().zero_()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


class Results:
    """Rows of this session, and the verdict of each operation's tests."""

    def __init__(self, skip_tests: bool) -> None:
        self.rows: list[Row] = []
        self.growth: list[Row] = []
        self.skip_tests = skip_tests
        self.verdicts: dict[tuple[str, bool], str] = {}

    def verdict(self, tests: str, on_gpu: bool) -> str:
        """Runs the tests in this folder, once, where the contestants run. Fails the benchmark if one fails: a wrong
        kernel has no speed."""
        if self.skip_tests:
            return "not run"
        if (tests, on_gpu) not in self.verdicts:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "kernels"), *sys.path])}
            if on_gpu:
                environment |= {"GENCORE_TEST_GPU": "1", "TRITON_INTERPRET": "0"}
            run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]
            done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.fail(f"{tests} does not pass, so no speed is reported:\n{done.stdout[-2000:]}", pytrace=False)
            changed = command("git", "status", "--porcelain", "--", tests)
            self.verdicts[tests, on_gpu] = "passed, with uncommitted changes" if changed else "passed"
        return self.verdicts[tests, on_gpu]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results(config.getoption("--bench-skip-tests"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    rows, growth = session.config.stash[RESULTS].rows, session.config.stash[RESULTS].growth
    if not rows and not growth:
        return
    about = machine()
    name = re.sub(r"[^a-z0-9]+", "-", (processor() if about["gpu"].startswith("none") else about["gpu"]).lower())
    path = session.config.getoption("--bench-output") or ROOT / "bench" / "results" / f"{name.strip('-')}.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    merged = {
        "rows": merge(stored.get("rows", []), rows, ("operation", "case")),
        "growth": merge(stored.get("growth", []), growth, ("path", "over")),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": about, **merged}, indent=1) + "\n")
    print(f"\n{len(rows) + len(growth)} rows written to {path}")


def merge(stored: list[Row], rows: list[Row], key: tuple[str, str]) -> list[Row]:
    """Stored rows, with new ones in the place of those of the same key, in order."""
    found = {tuple(row[name] for name in key): row for row in stored + rows}
    return [found[place] for place in sorted(found)]


RESULTS: pytest.StashKey[Results] = pytest.StashKey()
Race = Callable[..., Row]


@pytest.fixture(autouse=True)
def compiled_anew() -> None:
    """torch.compile forgets other cases: of closures of the same lines it would make one for shapes of any size, which
    is slower, or wrong."""
    torch.compiler.reset()


@pytest.fixture
def race(request: pytest.FixtureRequest, benchmark: Any) -> Race:
    """race(operation, case, contestants, error=..., error_unit=..., tests=..., on_gpu=...) -> the row.

    contestants: name -> function of no arguments; the first is ours. error: result of a contestant -> number, against
    float64. tests: the folder that must pass first, default tests/kernels/<operation>. on_gpu: their tensors are there.
    """
    results = request.config.stash[RESULTS]

    def run(
        operation: str,
        case: str,
        contestants: Mapping[str, Callable[[], Any]],
        *,
        error: Callable[[Any], float],
        error_unit: str,
        tests: str | None = None,
        on_gpu: bool = False,
    ) -> Row:
        verdict = results.verdict(tests or f"tests/kernels/{operation}", on_gpu)
        errors = {name: float(error(contestant())) for name, contestant in contestants.items()}  # compiles, too
        peak_of, seconds_of = (peak_extra_gpu_memory, gpu_seconds) if on_gpu else (peak_extra_memory, cpu_seconds)
        peaks = {name: peak_of(contestant) for name, contestant in contestants.items()}
        seconds: dict[str, list[float]] = {name: [] for name in contestants}

        def one_round() -> None:
            names = list(contestants)
            first = len(seconds[names[0]]) % len(names)  # another begins each round, none always follows one peer
            for name in names[first:] + names[:first]:
                seconds[name].append(seconds_of(contestants[name]))

        benchmark.pedantic(one_round, rounds=request.config.getoption("--bench-rounds"), warmup_rounds=1)
        best = {name: min(times[1:]) for name, times in seconds.items()}
        ours = best[next(iter(contestants))]
        row: Row = {"operation": operation, "case": case, "tests": verdict, "error_unit": error_unit}
        row["contestants"] = [
            {
                "name": name,
                "ratio": round(best[name] / ours, 3),
                "milliseconds": round(best[name] * 1e3, 4),
                "median_over_best": round(sorted(seconds[name][1:])[len(seconds[name][1:]) // 2] / best[name], 3),
                "error": errors[name],
                "peak_bytes": peaks[name],
            }
            for name in contestants
        ]
        benchmark.extra_info.update(row)
        results.rows.append(row)
        return row

    return run


@pytest.fixture
def grow(request: pytest.FixtureRequest) -> Callable[..., Row]:
    """grow(path, over, made, sizes, time=..., memory=...) -> the row; fails where an exponent is above its bar.

    made(size) -> a function of no arguments, the work at that size. Time is the best of 5 runs after one that warms up,
    memory the peak above what was there; the exponent of each is the slope of its logarithm over that of the size.
    """
    results = request.config.stash[RESULTS]

    def run(
        path: str, over: str, made: Callable[[int], Callable[[], Any]], sizes: list[int], *, time: float, memory: float
    ) -> Row:
        works = [made(size) for size in sizes]
        peaks = [peak_extra_memory(work) or 0 for work in works]
        seconds = [min(cpu_seconds(work) for _ in range(5)) for work in works]
        row: Row = {"path": path, "over": over, "sizes": sizes, "peak_bytes": peaks}
        row["milliseconds"] = [round(1e3 * each, 4) for each in seconds]
        row["time_exponent"], row["memory_exponent"] = exponent(sizes, seconds), exponent(sizes, peaks)
        row["time_bar"], row["memory_bar"] = time, memory
        results.growth.append(row)
        assert row["time_exponent"] <= time, row
        assert row["memory_exponent"] <= memory, row
        return row

    return run


def exponent(sizes: list[int], costs: Sequence[float]) -> float:
    """The slope of log cost over log size, least squares."""
    x, y = (torch.tensor(each, dtype=torch.float64).clamp_min(1e-9).log() for each in (sizes, costs))
    x, y = x - x.mean(), y - y.mean()
    return round(float((x * y).sum() / x.square().sum()), 3)
