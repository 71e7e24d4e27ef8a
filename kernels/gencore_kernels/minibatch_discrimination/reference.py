"""The formula of minibatch discrimination, as the paper prints it. In float64 it is the oracle of every test.

Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", 2016, arXiv:1606.03498,
section 3.2: c_b(x_i, x_j) = exp(-||M_ib - M_jb||_1) and o(x_i)_b = sum_j c_b(x_i, x_j).
"""

from __future__ import annotations

import torch
from torch import Tensor


def minibatch_discrimination(m: Tensor, include_self: bool = True) -> Tensor:
    """m [N, B, C] -> o [N, B], differentiable to any order by autograd; holds N * N * B * C numbers."""
    m = m.float() if m.dtype in (torch.float16, torch.bfloat16) else m
    distance = (m[:, None] - m[None, :]).abs().sum(dim=3)
    closeness = torch.exp(-distance)
    if not include_self:
        itself = torch.eye(len(m), dtype=torch.bool, device=m.device)[:, :, None]
        closeness = torch.where(itself, 0.0, closeness)
    return closeness.sum(dim=1)
