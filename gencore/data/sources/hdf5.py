"""Particle physics in HDF5 files, as CaloGAN and LAGAN published theirs. Needs h5py (pip install "gencore[physics]").

showers   layer_0, layer_1, ...   (N, eta, phi), the energy in each cell [MeV]
          energy                  (N,) or (N, 1), the particle's energy [GeV]
jets      image                   (N, H, W), transverse momentum in each pixel [GeV], 0 or more
          signal                  (N,), 1 for a signal jet, 0 for background; may be absent

What the batches hold: of showers x (N, cells) [GeV], one layer after another, and attributes (N, 1), the energy [GeV];
of jets x (N, H, W) and label. Only numbers that lie in the file itself are read: links into other files, and data sets
that are stored outside or put together from others, are refused.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gencore.conditions import Attributes, ClassLabel
from gencore.data.opening_rules import refuse
from gencore.data.options import OpenOptions
from gencore.data.ranges import finite_bounds
from gencore.data.regular import open_regular
from gencore.data.source import check_labels
from gencore.data.sources.listing import shown
from gencore.data.sources.memory import InMemory
from gencore.errors import GencoreError
from gencore.extras import from_extra

LAYOUTS = "layer_0, layer_1, ... with energy (showers), or image, with signal where there is one (jets)"
MEV = 1e-3  # GeV
CLASSES = ("background", "signal")
_PASSED_OVER = {"overflow", *(f"jet_{name}" for name in ("eta", "phi", "pt", "mass", "delta_R"))}
_PASSED_OVER |= {f"tau_{name}" for name in (1, 2, 3, 21, 32)}
"""Published columns that no model here takes."""


def open_hdf5(spec: str, options: OpenOptions) -> InMemory:
    """Showers or jets. Raises PluginError without h5py; GencoreError for another layout, a damaged or hostile file, one
    that does not fit into memory, and options of pictures."""
    refuse(options, spec, "skip_corrupt", "data_range", "column", "image_size")
    h5py = from_extra("h5py", "h5py", "physics")
    path = Path(os.path.expanduser(spec))
    try:
        with open_regular(path) as file, h5py.File(file, "r") as table:
            names = [name for name in table if isinstance(table.get(name, getlink=True), h5py.HardLink)]
            if "layer_0" in names:
                return _showers(table, names, path)
            if "image" in names:
                return _jets(table, names, path)
    except GencoreError:
        raise
    except FileNotFoundError as error:
        raise GencoreError(f"{path} does not exist.") from error
    except Exception as error:  # the HDF5 library raises whatever damaged bytes led it to
        raise GencoreError(f"{path} cannot be read as HDF5: {type(error).__name__}: {error}. Copy it again.") from error
    raise GencoreError(f"{path} holds {shown(names) or 'nothing'}; expected {LAYOUTS}.")


def _showers(table: Any, names: list[str], path: Path) -> InMemory:
    layers = list(itertools.takewhile(names.__contains__, (f"layer_{i}" for i in itertools.count())))
    _check(table, {**dict.fromkeys(layers, 3), "energy": None}, names, path)
    cells = [_read(table, name, path) * MEV for name in layers]
    energy = _read(table, "energy", path)
    if energy.numel() != len(energy):
        raise GencoreError(f"{path}: energy is {tuple(energy.shape)}; expected one number a shower, (N,) or (N, 1).")
    energy = energy.reshape(-1, 1)
    low, high = float(energy.min()), float(energy.max())
    if low <= 0:
        raise GencoreError(f"{path}: energy goes down to {low:g}; expected energies of particles [GeV], above 0.")
    asked = Attributes(names=("energy",), low=low, high=high if high > low else 2 * low)
    return InMemory(
        x=torch.cat([layer.flatten(1) for layer in cells], 1),
        further={"attributes": energy},
        conditions=(asked,),
        name=f"showers in {path}, layers {', '.join(f'{c.shape[1]} x {c.shape[2]}' for c in cells)}",
    )


def _jets(table: Any, names: list[str], path: Path) -> InMemory:
    labelled = "signal" in names
    wanted: dict[str, int | None] = {"image": 3, "signal": 1} if labelled else {"image": 3}
    _check(table, wanted, names, path)
    x, name = _read(table, "image", path), f"jets in {path}"
    if not labelled:
        return InMemory(x=x, name=name)
    label = _read(table, "signal", path).long()
    check_labels(label, len(CLASSES), name)
    kind = ClassLabel(count=len(CLASSES), names=CLASSES)
    return InMemory(x=x, label=label, num_classes=len(CLASSES), class_names=CLASSES, conditions=(kind,), name=name)


def _check(table: Any, wanted: dict[str, int | None], names: list[str], path: Path) -> None:
    """Raise GencoreError unless each of `wanted` is there, with so many axes (None for any), as many rows as the first,
    and all of them fit into memory; warn of what is left out."""
    total, rows = 0, None
    for name, axes in wanted.items():
        if name not in names:
            raise GencoreError(f"{path} has no {name!r}, only {shown(names)}; expected {LAYOUTS}.")
        found = table[name]
        shape = getattr(found, "shape", None)
        if not shape or min(shape) < 1 or len(shape) != (axes or len(shape)) or found.dtype.kind not in "fiu":
            raise GencoreError(f"{path}: {name} is {shape} {getattr(found, 'dtype', '')}; expected numbers, {LAYOUTS}.")
        if found.is_virtual or found.external:
            raise GencoreError(f"{path}: {name} lies in other files; expected numbers in the file itself.")
        rows = rows or shape[0]
        if shape[0] != rows:
            raise GencoreError(f"{path}: {name} has {shape[0]} rows; expected {rows}, as {next(iter(wanted))} has.")
        total += math.prod(shape) * (found.dtype.itemsize + 4)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total > memory:
        raise GencoreError(f"{path} needs {total / 2**30:.1f} GiB in memory; this machine has {memory / 2**30:.1f}.")
    if left := sorted(set(names) - set(wanted) - _PASSED_OVER):
        warnings.warn(f"{path}: {shown(left)} are left out of account.", stacklevel=5)


def _read(table: Any, name: str, path: Path) -> Tensor:
    """All of a data set as float32, finite and 0 or more."""
    values = torch.from_numpy(np.asarray(table[name][()], dtype=np.float32))
    low, _ = finite_bounds(values, f"{path}: {name}")
    if low < 0:
        raise GencoreError(f"{path}: {name} goes down to {low:g}; expected 0 or more.")
    return values
