"""Figures of merit of calorimeter showers: what physicists compare generated ones with simulated ones by (Paganini, de
Oliveira & Nachman 2018, arXiv:1712.10321, section 4; LAGAN uses the sparsity, too).

Showers are cells (N, K), 0 or more, one layer after another; `layers` are their (eta, phi), K cells together. Cells and
asked energies are in one unit, GeV here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from gencore.config import check

Layers = Sequence[tuple[int, int]]


def of_layers(cells: Tensor, layers: Layers) -> tuple[Tensor, ...]:
    """The layers of showers, each (N, eta, phi). Raises GencoreError where the cells are not theirs."""
    sizes = [eta * phi for eta, phi in layers]
    good = cells.ndim == 2 and cells.shape[1] == sum(sizes)
    check(good, "cells", tuple(cells.shape), f"(N, {sum(sizes)}), the cells of {tuple(layers)}")
    parts = cells.split(sizes, 1)
    return tuple(rearrange(part, "n (a b) -> n a b", a=eta) for part, (eta, _) in zip(parts, layers, strict=True))


def layer_energies(cells: Tensor, layers: Layers) -> Tensor:
    """E_i, the sum of each layer: (N, layers)."""
    return torch.stack([part.sum((1, 2)) for part in of_layers(cells, layers)], 1)


def layer_fractions(cells: Tensor, layers: Layers) -> Tensor:
    """E_i / sum_j E_j: (N, layers); 0 for a shower that deposits nothing."""
    energies = layer_energies(cells, layers)
    total = energies.sum(1, keepdim=True)
    return torch.where(total > 0, energies / total, 0.0)


def response(cells: Tensor, asked: Tensor) -> Tensor:
    """sum_i E_i / E of energies asked for, (N,) or (N, 1): (N,), 1 where all of it is deposited."""
    wanted = asked.reshape(-1)
    good = len(wanted) == len(cells) and bool((wanted > 0).all())
    check(good, "asked", tuple(asked.shape), f"({len(cells)},) energies above 0")
    return cells.sum(1) / wanted


def sparsity(cells: Tensor, layers: Layers) -> Tensor:
    """The share of each layer's cells that are hit, that is, above 0: (N, layers)."""
    return torch.stack([(part > 0).to(part.dtype).mean((1, 2)) for part in of_layers(cells, layers)], 1)


def widths(cells: Tensor, layers: Layers) -> Tensor:
    """sqrt(<p^2> - <p>^2) in each layer, weighed by energy, p the place of a cell along eta and along phi, counted in
    shares of the layer's side: (N, layers, 2); 0 for a layer without energy."""
    found = []
    for part in of_layers(cells, layers):
        for summed in (part.sum(2), part.sum(1)):
            count = summed.shape[1]
            place = (torch.arange(count, device=cells.device, dtype=cells.dtype) + 0.5) / count
            share = summed / summed.sum(1, keepdim=True).clamp_min(torch.finfo(cells.dtype).tiny)
            middle = (share * place).sum(1, keepdim=True)
            found.append((share * (place - middle).square()).sum(1).sqrt())
    return rearrange(torch.stack(found, 1), "n (i d) -> n i d", d=2)


def figures(cells: Tensor, layers: Layers, asked: Tensor) -> dict[str, Tensor]:
    """All of these by name, (N,) each: "response", and of layer i "layer i fraction", "layer i sparsity",
    "layer i width eta", "layer i width phi"."""
    found = {"response": response(cells, asked)}
    of_each = {"fraction": layer_fractions(cells, layers), "sparsity": sparsity(cells, layers)}
    of_each |= {f"width {name}": widths(cells, layers)[..., side] for side, name in enumerate(("eta", "phi"))}
    for layer in range(len(layers)):
        found |= {f"layer {layer} {name}": values[:, layer] for name, values in of_each.items()}
    return found
