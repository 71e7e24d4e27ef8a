"""Image files that vanish or are damaged while a training reads them: one error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencore.errors import GencoreError
from gencore.training import checkpoint
from gencore.training.run import RunSettings, train


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(32):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def run(pictures: Path, out: Path, **changes: Any) -> None:
    sizes = ("width=4", "latent_dim=4")
    settings = {"system": "dcgan", "data": str(pictures), "steps": 40, "batch_size": 8, "set": sizes}
    options = settings | {"checkpoint_every": 2, "sample_every": 1000, "log_every": 100} | changes
    train(RunSettings(**options), out, resume=(out / "run.json").exists(), quiet=True)


@pytest.mark.parametrize("harm", ["vanished", "cut short", "not an image"])
def test_a_file_goes_bad_in_mid_epoch(
    harm: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, original = pictures / "07.png", (pictures / "07.png").read_bytes()
    write = checkpoint.write

    def strike(*arguments: Any, **options: Any) -> Path:
        if harm == "vanished":
            victim.unlink(missing_ok=True)
        else:
            victim.write_bytes(original[:60] if harm == "cut short" else b"<!DOCTYPE html>")
        return write(*arguments, **options)

    monkeypatch.setattr(checkpoint, "write", strike)
    out = tmp_path / "run"
    with pytest.raises(GencoreError, match=r"07\.png"):
        run(pictures, out)
    last = checkpoint.checkpoints(out / "checkpoints")[-1]
    assert 0 < checkpoint.read(last).values["step"] < 40
    monkeypatch.undo()
    victim.write_bytes(original)
    run(pictures, out)
    run(pictures, tmp_path / "whole")
    ends = [checkpoint.checkpoints(folder / "checkpoints")[-1] for folder in (out, tmp_path / "whole")]
    first, second = ((end / "state.safetensors").read_bytes() for end in ends)
    assert first == second, "put back, the run goes on to the bits of the one that never saw the harm"


def test_a_corrupt_image_from_the_start(pictures: Path, tmp_path: Path) -> None:
    """Named with its reason; --skip-corrupt leaves it out, and says so."""
    (pictures / "07.png").write_bytes((pictures / "07.png").read_bytes()[:60])
    with pytest.raises(GencoreError, match=r"07\.png"):
        run(pictures, tmp_path / "strict")
    with pytest.warns(UserWarning, match="1 of 32 images left out"):
        run(pictures, tmp_path / "lenient", skip_corrupt=True, steps=2)
