"""`gencore sample dcgan-mnist -n 64`, the main job, against `import torch` alone: process start to exit, one thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def test_sampling_from_a_bundled_model(race: Any, tmp_path: Path) -> None:
    """Aim: at most 0.4 s over `import torch`."""
    picture = tmp_path / "samples.png"

    def process(*words: str) -> int:
        return subprocess.run([sys.executable, *words], env=ENVIRONMENT, capture_output=True).returncode

    race(
        "main job",
        "sample dcgan-mnist -n 64 -o samples.png",
        {
            "gencore sample": lambda: process("-m", "gencore", "sample", "dcgan-mnist", "-n", "64", "-o", str(picture)),
            "import torch": lambda: process("-c", "import torch"),
        },
        error=float,
        error_unit="exit status",
        tests="tests/cli/test_sampling_bar.py",
    )
    assert picture.is_file()
