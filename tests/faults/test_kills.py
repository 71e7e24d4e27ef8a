"""Every registered system: killed once at a random instant and resumed, it ends at the bits of the run left alone.

The first of each family in `make test`, the others in `make exhaustive`; `python -m tools.faults kills` is longer.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from gencore.registry import list_systems

from .kills import differences, run_killed, run_whole

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]

SEED = time.time_ns() % 2**32
"""New instants in each run; the seed is in the failure's text."""

FIRST = {spec.family: spec.name for spec in reversed(list_systems())}
"""One system of each family."""


@pytest.mark.parametrize(
    "system",
    [
        pytest.param(spec.name, marks=[] if spec.name in FIRST.values() else pytest.mark.exhaustive)
        for spec in list_systems()
    ],
)
def test_killed_and_resumed_to_the_bit(system: str, tmp_path: Path) -> None:
    seconds = run_whole(tmp_path / "whole", system)
    events = run_killed(tmp_path / "killed", system, seconds, random.Random(f"{SEED} {system}"), kills=1)
    assert differences(tmp_path / "whole", tmp_path / "killed") == [], (SEED, events)


@pytest.mark.parametrize("system", ["dcgan", "vq-vae", "ddpm"])
def test_ctrl_c_at_any_point(system: str, tmp_path: Path) -> None:
    """A KeyboardInterrupt that comes up through whatever was being done, such as the writing of a checkpoint."""
    seconds = run_whole(tmp_path / "whole", system)
    draw = random.Random(f"{SEED} {system}")
    events = run_killed(tmp_path / "stopped", system, seconds, draw, kills=4, number=signal.SIGINT)
    assert differences(tmp_path / "whole", tmp_path / "stopped") == [], (SEED, events)
