"""A user's own data, as docs/conditional.md reads them: pictures with sentences and boxes, showers, volumes, songs."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import torch

from gencore.data.images import to_pil
from gencore.data.sources.midi import midi_bytes
from gencore.data.toys.captions import boxed, condition
from gencore.data.toys.showers import showers
from gencore.data.toys.tones import tones


def shapes(folder: Path, count: int = 16) -> None:
    """Pictures, and a metadata.jsonl with the columns text and bbox."""
    folder.mkdir()
    source, rows = boxed(count), []
    for i, (x, tokens, box) in enumerate(
        zip(source.x, source.further["tokens"], source.further["box"].tolist(), strict=True)
    ):
        to_pil(x).save(folder / f"{i}.png")
        place = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        rows.append({"file_name": f"{i}.png", "text": condition().text(tokens), "bbox": place})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def published_showers(path: Path, count: int = 64) -> None:
    """Showers of the toy calorimeter, in CaloGAN's layout and of its sizes."""
    source = showers(count, shapes=((3, 96), (12, 12), (12, 6)), particle="electromagnetic")
    with h5py.File(path, "w") as file:
        for name in ("layer_0", "layer_1", "layer_2", "energy"):
            file[name] = source.further[name].numpy()
        file["overflow"] = np.zeros((count, 3))


def binvox(folder: Path, count: int = 8) -> None:
    """Boxes in grids of 12, in runs of one."""
    folder.mkdir()
    for i in range(count):
        grid = np.zeros((12, 12, 12), np.uint8)
        grid[2 : 6 + i % 4, 3:9, 1:10] = 1
        values = np.stack([grid.ravel(), np.ones(grid.size, np.uint8)], 1).tobytes()
        (folder / f"{i}.binvox").write_bytes(b"#binvox 1\ndim 12 12 12\ndata\n" + values)


def songs(folder: Path) -> None:
    """One file of 12 melodies."""
    folder.mkdir()
    (folder / "a.mid").write_bytes(midi_bytes(tones(12).fetch(torch.arange(12))["x"]))
