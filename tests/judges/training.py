"""How a judge is trained: the same loop for all, which leaves the global random state as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


def trained(
    build: Callable[[], Net], loss: Callable[[Net, int], Tensor], *, steps: int, seed: int, lr: float = 2e-3
) -> Net:
    """A net of `build` after `steps` of Adam on loss(net, step), one-cycle, frozen. Seeded; batches seed themselves."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = build()
        optimizer = torch.optim.Adam(net.parameters(), lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
        for step in range(steps):
            optimizer.zero_grad()
            loss(net, step).backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)


def batch_of(count: int, size: int, seed: int, step: int) -> Tensor:
    """`size` rows at random of `count`, (size,) int64: a function of (seed, step)."""
    return torch.randint(count, (size,), generator=torch.Generator().manual_seed(1_000_003 * seed + step))


def noisy(x: Tensor, most: float) -> Tensor:
    """x with pixel noise of a strength up to `most`, its own in each row: what is generated is never clean."""
    strength = most * torch.rand(len(x), *[1] * (x.ndim - 1))
    return x + strength * torch.randn_like(x)


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 500) -> Tensor:
    """function(x), without gradients, by parts of `size` rows."""
    with torch.no_grad():
        return torch.cat([function(part) for part in x.split(size)])
