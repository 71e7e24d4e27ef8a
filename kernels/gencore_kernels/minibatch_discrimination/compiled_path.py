"""Minibatch discrimination on the CPU in C++ (pairs.cpp): value and first derivative of torch_path, whose second
derivative serves here, too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gencore_kernels import cpp
from gencore_kernels.minibatch_discrimination.torch_path import to_bcn


def forward(m: Tensor, include_self: bool) -> Tensor:
    """m [N, B, C], on the CPU and float32 or narrower -> o [N, B] of m's dtype."""
    m_bcn = to_bcn(m)
    result = m_bcn.new_empty(m_bcn.shape[0], m_bcn.shape[2])
    functions()["forward"](m_bcn, result, int(include_self), *m_bcn.shape)
    return result.t().contiguous().to(m.dtype)


def backward(grad: Tensor, m: Tensor) -> Tensor:
    """grad [N, B], m [N, B, C] -> gM [N, B, C] of m's dtype, laid out as [B, C, N]."""
    m_bcn = to_bcn(m)
    result = torch.empty_like(m_bcn)
    functions()["backward"](m_bcn, grad.t().to(m_bcn.dtype).contiguous(), result, *m_bcn.shape)
    return result.to(m.dtype).permute(2, 0, 1)


@functools.cache
def functions() -> dict[str, Callable[..., None]]:
    """pairs.cpp's, compiled where that has not been done."""
    return cpp.load(Path(__file__).with_name("pairs.cpp"), forward=(2, 4), backward=(3, 3))
