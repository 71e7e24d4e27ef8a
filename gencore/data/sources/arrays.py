"""Arrays as a source: tensors, NumPy arrays, .npy and .npz files. Pickled objects are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from gencore.data.images import resize_images
from gencore.data.ranges import check_image_range, finite_bounds
from gencore.data.source import check_labels
from gencore.data.sources.memory import InMemory
from gencore.errors import GencoreError

Layout = Literal["NCHW", "NHWC"]
LABEL_KEYS = ("label", "labels", "y")
CHANNELS = (1, 3)


def arrays(
    data: str | os.PathLike[str] | np.ndarray | Tensor | Mapping[str, Any],
    *,
    image_size: int | None = None,
    layout: Layout | None = None,
    num_classes: int | None = None,
) -> InMemory:
    """A source from a .npy file (x), a .npz file or mapping (x, and label, labels or y), an array or a tensor.

    x by its axes:
      (N, D)                  vectors, floating point, unchanged
      (N, H, W)               grey images
      (N, C, H, W), NHWC      images with C of 1 or 3; the layout is that in which the channel axis has 1 or 3 entries,
                              and must be given where both or neither have (neither: an error in any case)
    Images are uint8, 0 ... 255, or floating point in [-1, 1]. Labels are integers (N,), from 0; num_classes is the
    largest + 1 if None. The data are copied only where they must be converted.

    Raises GencoreError for anything else, with the fix; NonFiniteError for NaN or infinite values.
    """
    name = f"arrays in {os.fspath(data)}" if isinstance(data, (str, os.PathLike)) else "arrays"
    if isinstance(data, (str, os.PathLike)):
        data = _load(Path(os.path.expanduser(data)))
    members = dict(data) if isinstance(data, Mapping) else {"x": data}
    x, label = _members(members, name)
    x = _layout(x, layout, name)
    x = _images(x, name) if x.ndim == 4 else _vectors(x, name)
    if image_size is not None:
        x = resize_images(x, image_size)
    if label is None:
        return InMemory(x=x.contiguous(), name=name)
    label = _check_labels(label, len(x), name)
    classes = num_classes or int(label.max()) + 1
    check_labels(label, classes, name)
    return InMemory(x=x.contiguous(), label=label, num_classes=classes, name=name)


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    if path.suffix not in (".npy", ".npz"):
        raise GencoreError(f"{path} is no array file; expected a name that ends in .npy or .npz.")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except FileNotFoundError as error:
        raise GencoreError(f"{path} does not exist.") from error
    except Exception as error:  # NumPy's header parser and zipfile raise whatever damaged bytes led them to
        raise GencoreError(
            f"{path} cannot be read as NumPy arrays: {error} It is damaged, or holds pickled objects, which are never "
            "loaded: save plain numbers, np.save(path, np.asarray(x, dtype=np.float32))."
        ) from error


def _members(members: dict[str, Any], name: str) -> tuple[Tensor, Tensor | None]:
    if "x" not in members:
        raise GencoreError(
            f"{name} have no member 'x', only {sorted(members)}. Name the examples x and the labels label."
        )
    found = [key for key in LABEL_KEYS if key in members]
    if len(found) > 1:
        raise GencoreError(f"{name} have labels under {' and '.join(found)}; keep one of them.")
    x = _tensor(members["x"], f"x of {name}")
    return x, _tensor(members[found[0]], f"{found[0]} of {name}") if found else None


def _tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        array = np.asarray(value)
        native = array.dtype.newbyteorder("=")
        return torch.from_numpy(np.require(array, native, ["C_CONTIGUOUS", "WRITEABLE"]))
    except (TypeError, ValueError) as error:
        raise GencoreError(f"{what} cannot be a tensor: {error}. Expected an array of numbers.") from error


def _layout(x: Tensor, layout: Layout | None, name: str) -> Tensor:
    """x as (N, D) or NCHW."""
    shape = tuple(x.shape)
    if layout not in (None, "NCHW", "NHWC"):
        raise GencoreError(f'layout is {layout!r}; expected "NCHW", "NHWC" or None.')
    if x.ndim not in (2, 3, 4) or not x.numel():
        fix = " Use x[:, None] for numbers." if x.ndim == 1 else ""
        raise GencoreError(f"x of {name} has shape {shape}; expected (N, D), (N, H, W), NCHW or NHWC, not empty.{fix}")
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 2:
        return x
    possible = [kind for kind, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] in CHANNELS]
    if not possible or (layout is not None and layout not in possible):
        raise GencoreError(f"x of {name} has shape {shape}; expected {layout or 'NCHW or NHWC'} with 1 or 3 channels.")
    if layout is None and len(possible) == 2:
        raise GencoreError(f'x of {name} has shape {shape}: NCHW or NHWC? Say it: arrays(x, layout="NCHW").')
    return rearrange(x, "n h w c -> n c h w") if (layout or possible[0]) == "NHWC" else x


def _images(x: Tensor, name: str) -> Tensor:
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise GencoreError(
            f"x of {name} has images of {x.dtype}; expected uint8, 0 to 255, or floating point in [-1, 1]."
        )
    x = x.float()
    bounds = finite_bounds(x, f"x of {name}")
    check_image_range(bounds, f"x of {name}")
    if bounds[0] >= 0:
        raise GencoreError(
            f"x of {name} has images with values from {bounds[0]:.4g} to {bounds[1]:.4g}, which looks like [0, 1]; "
            "expected [-1, 1]: x * 2 - 1."
        )
    return x.clamp(-1, 1)


def _vectors(x: Tensor, name: str) -> Tensor:
    if not x.is_floating_point():
        raise GencoreError(
            f"x of {name} is {tuple(x.shape)} {x.dtype}; expected floating-point vectors (N, D), or images (N, H, W)."
        )
    x = x.float()
    finite_bounds(x, f"x of {name} (as float32)")
    return x


def _check_labels(label: Tensor, count: int, name: str) -> Tensor:
    whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
    if not whole or label.shape != (count,):
        raise GencoreError(
            f"the labels of {name} are {tuple(label.shape)} {label.dtype}; expected ({count},) integers: the class of "
            "each example, from 0."
        )
    return label.long()
