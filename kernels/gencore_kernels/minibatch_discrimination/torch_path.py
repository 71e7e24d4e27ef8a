"""Minibatch discrimination in plain PyTorch, streamed over blocks of B: no tensor of N * N * B * C, on any device.

With d_ij = sum_c |M_ic - M_jc|, k_ij = exp(-d_ij) and s_ijc = sign(M_jc - M_ic) (zero on a tie, as torch.abs has it),
for each b:

    forward           o_i = sum_j k_ij
    backward          gM_ic = sum_j (g_i + g_j) k_ij s_ijc
    double backward   with v the gradient that arrives at gM and q_ij = sum_c s_ijc (v_jc - v_ic) = the derivative of
    d_ij along v:
                      gg_i = -sum_j k_ij q_ij,  gM_ic = -sum_j (g_i + g_j) k_ij q_ij s_ijc

Measured on one CPU thread, 256 x 100 x 5, forward + backward: 35 ms and 3 MB, against 475 MB for the formula by
autograd. Buffers of 512 KB cost 6 % of time against 1 MB and halve the memory; 64 KB costs up to 2.2x.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 19


def to_bcn(m: Tensor) -> Tensor:
    """[N, B, C] of any strides and float dtype -> contiguous [B, C, N], in float32 unless it is float64."""
    dtype = torch.float64 if m.dtype == torch.float64 else torch.float32
    return m.permute(1, 2, 0).to(dtype, memory_format=torch.contiguous_format).contiguous()


def rows_per_block(m: Tensor) -> int:
    """How many of the B features one block of [rows, N, N] holds."""
    return max(1, BLOCK_BYTES // max(1, m.shape[2] ** 2 * m.element_size()))


def differences(m: Tensor, channel: int, out: Tensor) -> Tensor:
    """out[b, i, j] = m[b, channel, j] - m[b, channel, i]."""
    return torch.sub(m[:, channel, None, :], m[:, channel, :, None], out=out)


def closeness(m: Tensor, scratch: Tensor, out: Tensor) -> Tensor:
    """out = k [b, N, N] of a block m [b, C, N]; scratch is a buffer of the same shape."""
    distance = differences(m, 0, out).abs_()
    for channel in range(1, m.shape[1]):
        distance.add_(differences(m, channel, scratch).abs_())
    return distance.neg_().exp_()


def pair_buffers(m: Tensor, rows: int, count: int) -> Tensor:
    """count buffers [rows, N, N], made once and used by every block (made anew, they triple the peak memory)."""
    return m.new_empty(count, min(rows, m.shape[0]), m.shape[2], m.shape[2])


def forward(m: Tensor, include_self: bool) -> Tensor:
    """m [N, B, C] -> o [N, B] of m's dtype."""
    m_bcn = to_bcn(m)
    rows = rows_per_block(m_bcn)
    result = m_bcn.new_empty(m_bcn.shape[0], m_bcn.shape[2])
    buffers = pair_buffers(m_bcn, rows, 2)
    for block, out in zip(m_bcn.split(rows), result.split(rows), strict=True):
        k = closeness(block, *buffers[:, : len(block)])
        if not include_self:
            k.diagonal(dim1=1, dim2=2).zero_()
        torch.sum(k, dim=2, out=out)
    return result.t().contiguous().to(m.dtype)


def backward(grad: Tensor, m: Tensor) -> Tensor:
    """grad [N, B], m [N, B, C] -> gM [N, B, C] of m's dtype, laid out as [B, C, N]."""
    m_bcn = to_bcn(m)
    g = grad.t().to(m_bcn.dtype).contiguous()
    rows = rows_per_block(m_bcn)
    result = torch.empty_like(m_bcn)
    buffers = pair_buffers(m_bcn, rows, 2)
    for block, g_block, out in zip(m_bcn.split(rows), g.split(rows), result.split(rows), strict=True):
        scratch, weight = buffers[:, : len(block)]
        closeness(block, scratch, weight)
        weight.mul_(torch.add(g_block[:, :, None], g_block[:, None, :], out=scratch))
        signed_sums(block, weight, scratch, out)
    return result.to(m.dtype).permute(2, 0, 1)


def signed_sums(m: Tensor, weight: Tensor, scratch: Tensor, out: Tensor) -> None:
    """out[b, c, i] = sum_j s_ijc weight_bij."""
    for channel in range(m.shape[1]):
        out[:, channel] = differences(m, channel, scratch).sign_().mul_(weight).sum(dim=2)


def double_backward(v: Tensor, grad: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """v [N, B, C], grad [N, B], m [N, B, C] -> the gradients of <v, backward(grad, m)> to grad and to m."""
    m_bcn, v_bcn = to_bcn(m), to_bcn(v).to(torch.float64 if m.dtype == torch.float64 else torch.float32)
    g = grad.t().to(m_bcn.dtype).contiguous()
    rows = rows_per_block(m_bcn)
    grad_g, grad_m = torch.empty_like(g), torch.empty_like(m_bcn)
    buffers = pair_buffers(m_bcn, rows, 3)
    blocks = zip(*(tensor.split(rows) for tensor in (m_bcn, v_bcn, g, grad_g, grad_m)), strict=True)
    for block, v_block, g_block, out_g, out_m in blocks:
        scratch, sign, change = buffers[:, : len(block)]
        change.zero_()
        for channel in range(block.shape[1]):
            differences(block, channel, sign).sign_()
            change.addcmul_(sign, differences(v_block, channel, scratch))
        weight = closeness(block, scratch, sign).mul_(change).neg_()
        torch.sum(weight, dim=2, out=out_g)
        weight.mul_(torch.add(g_block[:, :, None], g_block[:, None, :], out=scratch))
        signed_sums(block, weight, scratch, out_m)
    return grad_g.t().to(grad.dtype), grad_m.to(m.dtype).permute(2, 0, 1)
