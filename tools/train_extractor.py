"""Train the feature extractor that ships: gencore/evaluation/extractor.safetensors.

    python tools/train_extractor.py --mnist path/to/mnist

On MNIST's training images, the training digits inside the package, crops of scikit-learn's two photographs, and drawn
scenes, faces and captioned shapes, all at 32 x 32. It learns what a picture shows (10 digits, 5 other kinds), by which
quarter turn one that is no digit was turned, and how strongly it was blurred and noised. Ten minutes on one core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from safetensors.torch import save
from torch import Tensor

from gencore.data import digits, mnist
from gencore.data.images import from_uint8, resize_images
from gencore.data.toys.captions import captions
from gencore.data.toys.faces import faces
from gencore.data.toys.photos import photos
from gencore.data.toys.scenes import scenes
from gencore.evaluation.extractors import SIZE, SmallNetwork
from gencore_hub.atomic import atomic_write

WEIGHTS = Path(__file__).parent.parent / "gencore" / "evaluation" / "extractor.safetensors"
MOST_BLUR, MOST_NOISE = 2.0, 0.5


def pools(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Pictures (N, 1 or 3, 32, 32), uint8 or in [-1, 1], and what they show (N,)."""
    large, small = mnist(folder, image_size=SIZE), digits("train", SIZE)
    assert large.label is not None
    assert small.label is not None
    found = [(large.x, large.label), (small.x, small.label)]
    toys = [photos(6000), scenes(3000), faces(3000, size=SIZE), captions(3000)]
    for place, toy in enumerate(toys):
        own = toy.further["label"] if place == 0 else torch.zeros(len(toy), dtype=torch.int64)
        found.append((resize_images(toy.x, SIZE), own + 10 + place + (place > 0)))
    return found


def draw(sources: list[tuple[Tensor, Tensor]], counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A batch of `counts` pictures of each source, coloured (N, 3, 32, 32) in [-1, 1], and what they show."""
    pictures, kinds = [], []
    for (x, kind), count in zip(sources, counts, strict=True):
        rows = torch.randint(len(x), (count,))
        chosen = from_uint8(x[rows]) if x.dtype == torch.uint8 else x[rows]
        pictures.append(chosen.expand(-1, 3, -1, -1))
        kinds.append(kind[rows])
    return torch.cat(pictures), torch.cat(kinds)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """By a Gaussian of `sigma` pixels, its edges repeated."""
    if sigma < 0.05:
        return x
    reach = max(1, round(3 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line = (line / line.sum()).expand(x.shape[1], 1, 1, -1)
    wide = F.pad(x, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, line, groups=x.shape[1]), line.mT, groups=x.shape[1])


def grain(x: Tensor) -> Tensor:
    """Normal noise like x (N, 3, 32, 32), grey or coloured, fine or as coarse as the digits' 8 x 8 pixels."""
    side = SIZE // (1, 1, 2, 4)[int(torch.randint(4, ()))]
    noise = torch.randn(len(x), 3 if torch.rand(()) < 0.5 else 1, side, side)
    noise = noise if side == SIZE else F.interpolate(noise, size=(SIZE, SIZE), mode="bicubic")
    return noise.expand_as(x)


def damaged(x: Tensor) -> tuple[Tensor, Tensor]:
    """Half of a batch blurred and noised, weakly most often, and the square root of how strongly, (N, 2) in [0, 1]."""
    root = torch.zeros(len(x), 2)
    x = x.clone()
    for rows in torch.randperm(len(x))[: len(x) // 2].split(8):
        root[rows] = torch.rand(2) * (torch.rand(2) < 0.7)
        blur, noise = root[rows[0]].square().tolist()
        worse = blurred(x[rows], MOST_BLUR * blur)
        x[rows] = (worse + MOST_NOISE * noise * grain(worse)).clamp(-1, 1)
    return x, root


def turned(x: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
    """What is no digit by a quarter turn at random, and by how many, (N,) int64."""
    turn = torch.randint(4, (len(x),)) * (kind >= 10)
    return torch.stack([row.rot90(int(k), (1, 2)) for row, k in zip(x, turn, strict=True)]), turn


def loss_of(network: SmallNetwork, sources: list[tuple[Tensor, Tensor]], counts: tuple[int, ...]) -> Tensor:
    """Of one batch: what, by which turn, how damaged."""
    x, kind = draw(sources, counts)
    x, turn = turned(x, kind)
    x, root = damaged(x)
    features = network.trunk(x)
    other = kind >= 10
    what = F.cross_entropy(network.kind(features), kind)
    return (
        what
        + 0.3 * F.cross_entropy(network.turn(features[other]), turn[other])
        + 6 * F.mse_loss(network.damage(features), root)
    )


def main(
    mnist: Annotated[Path, typer.Option(help="The folder of MNIST's four files.")],
    steps: int = 1600,
    output: Path = WEIGHTS,
) -> None:
    """Train and write."""
    torch.manual_seed(0)
    sources, counts = pools(mnist), (64, 16, 20, 10, 10, 10)
    network = SmallNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(network, sources, counts)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            typer.echo(f"{step}: {loss.item():.3f}")
    network.eval()
    with torch.no_grad():
        seen = torch.cat([network.trunk(draw(sources, counts)[0]) for _ in range(40)])
        network.mean.copy_(seen.mean(0))
        network.scale.copy_(seen.std(0).clamp_min(0.05))
    atomic_write(output, save({name: value.half().contiguous() for name, value in network.state_dict().items()}))
    typer.echo(f"Wrote {output}.")


if __name__ == "__main__":
    typer.run(main)
