"""Pad, upsample by zero insertion, filter, downsample, as the papers describe it. In float64 it is the oracle of every
test.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv:1912.04958; Karras et al., "Training
Generative Adversarial Networks with Limited Data", 2020, arXiv:2006.06676, appendix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from torch import Tensor
from torch.nn import functional


def upfirdn2d(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    """x [N, C, H, W], f [n] or [fh, fw] -> [N, C, H', W']; any order of derivative by autograd.

    up, down: (vertical, horizontal). padding: (left, right, top, bottom), in pixels of the image with zeros inserted.
    """
    dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    kernel = (torch.outer(f, f) if f.dim() == 1 else f).to(dtype)
    inserted = rearrange(x.to(dtype), "n c h w -> n c h 1 w 1")
    inserted = functional.pad(inserted, (0, up[1] - 1, 0, 0, 0, up[0] - 1))
    padded = functional.pad(rearrange(inserted, "n c h u w v -> n c (h u) (w v)"), tuple(padding))
    windows = padded.unfold(2, kernel.shape[0], 1).unfold(3, kernel.shape[1], 1)
    filtered = einsum(windows, kernel if flip else kernel.flip(0, 1), "n c h w i j, i j -> n c h w")
    return (gain * filtered[:, :, :: down[0], :: down[1]]).to(x.dtype)
