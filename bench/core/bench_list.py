"""`gencore list` with fifty more plugins installed: process start to exit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MANIFEST = """from gencore.spec import Family, Paper, SystemSpec
family = Family(name="{name}", summary="generated", systems=(SystemSpec(
    name="{name}-system", family="{name}", summary="generated", paper=Paper(title="T", authors="A", year=2020),
    model="nothing:M", recipe="nothing:r", roles=("generator",)),))
"""


@pytest.fixture
def fifty_plugins(tmp_path: Path) -> Path:
    """A folder with fifty installed distributions, each with an entry point."""
    for i in range(50):
        name = f"generated{i}"
        (tmp_path / f"{name}.py").write_text(MANIFEST.format(name=name))
        info = tmp_path / f"gencore_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gencore-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[gencore.families]\n{name} = {name}:family\n")
    return tmp_path


def test_list_with_fifty_plugins(benchmark: Any, fifty_plugins: Path) -> None:
    """Aim: at most 0.25 s over the bare interpreter."""
    environment = os.environ | {"PYTHONPATH": str(fifty_plugins)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled in an installed package

    def list_systems() -> str:
        command = [sys.executable, "-m", "gencore.cli", "list", "--json"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    output = benchmark.pedantic(list_systems, rounds=7, warmup_rounds=1)
    assert output.count("generated") >= 50
