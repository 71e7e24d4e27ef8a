"""The minibatch standard deviation layer, as the papers describe it. In float64 it is the oracle of every test.

Karras, Aila, Laine, Lehtinen, "Progressive Growing of GANs", 2018, arXiv:1710.10196, section 3 (whole batch, one
feature); Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv:1912.04958 (groups of
four).
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor


def minibatch_stddev(x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    """x [N, C, *spatial] -> [N, C + F, *spatial], or [N, F, *spatial] without concat; any order of derivative by
    autograd.

    Sample n = g * (N / G) + m is member g of group m, G = group_size, which divides N.
    """
    dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    grouped = rearrange(x, "(g m) (f c) ... -> g m f c (...)", g=group_size, f=num_features).to(dtype)
    centred = grouped - grouped.mean(dim=0)
    stddev = (centred.square().mean(dim=0) + eps).sqrt()
    statistic = repeat(stddev.mean(dim=(2, 3)), "m f -> (g m) f", g=group_size).to(x.dtype)
    planes = statistic.reshape(*statistic.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], dim=1) if concat else planes.contiguous()
