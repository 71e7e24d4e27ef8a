"""What the world does to a picture, so that a network may undo it: pure functions on pictures (N, C, H, W) in [-1, 1].

-1 is black and 1 is white. What is random takes `seed` and `index`, (N,) int64, one number a picture: the rain on
picture i depends on (seed, i) alone, not on its batch or device. Masks are (N, 1, H, W), 1 in the hole and 0 where the
picture is kept.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from gencore.data.images import from_uint8, to_uint8
from gencore.errors import GencoreError

LUMA = (0.299, 0.587, 0.114)


def bicubic_matrix(size: int, factor: int) -> Tensor:
    """(size // factor, size) float64: the rows of MATLAB's imresize(x, 1 / factor), which is bicubic and antialiased.

    Keys' kernel with a = -1/2 (Keys 1981), stretched by `factor`; beyond the border the picture is mirrored, with the
    edge pixel repeated (torch and Pillow cut the kernel there: up to 5e-2 off in the two outer pixels). Each row sums
    to 1. Raises GencoreError unless `factor`, 1 or more, divides `size`.
    """
    if factor < 1 or size % factor:
        raise GencoreError(f"A side of {size} pixels cannot shrink by {factor}; expected a factor that divides it.")
    centre = (torch.arange(size // factor, dtype=torch.float64) + 0.5) * factor - 0.5
    taps = torch.arange(-2 * factor - 1, 2 * factor + 2) + centre.floor().long()[:, None]
    distance = ((taps - centre[:, None]) / factor).abs()
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weight = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    weight = weight / weight.sum(1, keepdim=True)
    source = taps % (2 * size)
    source = torch.minimum(source, 2 * size - 1 - source)
    return torch.zeros(size // factor, size, dtype=torch.float64).scatter_add_(1, source, weight)


def downsample(x: Tensor, factor: int = 2) -> Tensor:
    """(N, C, H, W) to (N, C, H / factor, W / factor), as `bicubic_matrix`; not clipped: it overshoots a little."""
    rows, columns = (bicubic_matrix(side, factor).to(x) for side in x.shape[-2:])
    return rows @ x @ columns.T


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Convolution with a Gaussian of `sigma` pixels, cut at 3 sigma; the border is mirrored.

    Raises GencoreError: sigma not positive, or 3 sigma not within the picture.
    """
    if not 0 < sigma < math.inf:
        raise GencoreError(f"sigma is {sigma}; expected a positive number of pixels.")
    radius, channels = max(1, math.ceil(3 * sigma)), x.shape[1]
    if radius >= min(x.shape[-2:]):
        raise GencoreError(
            f"sigma {sigma} reaches {radius} pixels; expected less than the picture's {tuple(x.shape[-2:])}."
        )
    offset = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = repeat(kernel / kernel.sum(), "k -> c 1 1 k", c=channels)
    across = F.conv2d(F.pad(x, (radius, radius, 0, 0), "reflect"), kernel, groups=channels)
    return F.conv2d(F.pad(across, (0, 0, radius, radius), "reflect"), kernel.mT, groups=channels)


def jpeg(x: Tensor, quality: int = 30) -> Tensor:
    """Through Pillow's JPEG coder; C is 1 or 3, quality 1 to 100 (even 100 is off by up to 1.5 of 255). No gradient."""
    from PIL import Image

    if not 1 <= quality <= 100:
        raise GencoreError(f"quality is {quality}; expected 1 to 100.")
    coded = []
    for picture in rearrange(to_uint8(x), "n c h w -> n h w c").numpy():
        file = io.BytesIO()
        pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        coded.append(np.atleast_3d(np.asarray(Image.open(file))))
    return from_uint8(rearrange(torch.from_numpy(np.stack(coded)), "n h w c -> n c h w")).to(x)


def noise(x: Tensor, sigma: float, *, seed: int, index: Tensor) -> Tensor:
    """White Gaussian noise of `sigma` in units of [-1, 1] (0.1 leaves a PSNR of 26 dB), clipped to [-1, 1]."""
    drawn = np.stack([g.standard_normal(x.shape[1:], dtype=np.float32) for g in _generators(seed, index, len(x))])
    return (x + sigma * torch.from_numpy(drawn).to(x)).clamp(-1, 1)


def rain(
    x: Tensor, *, seed: int, index: Tensor, density: float = 0.015, length: float = 10.0, strength: float = 0.9
) -> Tensor:
    """Bright streaks, the same in all channels: one slant a picture, a length and a light a drop; clipped at white.

    `density` is drops a pixel, `length` in pixels, `strength` what the brightest drop adds. At 0.015 a photograph is
    left with about 24 dB, at 0.06 with 18. Streaks cannot be seen, nor undone, on what is white.
    """
    height, width = x.shape[-2:]
    streaks = [_streaks(g, height, width, density, length) for g in _generators(seed, index, len(x))]
    return (x + strength * torch.from_numpy(np.stack(streaks)).unsqueeze(1).to(x)).clamp(max=1.0)


def _streaks(
    g: np.random.Generator, height: int, width: int, density: float, length: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The light of all drops on one picture, (H, W) in [0, 1]; each row of a drop is shared by two pixels."""
    light = np.zeros((height, width), np.float32)
    slant = g.uniform(-0.5, 0.5)  # tangent of the angle to the vertical
    for _ in range(g.poisson(density * height * width)):
        top, left = g.uniform(-length, height), g.uniform(-length / 2, width + length / 2)
        bright, long = g.uniform(0.4, 1.0), int(length * g.uniform(0.6, 1.4))
        for y in range(max(0, int(top)), min(height, int(top) + long)):
            base, part = divmod(left + slant * (y - top), 1)
            for column, share in ((int(base), 1 - part), (int(base) + 1, part)):
                if 0 <= column < width:
                    light[y, column] = max(light[y, column], bright * share)
    return light


def mask_centre(num_masks: int, size: int, hole: int) -> Tensor:
    """(num_masks, 1, size, size) with a square hole of side `hole` in the middle."""
    _check_hole(size, hole)
    mask, low = torch.zeros(num_masks, 1, size, size), (size - hole) // 2
    mask[..., low : low + hole, low : low + hole] = 1
    return mask


def mask_random(size: int, hole: int, *, seed: int, index: Tensor) -> Tensor:
    """(N, 1, size, size), each with a square hole of side `hole` anywhere."""
    _check_hole(size, hole)
    mask = torch.zeros(len(index), 1, size, size)
    for one, g in zip(mask, _generators(seed, index, len(index)), strict=True):
        y, x = g.integers(0, size - hole + 1, 2)
        one[:, y : y + hole, x : x + hole] = 1
    return mask


def mask_free_form(size: int, *, seed: int, index: Tensor, strokes: int = 3, width: float = 0.1) -> Tensor:
    """(N, 1, size, size) of strokes: random walks of a round brush, after Yu et al. 2019 (arXiv:1806.03589).

    `width` is the brush's part of `size`; at the default an eighth of the picture is covered.
    """
    mask, pixel = torch.zeros(len(index), 1, size, size), torch.arange(size)
    for one, g in zip(mask, _generators(seed, index, len(index)), strict=True):
        for _ in range(strokes):
            y, x = g.uniform(0, size, 2)
            angle = g.uniform(0, 2 * math.pi)
            for _ in range(size // 2):
                one[0][(pixel[:, None] - y) ** 2 + (pixel - x) ** 2 <= (width * size / 2) ** 2] = 1
                angle += g.normal(0, 0.4)
                y, x = np.clip((y + math.sin(angle), x + math.cos(angle)), 0, size - 1)
    return mask


def erase(x: Tensor, mask: Tensor, fill: float = 0.0) -> Tensor:
    """x where the mask is 0, `fill` (mid grey) where it is 1."""
    return torch.lerp(x, torch.full_like(x, fill), mask)


def grey(x: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W): BT.601 luma of the stored (gamma-coded) values, full range as in JPEG.

    MATLAB's rgb2ycbcr, on which papers report PSNR, spans 16 to 235 instead: 1.3 dB more for the same pictures.
    """
    if x.shape[1] != 3:
        raise GencoreError(f"got pictures with {x.shape[1]} channels; expected 3.")
    return torch.einsum("nchw,c->nhw", x, x.new_tensor(LUMA)).unsqueeze(1)


def _generators(seed: int, index: Tensor, count: int) -> Iterator[np.random.Generator]:
    """One generator a picture, from (seed, index)."""
    if index.shape != (count,):
        raise GencoreError(f"index is {tuple(index.shape)} for {count} pictures; expected ({count},) int64.")
    return (np.random.default_rng((seed, int(i))) for i in index)


def _check_hole(size: int, hole: int) -> None:
    if not 0 < hole <= size:
        raise GencoreError(f"hole is {hole} for pictures of side {size}; expected 1 to {size}.")
