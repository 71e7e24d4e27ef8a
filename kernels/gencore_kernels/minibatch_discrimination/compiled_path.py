"""Minibatch discrimination on the CPU in C++ (pairs.cpp): value and first derivative of torch_path, whose second
derivative serves here, too."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore_kernels import cpp
from gencore_kernels.minibatch_discrimination.torch_path import to_bcn

GRAIN = 1 << 18  # terms |m_ic - m_jc| below which another thread costs more than it saves


def forward(m: Tensor, include_self: bool) -> Tensor:
    """m [N, B, C], on the CPU and float32 or narrower -> o [N, B] of m's dtype."""
    m_bcn = to_bcn(m)
    result = m_bcn.new_empty(m_bcn.shape[0], m_bcn.shape[2])
    _run("discrimination", m_bcn, result, int(include_self))
    return result.t().contiguous().to(m.dtype)


def backward(grad: Tensor, m: Tensor) -> Tensor:
    """grad [N, B], m [N, B, C] -> gM [N, B, C] of m's dtype, laid out as [B, C, N]."""
    m_bcn = to_bcn(m)
    result = torch.empty_like(m_bcn)
    _run("discrimination_backward", m_bcn, grad.t().to(m_bcn.dtype).contiguous(), result)
    return result.to(m.dtype).permute(2, 0, 1)


def _run(name: str, m_bcn: Tensor, *arguments: Tensor | int) -> None:
    features, channels, samples = m_bcn.shape
    grain = max(1, GRAIN // max(1, channels * samples**2))
    cpp.run(name, m_bcn, *arguments, channels, samples, units=features, grain=grain)
