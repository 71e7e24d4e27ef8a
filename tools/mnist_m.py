"""DANN from MNIST to a rendered MNIST-M: the three rows of its first column in table 2 of Ganin et al. 2016
(arXiv:1505.07818), beside the paper's own figures.

python -m tools.mnist_m --data mnist:FOLDER

The target domain is made from other digits of the same data, |digit - patch| in each colour, as in the paper; patches
are cut at random from photographs that come inside scikit-image (the paper's are from BSDS500). Training and test
patches share no pixel of a file. From both domains the mean picture of their training part is taken away. Network,
batches and the rate of learning are the paper's (section 5.2.2, figure 4a).

source only   the system `dann` without reversal: what a classifier of MNIST knows of MNIST-M
DANN          the system `dann`
target        the same network with MNIST-M's own labels: as well as it can be done
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import gencore
from gencore.config import check
from gencore.data import InMemory, open_source, unpaired
from gencore.data.views import unlabelled
from gencore.errors import GencoreError
from gencore.training.trainer import Trainer

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "motorcycle_left.png", "rocket.jpg")
TRAIN_PART = 0.75
PAPER = {"source only": 0.5225, "DANN": 0.7666, "target": 0.9596}
DIGIT = 28


def photographs(split: str) -> list[Tensor]:
    """Left three quarters ("train") or right quarter ("test") of scikit-image's photographs, (3, H, W) in [0, 1].

    Raises GencoreError where scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise GencoreError("The photographs come with scikit-image, which is not installed: pip install scikit-image.")
    parts = []
    for name in PHOTOGRAPHS:
        with Image.open(Path(spec.origin).parent / "data" / name) as file:
            pixels = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1) / 255
        cut = round(pixels.shape[2] * TRAIN_PART)
        parts.append(pixels[..., :cut] if split == "train" else pixels[..., cut:])
    return parts


def blended(digits: Tensor, photos: list[Tensor], *, seed: int) -> Tensor:
    """Digits (N, 1, S, S) in [0, 1] over patches drawn from `seed`: |digit - patch|, (N, 3, S, S) in [0, 1].

    Raises GencoreError for a photograph smaller than a digit.
    """
    size = digits.shape[-1]
    smallest = min(min(photo.shape[1:]) for photo in photos)
    check(size <= smallest, "the digits' size", size, f"at most the smallest photograph's side, {smallest}")
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(photos), (len(digits),), generator=generator)
    place = torch.rand(len(digits), 2, generator=generator)
    patches = []
    for number, (down, across) in zip(which.tolist(), place.tolist(), strict=True):
        photo = photos[number]
        top, left = int(down * (photo.shape[1] - size + 1)), int(across * (photo.shape[2] - size + 1))
        patches.append(photo[:, top : top + size, left : left + size])
    return (digits - torch.stack(patches)).abs()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """MNIST to train on; MNIST-M to train on (other digits) and to be judged by. All (N, 3, H, W)."""

    source: InMemory
    target: InMemory
    test: InMemory


def domains(train: Any, test: Any, pictures: int, photos: dict[str, list[Tensor]]) -> Domains:
    """From labelled digits: the first half of `pictures` is the source, the other half the target."""
    digits, label, num_classes = _digits(train, pictures)
    half = len(digits) // 2
    held_out, test_label, _ = _digits(test, pictures)
    source = digits[:half].expand(-1, 3, -1, -1)
    target = blended(digits[half:], photos["train"], seed=0)
    judged = blended(held_out, photos["test"], seed=1)
    means = source.mean(0), target.mean(0)

    def domain(x: Tensor, mean: Tensor, label: Tensor, name: str) -> InMemory:
        return InMemory(x=x - mean, label=label, num_classes=num_classes, name=name)

    return Domains(
        source=domain(source, means[0], label[:half], "MNIST"),
        target=domain(target, means[1], label[half:], "MNIST-M"),
        test=domain(judged, means[1], test_label, "MNIST-M (test)"),
    )


def _digits(source: Any, most: int) -> tuple[Tensor, Tensor, int]:
    batch = source.fetch(torch.arange(min(most, len(source))))
    if "label" not in batch or batch["x"].shape[1] != 1:
        raise GencoreError(f"{source.name} has pictures {source.shape}; expected grey ones with labels, as MNIST's.")
    return (batch["x"] + 1) / 2, batch["label"], source.num_classes


def accuracy(data: Domains, row: str, seed: int, *, steps: int, width: int = 32) -> float:
    """On MNIST-M's test part, after training as the row, a key of PAPER, says."""
    labelled, strength = data.target if row == "target" else data.source, 1.0 if row == "DANN" else 0.0
    recipe = gencore.recipe(
        "dann", data_shape=labelled.shape, num_classes=10, network="pooled", code_dim=100, width=width, steps=steps,
        strength=strength, rule="sgd",
    )  # fmt: skip
    model: Any = Trainer(recipe, unpaired(labelled, unlabelled(data.target)), seed=seed, cpu=True).fit().eval()
    with torch.no_grad():
        named = torch.cat([model.classify(part) for part in data.test.x.split(500)])
    return (named == data.test.label).float().mean().item()


def table(data: Domains, rows: list[dict[str, float]], steps: int) -> str:
    """Markdown: ours with its spread over seeds beside the paper's."""
    about = (
        f"MNIST to MNIST-M: {len(data.source):,} pictures of each domain, {steps:,} steps of 64 + 64, judged on "
        f"{len(data.test):,}; mean and standard deviation over {len(rows)} seeds."
    )
    lines = [
        about,
        "",
        "| training | accuracy | the paper's |",
        "| --- | --- | --- |",
    ]
    for name, paper in PAPER.items():
        found = [row[name] for row in rows]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        lines.append(f"| {name} | {statistics.fmean(found):.4f} ± {spread:.4f} | {paper:.4f} |")
    return "\n".join([*lines, ""])


def main(given: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.mnist_m", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", default="digits", help="grey labelled digits with a test part: mnist:FOLDER")
    parser.add_argument("--pictures", type=int, default=40_000, help="digits, half of them for each domain, at most")
    parser.add_argument("--steps", type=int, default=5000, help="of every training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of every row")
    parser.add_argument("--width", type=int, default=32, help="channels of the encoder's first layer")
    arguments = parser.parse_args(given)
    try:
        check(arguments.seeds >= 1, "seeds", arguments.seeds, "at least 1")
        parts = [open_source(arguments.data, image_size=DIGIT, split=split) for split in ("train", "test")]
        data = domains(*parts, arguments.pictures, {split: photographs(split) for split in ("train", "test")})
        rows = [
            {row: accuracy(data, row, seed, steps=arguments.steps, width=arguments.width) for row in PAPER}
            for seed in range(arguments.seeds)
        ]
    except GencoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(table(data, rows, arguments.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
