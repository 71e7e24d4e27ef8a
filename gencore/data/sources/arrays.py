"""Arrays as a source: tensors, NumPy arrays, .npy and .npz files. Pickled objects are refused."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import MAX_COUNT, ClassLabel, Condition, Image
from gencore.data.images import from_uint8, resize_images
from gencore.data.ranges import (
    DataRange,
    check_image_range,
    check_peak,
    check_range,
    check_within,
    finite_bounds,
    rescale,
)
from gencore.data.source import Batch, Source, check_indices, check_labels
from gencore.data.sources.array_files import map_npy, read_npz
from gencore.data.sources.memory import InMemory
from gencore.errors import GencoreError

Layout = Literal["NCHW", "NHWC"]
LABEL_KEYS = ("label", "labels", "y", "target", "targets")
CHANNELS = (1, 3)
LARGE = 2**28
"""Bytes from which a .npy file stays on the disk, and rows are read and converted when they are fetched."""
FEW_CLASSES = 1000
_CHUNK = 2**24

Convert = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnDisk:
    """A source whose `x` is mapped from a file; `convert` makes rows of it x, (N, *shape) float32 or uint8 images."""

    x: Tensor
    convert: Convert
    shape: tuple[int, ...]
    name: str
    num_classes: ClassVar[None] = None
    read_ahead: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        x = self.convert(self.x[indices])
        return {"x": from_uint8(x) if x.dtype == torch.uint8 else x, "index": indices}


def arrays(
    data: str | os.PathLike[str] | np.ndarray | Tensor | Mapping[str, Any],
    *,
    image_size: int | None = None,
    layout: Layout | None = None,
    num_classes: int | None = None,
    data_range: DataRange | None = None,
) -> Source:
    """A source from a .npy file (x), a .npz file or mapping (x, label, x_input, x_...), an array or a tensor.

    x by its axes:
      (N, D)                  vectors, floating point, unchanged
      (N, H, W)               grey images
      (N, C, H, W), NHWC      images with C of 1 or 3; the layout is that in which the channel axis has 1 or 3 entries,
                              and must be given where both or neither have (neither: an error in any case)
    Images are uint8, 0 ... 255, or floating point in [-1, 1]; data_range=(low, high) says another range, of any type.
    Labels (label, labels, y, target or targets, in any case) are integers (N,), from 0; num_classes is the largest + 1
    if None. x_input is the picture that x is made from; another x_... is a further stream. Other members are refused.
    The data are copied only where they must be converted; a .npy file of LARGE bytes or more stays on the disk.

    Raises GencoreError for anything else, with the fix; NonFiniteError for NaN or infinite values.
    """
    name = f"arrays in {os.fspath(data)}" if isinstance(data, (str, os.PathLike)) else "arrays"
    check_range(data_range)
    members = _load(Path(os.path.expanduser(data))) if isinstance(data, (str, os.PathLike)) else data
    members = dict(members) if isinstance(members, Mapping) else {"x": members}
    if not isinstance(data, (str, os.PathLike)):
        _check_members(members, name)
    if "x" not in members:
        raise GencoreError(
            f"{name} have no member 'x', only {sorted(members)}. Name the examples x and the labels label."
        )
    streams = {key: _tensor(value, f"{key} of {name}") for key, value in members.items() if _is_stream(key)}
    converts = {
        key: _conversion(x, f"{key} of {name}", layout=layout, data_range=data_range, image_size=image_size)
        for key, x in streams.items()
    }
    x = streams["x"]
    if isinstance(members["x"], np.memmap) and x.nbytes >= LARGE:
        return OnDisk(x=x, convert=converts["x"], shape=tuple(converts["x"](x[:1]).shape[1:]), name=name)
    ready = {key: converts[key](x).contiguous() for key, x in streams.items()}
    return _in_memory(ready, _label(members, name), num_classes, name)


def _in_memory(ready: dict[str, Tensor], label: Tensor | None, num_classes: int | None, name: str) -> InMemory:
    x = ready.pop("x")
    for key, rows in ready.items():
        if len(rows) != len(x):
            raise GencoreError(f"{key} of {name} has {len(rows)} rows; expected {len(x)}, as x has.")
    conditions: tuple[Condition, ...] = ()
    if (given := ready.get("x_input")) is not None:
        if given.ndim != 4:
            raise GencoreError(f"x_input of {name} is {tuple(given.shape)}; expected images.")
        channels, height, width = given.shape[1:]
        conditions = (Image(shape=(channels, height, width)),)
    if label is None:
        return InMemory(x=x, name=name, further=ready, conditions=conditions)
    label = _check_labels(label, len(x), name)
    classes = num_classes or _count_classes(label, name)
    check_labels(label, classes, name)
    conditions = (*conditions, ClassLabel(count=classes))
    return InMemory(x=x, label=label, num_classes=classes, name=name, further=ready, conditions=conditions)


def _load(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        return read_npz(path, lambda key: _is_stream(key) or _is_label(key))
    if path.suffix != ".npy":
        raise GencoreError(f"{path} is no array file; expected a name that ends in .npy or .npz.")
    mapped = map_npy(path)
    return {"x": mapped if mapped.nbytes >= LARGE else np.array(mapped)}


def _is_stream(key: str) -> bool:
    return key == "x" or key.startswith("x_")


def _is_label(key: str) -> bool:
    return key.lower() in LABEL_KEYS


def _check_members(members: Mapping[str, Any], name: str) -> None:
    others = sorted(str(key) for key in members if not (isinstance(key, str) and (_is_stream(key) or _is_label(key))))
    if others and "x" in members:
        raise GencoreError(
            f"{name} have no use for {others[:20]}: the examples are x, their classes label, further pictures x_input "
            "or x_...; leave out the others."
        )


def _label(members: Mapping[str, Any], name: str) -> Tensor | None:
    found = [key for key in members if _is_label(key)]
    if len(found) > 1:
        in_order = sorted(found, key=lambda key: LABEL_KEYS.index(key.lower()))
        raise GencoreError(f"{name} have labels under {' and '.join(in_order)}; keep one of them.")
    return _tensor(members[found[0]], f"{found[0]} of {name}") if found else None


def _tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        array = np.asarray(value)
        if isinstance(array, np.memmap) and array.dtype.isnative and array.flags.c_contiguous:
            return torch.from_numpy(array)  # mapped as a private copy, which may be written to
        native = array.dtype.newbyteorder("=")
        return torch.from_numpy(np.require(array, native, ["C_CONTIGUOUS", "WRITEABLE"]))
    except (TypeError, ValueError) as error:
        raise GencoreError(f"{what} cannot be a tensor: {error}. Expected an array of numbers.") from error


def _conversion(
    x: Tensor, what: str, *, layout: Layout | None, data_range: DataRange | None, image_size: int | None
) -> Convert:
    """What makes rows of `x` (N, D) float32, or NCHW float32 in [-1, 1] or uint8. All of x is checked here."""
    rearranged = _layout(x, layout, what)
    steps: list[Convert] = [] if rearranged is None else [rearranged]
    if x.ndim == 2:
        if data_range is not None:
            raise GencoreError(f"data_range is for images; {what} is {tuple(x.shape)}, vectors. Leave it out.")
        _check_vectors(x, what)
        steps.append(lambda part: part.float())
    elif data_range is not None:
        check_within(_bounds(x, what), data_range, what)
        steps.append(functools.partial(rescale, data_range=data_range))
    elif x.dtype == torch.uint8:
        check_peak(int(_bounds(x, what)[1]), 255, what)
    else:
        _check_images(x, what)
        steps.append(lambda part: part.float().clamp(-1, 1))
    if image_size is not None:
        steps.append(functools.partial(resize_images, image_size=image_size))
    return lambda part: functools.reduce(lambda value, step: step(value), steps, part)


def _layout(x: Tensor, layout: Layout | None, what: str) -> Convert | None:
    """What makes x (N, D) or NCHW; None where it is."""
    shape = tuple(x.shape)
    if layout not in (None, "NCHW", "NHWC"):
        raise GencoreError(f'layout is {layout!r}; expected "NCHW", "NHWC" or None.')
    if x.ndim not in (2, 3, 4) or not x.numel():
        fix = " Use x[:, None] for numbers." if x.ndim == 1 else ""
        raise GencoreError(f"{what} has shape {shape}; expected (N, D), (N, H, W), NCHW or NHWC, not empty.{fix}")
    if x.ndim == 3:
        return lambda part: part[:, None]
    if x.ndim == 2:
        return None
    possible = [kind for kind, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] in CHANNELS]
    if not possible or (layout is not None and layout not in possible):
        raise GencoreError(f"{what} has shape {shape}; expected {layout or 'NCHW or NHWC'} with 1 or 3 channels.")
    if layout is None and len(possible) == 2:
        raise GencoreError(f'{what} has shape {shape}: NCHW or NHWC? Say it: arrays(x, layout="NCHW").')
    if (layout or possible[0]) == "NCHW":
        return None
    return lambda part: rearrange(part, "n h w c -> n c h w")


def _bounds(x: Tensor, what: str) -> tuple[float, float]:
    """The least and greatest value, read piece by piece. Raises NonFiniteError."""
    rows = len(x) if x.nbytes < LARGE else max(1, _CHUNK * len(x) // x.nbytes)
    found = []
    for index in torch.arange(len(x)).split(rows):
        part = x[int(index[0]) : int(index[-1]) + 1]
        if part.is_floating_point():
            found.append(finite_bounds(part.float(), what, index))
        else:  # NumPy has the least and greatest of every type, in place
            found.append((float(part.numpy().min()), float(part.numpy().max())))
    return min(low for low, _ in found), max(high for _, high in found)


def _check_images(x: Tensor, what: str) -> None:
    if not x.is_floating_point():
        raise GencoreError(
            f"{what} has images of {x.dtype}; expected uint8, 0 to 255, or floating point in [-1, 1]. Say which range "
            "other numbers run through: data_range=(low, high) (--data-range LOW,HIGH)."
        )
    bounds = _bounds(x, what)
    check_image_range(bounds, what)
    if bounds[0] >= 0:
        raise GencoreError(
            f"{what} has images with values from {bounds[0]:.4g} to {bounds[1]:.4g}, which looks like [0, 1]; "
            "expected [-1, 1]: x * 2 - 1, or say data_range=(0, 1) (--data-range 0,1)."
        )


def _check_vectors(x: Tensor, what: str) -> None:
    if not x.is_floating_point():
        raise GencoreError(
            f"{what} is {tuple(x.shape)} {x.dtype}; expected floating-point vectors (N, D), or images (N, H, W)."
        )
    _bounds(x, f"{what} (as float32)")


def _check_labels(label: Tensor, count: int, name: str) -> Tensor:
    whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
    if not whole or label.shape != (count,):
        raise GencoreError(
            f"the labels of {name} are {tuple(label.shape)} {label.dtype}; expected ({count},) integers: the class of "
            "each example, from 0."
        )
    return label.long()


def _count_classes(label: Tensor, name: str) -> int:
    """The largest label + 1, refused where that is beyond belief: a model has a row of weights for each class."""
    largest = int(label.max())
    if largest >= min(max(FEW_CLASSES, len(label)), MAX_COUNT):
        raise GencoreError(
            f"the labels of {name} go up to {largest}, with {len(label)} examples; expected classes numbered from 0 "
            "without gaps. Renumber them, or say how many classes there are: num_classes."
        )
    return largest + 1
