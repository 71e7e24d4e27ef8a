"""Noise for sampling: that of sample i depends on (seed, i) alone, not on batch size, device or number of processes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gencore.errors import GencoreError


class NoiseSource(Protocol):
    """`Noise` in sampling, `GlobalNoise` in training: each call draws (count, *shape)."""

    count: int
    device: torch.device

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, float32."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32."""
        ...

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform in 0 ... high - 1, int64."""
        ...

    def categorical(self, logits: Tensor) -> Tensor:
        """One draw for each row of logits (count, ..., K)."""
        ...


class Noise:
    """One random stream for each of the samples `start` ... `start + count - 1`.

    Stream i is Philox keyed by (seed, i) (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): keyed
    streams never collide. Successive calls continue every stream. Drawn on the CPU in float32, then moved to `device`
    and `dtype`, so that all of them see the same numbers.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        count: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not 0 <= seed < 2**64:
            raise GencoreError(f"seed is {seed}; expected an integer from 0 to 2**64 - 1.")
        if start < 0 or count < 1:
            raise GencoreError(f"start is {start} and count is {count}; expected start >= 0 and count >= 1.")
        self.device, self.dtype = torch.device(device), dtype
        self.seed, self.start, self.count = seed, start, count
        self._streams = [
            np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
            for index in range(start, start + count)
        ]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, (count, *shape) of `dtype`."""
        return self._stack([stream.standard_normal(shape, dtype=np.float32) for stream in self._streams]).to(self.dtype)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), or up to 1 where `dtype` rounds it so; (count, *shape) of `dtype`."""
        return self._uniform(*shape).to(self.dtype)

    def _uniform(self, *shape: int) -> Tensor:
        return self._stack([stream.random(shape, dtype=np.float32) for stream in self._streams])

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform in 0 ... high - 1, (count, *shape) int64."""
        return self._stack([stream.integers(high, size=shape, dtype=np.int64) for stream in self._streams])

    def categorical(self, logits: Tensor) -> Tensor:
        """One draw a row of logits (count, ..., K), by the Gumbel-max trick; (count, ...) int64."""
        uniform = self._uniform(*logits.shape[1:]).double().clamp_min(torch.finfo(torch.float32).tiny)
        return (logits.double() - (-uniform.log()).log()).argmax(-1)

    def _stack(self, draws: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(draws)).to(self.device)


class GlobalNoise:
    """Noise for `count` examples from torch's global streams: for training, whose streams are checkpointed."""

    def __init__(self, count: int, device: torch.device | str = "cpu") -> None:
        self.count, self.device = count, torch.device(device)

    @classmethod
    def like(cls, x: Tensor) -> GlobalNoise:
        """For as many examples as x (N, ...) has, on its device."""
        return cls(len(x), x.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, (count, *shape)."""
        return torch.randn(self.count, *shape, device=self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), (count, *shape)."""
        return torch.rand(self.count, *shape, device=self.device)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform in 0 ... high - 1, (count, *shape) int64."""
        return torch.randint(high, (self.count, *shape), device=self.device)

    def categorical(self, logits: Tensor) -> Tensor:
        """One draw for each row of logits (count, ..., K); (count, ...) int64."""
        flat = logits.flatten(0, -2).softmax(-1)
        return torch.multinomial(flat, 1)[:, 0].view(logits.shape[:-1])
