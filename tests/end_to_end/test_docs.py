"""What the pages under docs/ tell a reader to run, runs: shell and Python blocks in their order, with small numbers."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from gencore.training.callbacks import preview
from tests.end_to_end import own_data
from tests.plugins.translation.paired.esrgan_weights import weights

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in DOCS.glob("*.md") if "\n```sh" in page.read_text() or "\n```python" in page.read_text())
SMALLER = {
    "-n 64": "-n 4",
    "-n 32": "-n 4",
    "sample(64": "sample(4",
    "0, 64)": "0, 4)",
    "(64,)": "(4,)",
    "steps=50": "steps=3",
    "steps=300": "steps=3",
    "steps=400": "steps=3",
    "game_steps=2000": "game_steps=2",
    "points_steps=3000": "points_steps=2",
    "pretraining_steps=300": "pretraining_steps=1",
    "search_steps=200": "search_steps=2",
    "--steps 300": "--steps 2",
}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]


def smaller(code: str) -> str:
    code = re.sub(r"^(gencore train .*)$", r"\1 --steps 2 --batch-size 4", code, flags=re.MULTILINE)
    code = re.sub(
        r"^(gencore train (sr|esr)gan (?!.*game_steps).*)$", r"\1 --set game_steps=2", code, flags=re.MULTILINE
    )
    for what, instead in SMALLER.items():
        code = code.replace(what, instead)
    return code


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell command in this process: `gencore ...` or `python -m MODULE ...`."""
    program, *arguments = shlex.split(line)
    module = "gencore.cli" if program == "gencore" else arguments.pop(arguments.index("-m") + 1)
    arguments = arguments[arguments[:1] == ["-m"] :]
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert end.value.code in (0, None), line


@pytest.fixture
def downloaded(tmp_path: Path) -> None:
    """The folder that docs/diffusion.md reads."""
    network = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    folder = tmp_path / "google-ddpm-folder"
    diffusers.DDPMPipeline(unet=network, scheduler=diffusers.DDPMScheduler()).save_pretrained(folder)


@pytest.fixture
def pictures(tmp_path: Path) -> None:
    """The folders and the checkpoint that docs/translation.md reads."""
    draw = np.random.default_rng(0)
    sizes = {"pictures": (52,) * 4, "pairs/A": (52,) * 4, "pairs/B": (52,) * 4, "photos": (52, 40, 120, 60)}
    for folder, widths in sizes.items():
        (tmp_path / folder).mkdir(parents=True)
        for name, width in zip("abcd", widths, strict=True):
            pixels = draw.integers(0, 256, (60, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    torch.save({"params_ema": weights(4)}, tmp_path / "RealESRGAN_x4plus.pth")


@pytest.fixture
def own(tmp_path: Path) -> None:
    """What docs/conditional.md reads."""
    own_data.shapes(tmp_path / "shapes")
    own_data.published_showers(tmp_path / "showers.hdf5")
    own_data.binvox(tmp_path / "chairs")
    own_data.songs(tmp_path / "songs")


@pytest.mark.usefixtures("downloaded", "pictures", "own")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(preview, "__kwdefaults__", {**preview.__kwdefaults__, "n": 4})
    names: dict[str, object] = {"__name__": "page"}
    found = re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert found
    for language, code in found:
        if language == "python":
            exec(compile(smaller(code), f"{page.name}:{language}", "exec"), names)
        else:
            for line in filter(None, smaller(code).splitlines()):
                run_line(line, monkeypatch)
