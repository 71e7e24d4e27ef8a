"""Counter-based noise: the number at (seed, step, element) is a pure function of the three.

Philox4x32 with 10 rounds: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section
3. Normals: Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.

Layout, the same in every backend. The key is the sample's 64-bit seed. The counter is (element % q, step, 0, 0), where
q = `quarter(n)` for a sample of n elements, and element // q picks one of the four 32-bit words that a counter gives.
So all four words are used, memory is read in order, and no value depends on block size, batch size or place in the
batch. Words 0 and 1 give a pair of normals, words 2 and 3 another. It is not torch's generator: pass noise= where
torch's stream must be reproduced.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF
ROUNDS = 10
CHUNK = 1 << 15  # counters at a time; smaller chunks pay more per operation (measured: 1.4x slower at 1 << 14)


def quarter(n: int) -> int:
    """How many counters a sample of n elements uses: n / 4 rounded up to a multiple of 16, for aligned loads."""
    return -(-n // 64) * 16


def philox_words(
    key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words of 32 bits from a key of two and a counter of four, all int64 tensors that broadcast against each
    other.

    A product of two 32-bit words wraps in int64, but its 64 bits are right, so masking after the shift gives the high
    word.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
        c0, c1 = ((product_1 >> 32) & MASK) ^ c1 ^ k0, product_1 & MASK
        c2, c3 = ((product_0 >> 32) & MASK) ^ c3 ^ k1, product_0 & MASK
        k0, k1 = (k0 + WEYL_0) & MASK, (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


def box_muller(first: Tensor, second: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two words -> two independent N(0, 1).

    The uniforms have 24 bits, so they are exact in float32; the logarithm never sees 0.
    """
    radius = ((first >> 8) + 1).to(dtype).mul_(2.0**-24).log_().mul_(-2.0).sqrt_()
    angle = (second >> 8).to(dtype).mul_(2.0**-24 * 2.0 * math.pi)
    return radius * angle.cos(), angle.sin_().mul_(radius)


def normal_into(noise: Tensor, seeds: Tensor, steps: Tensor) -> None:
    """Writes the noise of samples with these seeds, at these steps (int64 [batch] both), over noise [batch, n].

    No host sync.
    """
    n, q = noise.shape[1], quarter(noise.shape[1])
    columns = CHUNK if noise.device.type == "cpu" else q
    rows = max(1, columns // max(q, 1))
    zero = torch.zeros((), dtype=torch.int64, device=noise.device)
    for block, seed, step in zip(
        noise.split(rows), seeds[:, None].split(rows), steps[:, None].split(rows), strict=True
    ):
        key = (seed & MASK, (seed >> 32) & MASK)
        for start in range(0, q, columns):
            index = torch.arange(start, min(start + columns, q), dtype=torch.int64, device=noise.device)
            words = philox_words(key, (index, step & MASK, zero, zero))
            normals = (*box_muller(words[0], words[1], noise.dtype), *box_muller(words[2], words[3], noise.dtype))
            for word, values in enumerate(normals):
                begin = word * q + start
                if begin < n:
                    block[:, begin : begin + values.shape[1]] = values[:, : n - begin]


def philox_normal(
    seeds: Tensor, step: int | Tensor, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The noise that `diffusion_step(..., seeds=seeds)` adds at `step`: independent N(0, 1).

    seeds: int64 [batch], one seed a sample; any 64-bit value, 0 and negatives included. The noise is made on their
        device.
    step: int, or an integer tensor, scalar or [batch]; its low 32 bits count. T, the length of the table, is the usual
        choice for the noise that a sampler starts from: no step of the table draws it again.
    shape: the shape of one sample, without the batch dimension.
    dtype: float32, or float64 for an oracle. The words are the same in both, the logarithm and the cosine are of that
        precision.
    Returns [batch, *shape]. Sample i depends on (seeds[i], step) alone.
    Raises ValueError for seeds that are not a one-dimensional int64 tensor, a step of the wrong shape, or another
    dtype.
    """
    if seeds.dtype != torch.int64 or seeds.dim() != 1:
        raise ValueError(
            f"seeds must be an int64 tensor [batch], got {seeds.dtype} {tuple(seeds.shape)}: use seeds.long().flatten()"
        )
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}: draw in float32, then convert")
    steps = torch.as_tensor(step, device=seeds.device).reshape(-1)
    if len(steps) not in (1, len(seeds)) or steps.is_floating_point():
        raise ValueError(
            f"step must be an integer or an integer tensor [{len(seeds)}], got {steps.dtype} {tuple(steps.shape)}"
        )
    noise = torch.empty((len(seeds), math.prod(shape)), dtype=dtype, device=seeds.device)
    normal_into(noise, seeds, steps.long().expand(len(seeds)))
    return noise.reshape(len(seeds), *shape)
