"""Saved files can be read by whom the user's umask lets read, weights included."""

from __future__ import annotations

import stat
from pathlib import Path

import torch

from gencore_hub import write_directory


def test_weights_have_the_mode_of_the_other_files(tmp_path: Path) -> None:
    config = {
        "system": "s",
        "family": "f",
        "config": {},
        "config_version": 1,
        "distribution": {"name": "d", "version": "1"},
    }
    target = write_directory(tmp_path / "m", config=config, module=torch.nn.Linear(2, 2), card="")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()}
    assert modes == {stat.S_IMODE((target / "config.json").stat().st_mode)}
