"""Filters, and the passes over an image that a filter takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# On one CPU thread two passes take longer at 12 taps, 0.8 to 1.2 times as long as one at 16, and 0.5 to 0.85 at 24.
SEPARATE_FROM = 16


def setup_filter(
    taps: Sequence[float] | Sequence[Sequence[float]] | Tensor, *, device: torch.device | str = "cpu"
) -> Tensor:
    """The taps as a float32 filter whose sum is 1, for `upfirdn2d`.

    taps: [n] for a separable filter, used along both axes, or [fh, fw]; StyleGAN2's is (1, 3, 3, 1).
    Raises ValueError if there are no taps, more than two dimensions, a value that is not finite, or a sum of 0.
    """
    f = torch.as_tensor(taps, dtype=torch.float64).to(device)
    if f.dim() not in (1, 2) or not f.numel():
        raise ValueError(f"taps must be [n] or [fh, fw] with at least one entry, got shape {tuple(f.shape)}")
    total = f.sum()
    if not f.isfinite().all() or total == 0:
        raise ValueError(f"taps must be finite with a sum other than 0, got {f.tolist()}: there is nothing to scale by")
    return (f / total).to(torch.float32)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a two-dimensional filter [fh, fw]. up, down: (vertical, horizontal). padding: (left, right, top,
    bottom)."""

    f: Tensor
    up: tuple[int, int]
    down: tuple[int, int]
    padding: tuple[int, int, int, int]
    gain: float


def passes(
    f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], gain: float, dtype: torch.dtype
) -> list[Pass]:
    """The passes that make one resampling with f [n] or [fh, fw]: two of one dimension for a long separable filter."""
    f = f.to(dtype)
    left, right, top, bottom = padding
    if f.dim() == 1 and len(f) >= SEPARATE_FROM:
        return [
            Pass(f[:, None], (up[0], 1), (down[0], 1), (0, 0, top, bottom), 1.0),
            Pass(f[None, :], (1, up[1]), (1, down[1]), (left, right, 0, 0), gain),
        ]
    kernel = torch.outer(f, f) if f.dim() == 1 else f
    return [Pass(kernel, (up[0], up[1]), (down[0], down[1]), (left, right, top, bottom), gain)]


def output_size(
    size: Sequence[int], taps: Sequence[int], up: Sequence[int], down: Sequence[int], padding: Sequence[int]
) -> tuple[int, int]:
    """(rows, columns) of the result. size, taps, up, down: (vertical, horizontal)."""
    left, right, top, bottom = padding
    rows = (size[0] * up[0] + top + bottom - taps[0]) // down[0] + 1
    return rows, (size[1] * up[1] + left + right - taps[1]) // down[1] + 1
