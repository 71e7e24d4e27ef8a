"""For all tests: one torch thread a process, and Triton's interpreter instead of a GPU.

The interpreter must be switched on before anything imports triton, and torch's compiler does.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Literal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if os.environ.get("GENCORE_TEST_GPU") != "1":
    os.environ["TRITON_INTERPRET"] = "1"

import torch

from gencore_hub.atomic import atomic_write

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Whatever an earlier test's library has left: on busy cores OpenMP's threads wait for each other by spinning, and
    everything after it takes many times as long."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _frozen_heap() -> None:
    """What is alive before a file's first test (modules, thousands of collected tests) is no garbage: looked through
    again at the end of every training, it costs more than a tiny training itself (0.7 s, where 0.02 s are enough)."""
    gc.collect()
    gc.freeze()


class Measured:
    """Holds a behaviour test's figure and its ablated twin's against one bar, and keeps them for docs/zoo.md."""

    def __init__(self) -> None:
        self.began = time.process_time()

    def __call__(
        self,
        system: str,
        defines: str,
        *,
        figure: float,
        twin: float | None,
        bar: float,
        better: Literal["lower", "higher"],
        seed: int = 0,
    ) -> None:
        """`defines`: what defines the system, in one short sentence that names the figure. `twin`: the figure with the
        system's own term off, which must miss the bar; None where the bar is against something else.

        The row replaces an older one of the same system and sentence in build/zoo.
        """
        sign = 1 if better == "lower" else -1
        assert sign * figure < sign * bar, f"{system}, {defines}: {figure:.4g}, bar {bar:.4g}, {better} is better"
        assert twin is None or sign * twin > sign * bar, f"{system}: the twin passes, too: {twin:.4g} at {bar:.4g}"
        row = {"system": system, "defines": defines, "figure": figure, "twin": twin, "bar": bar, "better": better}
        row |= {"seed": seed, "cpu_seconds": round(time.process_time() - self.began, 1)}
        folder = Path(__file__).parent.parent / "build" / "zoo"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{system}-{hashlib.sha256(defines.encode()).hexdigest()[:8]}.json"
        atomic_write(folder / name, (json.dumps(row, indent=1) + "\n").encode())


@pytest.fixture
def measured() -> Measured:
    """For behaviour tests: measured(system, defines, figure=..., twin=..., bar=..., better="lower")."""
    return Measured()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says in the JUnit file which tests are behaviour tests: tools/test_times.py sums their seconds."""
    for item in items:
        if item.get_closest_marker("behaviour"):
            item.user_properties.append(("kind", "behaviour"))


def pytest_sessionfinish() -> None:
    """Libraries that count their objects at the interpreter's end call what is still frozen a leak."""
    gc.unfreeze()
