"""`gencore sample dcgan-mnist -n 64`, the main job, beside `import torch` alone: process start to exit, one thread.
Modules are compiled by the round that warms up, as they are in an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
ROUNDS = 5


def test_sampling_from_a_bundled_model(benchmark: Any, tmp_path: Path) -> None:
    """Aim: at most 0.4 s over `import torch`. The row's `ratio` is to that, best against best; rounds alternate."""
    picture = tmp_path / "samples.png"
    alone: list[float] = []

    def torch_alone() -> None:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], env=ENVIRONMENT, check=True)
        alone.append(time.perf_counter() - began)

    def job() -> None:
        words = ["-m", "gencore", "sample", "dcgan-mnist", "-n", "64", "-o", str(picture)]
        subprocess.run([sys.executable, *words], env=ENVIRONMENT, capture_output=True, check=True)

    benchmark.pedantic(job, setup=torch_alone, rounds=ROUNDS, warmup_rounds=1)
    assert picture.is_file()
    best = benchmark.stats.stats.min
    benchmark.extra_info |= {"ratio": best / min(alone[1:]), "seconds_over_import_torch": best - min(alone[1:])}
