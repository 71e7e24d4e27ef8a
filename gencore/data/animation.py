"""Moving pictures as GIF files."""

from __future__ import annotations

import io

from torch import Tensor

from gencore.config import check
from gencore.data.images import grid
from gencore.errors import GencoreError


def there_and_back(pictures: Tensor, *, columns: int | None = None, milliseconds: int = 120) -> bytes:
    """A GIF of pictures (N, T, C, H, W) in [-1, 1]: N side by side as `grid` lays them out, through T frames and back
    to the first, for ever. Raises GencoreError for other shapes and for fewer than two frames."""
    if pictures.ndim != 5 or pictures.shape[1] < 2:
        raise GencoreError(f"got pictures {tuple(pictures.shape)}; expected (N, T, C, H, W), T at least 2.")
    check(milliseconds >= 20, "milliseconds", milliseconds, "at least 20 a frame")
    frames = [grid(frame, columns) for frame in pictures.unbind(1)]
    first, *others = frames + frames[-2:0:-1]
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return buffer.getvalue()
