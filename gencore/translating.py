"""A picture's file through a translator: read as it is, translated piece by piece, measured against its truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from gencore.data.toys.degradations import grey
from gencore.data.whole import Whole, read_whole
from gencore.errors import GencoreError
from gencore.evaluation.fidelity import luma, psnr, ssim
from gencore.tiling import tiles, translated_tiles


class Translator:
    """From a file to its translation. A network of one channel gives a coloured picture its luma, and the colours are
    enlarged beside it."""

    def __init__(self, model: Any, *, to: str | None, tile: int, overlap: int | None, channels: int) -> None:
        self.model, self.to, self.tile, self.channels = model, to, tile, channels
        self.tiling = getattr(model, "tiling", None)
        if overlap is not None:
            if self.tiling is None:
                raise GencoreError(
                    f"--overlap is {overlap}, but each pixel that {type(model).__name__} makes depends on the whole "
                    "picture: leave it out."
                )
            self.tiling = dataclasses.replace(self.tiling, reach=overlap)

    def __call__(self, file: Path) -> tuple[Whole, int]:
        """The picture, of the file's depth, and how many times as large it is. Raises UnreadableImageError."""
        given = read_whole(file, 3 if self.channels == 3 else None)
        made_channels = self.model.config.data_shape[0]
        if self.channels == 1 and given.colours.shape[2] == 3 and made_channels != 1:
            given = read_whole(file, 1)
        peak = np.iinfo(given.colours.dtype).max
        split = self.channels == 1 and given.colours.shape[2] == 3
        x = _tensor(given.colours, peak)
        colours, scale = self._translated(luma_and_rest(x)[0] if split else x, given.colours.dtype, peak)
        if split:
            y = _tensor(colours, peak)
            rest = _enlarged(luma_and_rest(x)[1], scale)
            colours = _pixels(y + rest, peak, given.colours.dtype)
        alpha = given.alpha
        if alpha is not None and scale != 1:
            enlarged = _enlarged(_tensor(alpha[..., None], peak), scale)
            alpha = _pixels(enlarged, peak, alpha.dtype)[..., 0]
        keeps = colours.shape[2] == given.colours.shape[2]
        return Whole(colours=colours, alpha=alpha, profile=given.profile if keeps else None), scale

    def _translated(self, x: Tensor, dtype: Any, peak: int) -> tuple[Any, int]:
        """Pixels (scale H, scale W, C) of a picture (C, H, W) in [-1, 1], piece by piece, and the scale."""
        canvas = None
        with torch.no_grad():
            for scale, top, left, piece in translated_tiles(self._model, x, tiles(x, self.tile, self.tiling)):
                if canvas is None:
                    canvas = np.empty((scale * x.shape[1], scale * x.shape[2], len(piece)), dtype)
                height, width = piece.shape[-2:]
                canvas[top : top + height, left : left + width] = _pixels(piece, peak, dtype)
        return canvas, scale

    def _model(self, x: Tensor) -> Tensor:
        made: Tensor = self.model.translate(x) if self.to is None else self.model.translate(x, to=self.to)
        if not made.isfinite().all():
            raise GencoreError("The model makes NaN or infinity of this picture: its weights are broken.")
        return made


def luma_and_rest(x: Tensor) -> tuple[Tensor, Tensor]:
    """A picture (3, H, W) -> its luma (1, H, W), and what is left of each channel, (3, H, W)."""
    y = grey(x[None])[0]
    return y, x - y


def score(picture: Whole, truth: Path, space: str, border: int) -> tuple[float, float]:
    """PSNR in dB and SSIM against the picture in `truth`, both as 8 bits, `border` pixels cut off at each side.

    Raises GencoreError for another size.
    """
    made, true = (np.array(_bytes(p.colours)) for p in (picture, read_whole(truth, picture.colours.shape[2])))
    if made.shape != true.shape:
        size, wanted = (" x ".join(map(str, p.shape[1::-1])) for p in (made, true))
        raise GencoreError(f"{truth} is {wanted} pixels, its translation {size}; expected one size.")
    cut = slice(border, -border or None)
    pair = [torch.from_numpy(p).permute(2, 0, 1)[None, :, cut, cut].double() for p in (made, true)]
    a, b = [luma(p) for p in pair] if space == "y" else pair
    return psnr(a, b), ssim(a, b)


def _bytes(pixels: Any) -> Any:

    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


def _tensor(pixels: Any, peak: int) -> Tensor:
    """(H, W, C) whole numbers -> (C, H, W) in [-1, 1]."""
    return rearrange(torch.from_numpy(pixels.astype(np.float32)), "h w c -> c h w") / (peak / 2) - 1


def _pixels(x: Tensor, peak: int, dtype: Any) -> Any:
    """(C, H, W) in [-1, 1] -> (H, W, C) whole numbers, clipped and rounded."""
    return rearrange(((x.clamp(-1, 1) + 1) * (peak / 2)).round(), "c h w -> h w c").cpu().numpy().astype(dtype)


def _enlarged(x: Tensor, scale: int) -> Tensor:

    return x if scale == 1 else F.interpolate(x[None], scale_factor=scale, mode="bicubic", align_corners=False)[0]
