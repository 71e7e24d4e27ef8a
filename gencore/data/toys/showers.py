"""A toy calorimeter: sparse deposits of energy in three layers, with particle and energy known.

A shower of energy E [GeV] follows the usual gamma profile in depth t [radiation lengths], dE/dt ~ t^(a - 1) exp(-b t),
with its peak at log(E / 10 MeV) + 1/2 (Longo and Sestili 1975); across, it falls as exp(-r / width). Electromagnetic
showers are early, narrow and deposit nearly everything; pions start at a random depth, are wide, and deposit about 0.65
of their energy. A cell receives a Poisson number of hits, each of 20 +- 10 MeV: many cells are exact zeros, and the
resolution improves as 1 / sqrt(E).

key                         shape, dtype
x                           (N, cells) float32 >= 0, all cells [GeV], one layer after another (126 cells)
layer_0, layer_1, layer_2   (N, eta, phi) float32 >= 0, deposits [MeV], as in CaloGAN's HDF5 files
energy, attributes          (N, 1) float32, the particle's energy [GeV], log-uniform
label                       (N,) int64, an index into PARTICLES
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import Attributes, ClassLabel, Condition
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, first_indices
from gencore.errors import GencoreError

Shapes = tuple[tuple[int, int], ...]
Particle = Literal["electromagnetic", "pion"]

LAYERS: Shapes = ((3, 24), (6, 6), (6, 3))
PAPER_LAYERS: Shapes = ((3, 96), (12, 12), (12, 6))  # CaloGAN's 504 cells
EDGES = (0.0, 6.0, 18.0, 24.0)  # boundaries of the layers [radiation lengths]
HALF_WIDTH = 1.0  # of every layer, both ways [lateral units]
HIT = 0.02  # mean energy of a hit [GeV]
PARTICLES = ("electromagnetic", "pion")

# First columns of the draws; those of the cells are 1000 a layer.
_ENERGY, _PARTICLE, _SPREAD, _START, _VISIBLE, _CENTRE, _WIDTH, _HITS, _SMEAR = 0, 1, 2, 4, 5, 6, 8, 1000, 11_000


def in_layers(energy: Tensor, pion: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """The energy that each layer sees, (N, 3) [GeV], of particles with `energy` (N,) [GeV]; `pion` (N,) is 0 or 1."""
    spread = (0.1 * draws.normals(seed, index, _SPREAD, 2)).exp()
    b = 0.5 * spread[:, 0]
    a = 1 + b * ((energy / 0.01).log() + 0.5) * spread[:, 1]
    start = pion * -5.0 * draws.uniform(seed, index, _START).clamp_min(1e-6).log()
    depth = (torch.tensor(EDGES) - start[:, None]).clamp_min(0)
    share = torch.special.gammainc(a[:, None], b[:, None] * depth).diff(dim=1)
    lost = pion * (0.35 + 0.08 * draws.normals(seed, index, _VISIBLE, 1)[:, 0]).clamp(0.1, 0.6)
    return (energy * (1 - lost))[:, None] * share


def across(layer: int, shape: tuple[int, int], pion: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """How one layer's energy is shared by its cells, (N, eta, phi), summing to 1."""
    centre = rearrange(0.1 * draws.normals(seed, index, _CENTRE, 2), "n k -> k n 1 1")
    spread = (0.1 * draws.normals(seed, index, _WIDTH + layer, 1)[:, 0]).exp()
    width = (0.10 + 0.05 * layer) * (1 + 1.5 * pion) * spread
    eta, phi = ((torch.arange(n) + 0.5) / n * 2 * HALF_WIDTH - HALF_WIDTH for n in shape)
    radius = torch.hypot(eta[:, None] - centre[0], phi - centre[1])
    share = (-radius / rearrange(width, "n -> n 1 1")).exp()
    return share / share.sum(dim=(1, 2), keepdim=True)


def deposits(mean: Tensor, layer: int, index: Tensor, *, seed: int = 0) -> Tensor:
    """Energy in the cells of one layer, as `mean` (N, eta, phi) [GeV]: a Poisson number of hits of smeared energy."""
    cells = mean[0].numel()
    u = draws.uniforms(seed, index, _HITS + 1000 * layer, cells).view_as(mean) + 2.0**-25
    hits = draws.poisson_quantiles(u.clamp_max(1 - 2.0**-24), mean / HIT).float()
    smear = draws.normals(seed, index, _SMEAR + 1000 * layer, cells).view_as(mean)
    return hits * (1 + 0.5 * smear / hits.clamp_min(1).sqrt()).clamp_min(0.1) * HIT


def summary(cells: Tensor, shapes: Shapes = LAYERS) -> tuple[Tensor, Tensor, Tensor]:
    """Of cells (N, cells): total (N,), the layers' fractions of it (N, 3), and the share of cells hit (N, 3)."""
    parts = cells.split([eta * phi for eta, phi in shapes], dim=1)
    sums = torch.stack([part.sum(1) for part in parts], dim=1)
    hit = torch.stack([(part > 0).float().mean(1) for part in parts], dim=1)
    return sums.sum(1), sums / sums.sum(1, keepdim=True).clamp_min(1e-6), hit


def showers(
    num_examples: int = 5000,
    *,
    particle: Particle | None = None,
    energy: tuple[float, float] = (1.0, 100.0),
    shapes: Shapes = LAYERS,
    seed: int = 0,
    split: str = "train",
) -> Rendered:
    """Showers of one `particle`, or as often of each, with an energy in the range given [GeV].

    Raises GencoreError for bad values.
    """
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    _check(particle, energy, shapes)
    low, high = torch.tensor(energy).log()
    drawn = (low + (high - low) * draws.uniform(seed, index, _ENERGY)).exp().clamp(*energy)
    label = draws.integers(seed, index, _PARTICLE, 2)
    if particle is not None:
        label = torch.full_like(label, PARTICLES.index(particle))
    pion = label.float()
    seen = in_layers(drawn, pion, index, seed=seed)
    layers = [
        deposits(rearrange(seen[:, i], "n -> n 1 1") * across(i, shape, pion, index, seed=seed), i, index, seed=seed)
        for i, shape in enumerate(shapes)
    ]
    by_energy = Attributes(names=("energy",), low=energy[0], high=energy[1])
    conditions: tuple[Condition, ...] = (by_energy,)
    if particle is None:
        conditions = (by_energy, ClassLabel(count=len(PARTICLES), names=PARTICLES))
    return Rendered(
        x=torch.cat([layer.flatten(1) for layer in layers], dim=1),
        further={
            **{f"layer_{i}": 1000 * layer for i, layer in enumerate(layers)},
            "energy": drawn[:, None],
            "attributes": drawn[:, None],
            "label": label,
        },
        num_classes=len(PARTICLES),
        conditions=conditions,
        name=f"showers ({split})",
    )


def _check(particle: str | None, energy: tuple[float, float], shapes: Shapes) -> None:
    if particle is not None and particle not in PARTICLES:
        raise GencoreError(f"particle is {particle!r}; expected one of {', '.join(PARTICLES)}, or None for both.")
    if not 0.01 <= energy[0] < energy[1]:
        raise GencoreError(f"energy is {energy}; expected (low, high) in GeV with 0.01 <= low < high.")
    if len(shapes) != 3 or any(not 1 <= eta * phi <= 1000 for eta, phi in shapes):
        raise GencoreError(f"shapes is {shapes}; expected (eta, phi) of 3 layers, each of 1 to 1000 cells.")
