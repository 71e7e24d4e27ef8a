"""A picture of every system after a short seeded training on its default data: docs/images/zoo/NAME.png; and some of
them in a row, for README.md: docs/images/zoo.png.

python -m tools.zoo_pictures --seconds 45             every system whose picture is missing or whose page has changed
python -m tools.zoo_pictures --seconds 20 vae wgan    these

A system plays its recipe's own steps, or as many of them as fit into so many CPU-seconds; record.json says how many,
and tools.zoo puts the pictures into docs/zoo.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

import gencore
from gencore.data import open_source
from gencore.data.images import grid
from gencore.errors import GencoreError
from gencore.kinds import kind_of
from gencore.latent.codes import encode_all
from gencore.latent.maps import latent_map, scatter
from gencore.pages import read_page
from gencore.registry import list_systems
from gencore.training.callbacks import drawable, preview
from gencore.training.run import RunSettings, make_recipe
from gencore.training.trainer import Trainer
from gencore.training.trajectory import path
from gencore_hub.atomic import atomic_write
from tools.zoo_own import OWN

FOLDER = Path(__file__).parent.parent / "docs/images/zoo"
RECORD = "record.json"
LARGEST = 20_000
"""Bytes of a picture."""

STRIP = ("wgan-gp", "consensus-gan", "gp-gan", "cyclegan", "gan-cls", "vq-vae", "esrgan", "siamese-network", "al-cgan")
SIDE = 128
"""Pixels of a picture in the strip."""

TRIAL = 5
"""Steps of each stage by which a system's speed is measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """`shows`: what the picture shows, in a few words."""

    shows: str
    picture: Image.Image


class Lookout:
    """Keeps when each step ended, in CPU-seconds, and the path of a model of two parameters."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.ends: list[float] = []

    def after_step(self, trainer: Trainer) -> None:
        """The time, and both parameters where there are two."""
        self.ends.append(time.process_time())
        parameters = list(trainer.model.parameters())
        if sum(p.numel() for p in parameters) == 2:
            self.rows.append([value for p in parameters for value in p.detach().flatten().tolist()])


def train(system: str, seconds: float) -> tuple[Trainer, Lookout]:
    """The default training on the default data, every stage cut alike so that the whole fits into `seconds` of CPU."""
    source, trial, lookout = open_source(gencore.recipe(system).data), Lookout(), Lookout()
    recipe = make_recipe(RunSettings(system=system), source)
    counts = [stage.steps for stage in recipe.stages]
    tried = [min(TRIAL, count) for count in counts]
    Trainer(cut(recipe, tried), source, seed=0, cpu=True, callbacks=(trial,)).fit()
    cost = 0.0
    for place, (count, few) in enumerate(zip(counts, tried, strict=True)):
        ends = trial.ends[sum(tried[:place]) :][:few]
        cost += count * (ends[-1] - ends[0]) / max(1, few - 1)
    fitting = [max(1, round(count * min(1.0, seconds / max(cost, 1e-9)))) for count in counts]
    trainer = Trainer(cut(recipe, fitting), source, seed=0, cpu=True, callbacks=(lookout,))
    trainer.fit()
    return trainer, lookout


def cut(recipe: Any, counts: list[int]) -> Any:
    """The recipe with so many steps in each stage."""
    stages = (dataclasses.replace(stage, steps=n) for stage, n in zip(recipe.stages, counts, strict=True))
    return dataclasses.replace(recipe, stages=tuple(stages))


def draw(trainer: Trainer, lookout: Lookout) -> Drawn | None:
    """What the system makes, as it is best seen; None where it makes nothing that can be drawn."""
    source = trainer.stage_source
    with trainer.published() as model:
        model.eval()
        if lookout.rows:
            return Drawn("the path of generator and critic, from the ring to the dot", path(torch.tensor(lookout.rows)))
        if model.system in OWN:
            with torch.no_grad():
                shows, seen = OWN[model.system](model, source)
            if isinstance(seen, Tensor):
                seen = grid(seen.clamp(-1, 1), columns=8)
            return Drawn(shows, written(seen) if isinstance(seen, list) else seen)
        if hasattr(model, "neighbours"):
            return Drawn("words and their neighbours", written(neighbours(model)))
        if drawable(source.shape):
            shown = preview(model, source, 0, n=32)
            if shown is not None:
                return Drawn(what_of(model), grid(shown.clamp(-1, 1), columns=8 if len(shown) > 8 else None))
        if not samples(model):
            return coded(model, source)
        drawn = model.sample(16, seed=0, condition=told(model, source, 16))
        if kind_of(model) == "text":
            return Drawn("text", written(model.text(drawn)[:8]))
        if kind_of(model) == "sound":
            return Drawn("spectrograms", grid(spectrograms(drawn[:4, 0]), columns=2))
        if source.shape == (2,):
            more = model.sample(500, seed=0)
            both = torch.cat([source.fetch(torch.arange(500))["x"], more])
            return Drawn("data (0) and samples (1)", scatter(both, torch.arange(1000) // 500, size=400))
        return Drawn("samples, a row or a tile each", grid(tiles(drawn), columns=4))


def samples(model: Any) -> bool:
    """Whether the model has a sampler."""
    with contextlib.suppress(GencoreError):
        model.default_sampler()
        return True
    return False


def told(model: Any, source: Any, n: int) -> Any:
    """The data's own conditions, where they are not classes, which are drawn in turn."""
    kind = model.condition
    if kind is None or isinstance(kind, gencore.conditions.ClassLabel):
        return None
    return source.fetch(torch.arange(n))[kind.key]


def what_of(model: Any) -> str:
    """What `preview` shows of it."""
    if samples(model):
        return "samples"
    return "above what went in, below what came out"


def coded(model: Any, source: Any) -> Drawn | None:
    """A map of the codes of 500 examples, by class."""
    try:
        codes = encode_all(model, source, limit=500)
    except GencoreError:
        return None
    return Drawn("codes, two principal components, by class", scatter(latent_map(codes.z), codes.label, size=400))


def neighbours(model: Any) -> list[str]:
    """The first words of the vocabulary, each with its three nearest."""
    words = [word for word in model.config.vocabulary if len(word) > 2][:8]
    return [f"{word}: {', '.join(near for near, _ in model.neighbours(word, 3))}" for word in words]


def written(lines: list[str]) -> Image.Image:
    """Lines of text, a picture."""
    lines = [line.strip()[:64] for text in lines for line in text.splitlines() if line.strip()][:12]
    image = Image.new("L", (400, 16 * len(lines) + 8), 255)
    for row, line in enumerate(lines):
        ImageDraw.Draw(image).text((6, 4 + 16 * row), line, fill=0)
    return image


def spectrograms(waves: Tensor, *, size: int = 128) -> Tensor:
    """Waves (N, T) in [-1, 1] -> their log spectra (N, 1, size / 2, frames) in [-1, 1], low frequencies below."""
    spectra = torch.stft(waves, size, hop_length=32, window=torch.hann_window(size), return_complex=True)
    decibels = spectra.abs().clamp_min(1e-4).log10()[:, : size // 2].flip(1)
    low, high = decibels.amin((1, 2), keepdim=True), decibels.amax((1, 2), keepdim=True)
    return ((decibels - low) / (high - low).clamp_min(1e-6) * 2 - 1)[:, None]


def tiles(x: Tensor) -> Tensor:
    """Numbers (N, ...) as grey pictures (N, 1, rows, columns), each from its least to its greatest value."""
    rows = x.reshape(len(x), -1, x.shape[-1]) if x.ndim > 2 else x.reshape(len(x), 1, -1)
    low, high = rows.amin((1, 2), keepdim=True), rows.amax((1, 2), keepdim=True)
    return ((rows - low) / (high - low).clamp_min(1e-6) * 2 - 1)[:, None]


def packed(picture: Image.Image) -> bytes:
    """PNG of at most LARGEST bytes: small pictures enlarged without smoothing, colours reduced as far as it takes."""
    scale = max(1, 256 // max(picture.size))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    for colours in (256, 64, 32, 16, 8, 4):
        reduced = picture if picture.mode == "L" and colours == 256 else picture.convert("RGB").quantize(colours)
        file = io.BytesIO()
        reduced.save(file, format="PNG", optimize=True)
        if file.tell() <= LARGEST:
            return file.getvalue()
    return packed(picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX))


def strip(folder: Path, names: tuple[str, ...] = STRIP) -> Image.Image | None:
    """Those pictures side by side, each with its name below; None where one is missing."""
    if not all((folder / f"{name}.png").exists() for name in names):
        return None
    row = Image.new("RGB", (len(names) * (SIDE + 8), SIDE + 24), "white")
    for place, name in enumerate(names):
        with Image.open(folder / f"{name}.png") as opened:
            picture = opened.convert("RGB")
        left, corner = place * (SIDE + 8) + 4, min(picture.size)
        row.paste(picture.crop((0, 0, corner, corner)).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, 4))
        ImageDraw.Draw(row).text((left, SIDE + 8), name, fill="black")
    return row


def main() -> None:
    """Draw what is due, one system after the other; what is drawn stays when the command is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45.0, help="CPU-seconds of a training (default: 45).")
    parser.add_argument("systems", nargs="*", help="Some systems; all where none is named.")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    record = json.loads((FOLDER / RECORD).read_text()) if (FOLDER / RECORD).exists() else {}
    specs = {spec.name: spec for spec in list_systems() if spec.page.startswith("gencore_")}
    for name in options.systems or specs:
        digest = hashlib.sha256(read_page(specs[name]).path.read_bytes()).hexdigest()[:16]
        if not options.systems and record.get(name, {}).get("page") == digest:
            continue
        began = time.process_time()
        trainer, lookout = train(name, options.seconds)
        drawn, whole = draw(trainer, lookout), sum(stage.steps for stage in gencore.recipe(name).stages)
        record[name] = {"page": digest, "steps": trainer.iteration, "of": whole, "shows": drawn and drawn.shows}
        record[name]["cpu_seconds"] = round(time.process_time() - began, 1)
        if drawn:
            atomic_write(FOLDER / f"{name}.png", packed(drawn.picture))
        atomic_write(FOLDER / RECORD, (json.dumps(dict(sorted(record.items())), indent=1) + "\n").encode())
        sys.stdout.write(f"{name}: {json.dumps(record[name])}\n")
        sys.stdout.flush()
    row = strip(FOLDER)
    if row:
        file = io.BytesIO()
        row.quantize(128).save(file, format="PNG", optimize=True)
        atomic_write(FOLDER.with_suffix(".png"), file.getvalue())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
