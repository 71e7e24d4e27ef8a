"""Paths and planes through the space of codes, and arithmetic with them. z: (N, D) floating point."""

from __future__ import annotations

from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError, NonFiniteError
from gencore.latent.codes import decode

Path = Literal["lerp", "slerp"]
SMALL_ANGLE = 1e-3


def lerp(start: Tensor, end: Tensor, t: Tensor | float) -> Tensor:
    """(1 - t) start + t end; shapes broadcast."""
    return start + t * (end - start)


def slerp(start: Tensor, end: Tensor, t: Tensor | float) -> Tensor:
    """Along the great circle from start to end (..., D): equal t, equal angles (White 2016, arXiv:1609.04468).

        sin((1 - t) w) / sin w a + sin(t w) / sin w b,   cos w = a.b / (|a| |b|)
    with unit a, b, and the length interpolated linearly. In high dimensions normal codes lie on a shell, which the
    straight line leaves: its middle is shorter by sqrt(1/2). For angles under 1e-3 it is lerp. Raises GencoreError
    for codes of length 0 and for opposite ones, between which there is no one great circle.
    """
    lengths = torch.linalg.vector_norm(start, dim=-1, keepdim=True), torch.linalg.vector_norm(end, dim=-1, keepdim=True)
    if not (lengths[0].min() > 0 and lengths[1].min() > 0):
        raise GencoreError("slerp got a code of length 0, which has no direction; use lerp.")
    a, b = start / lengths[0], end / lengths[1]
    # atan2 of half the chords keeps small and large angles exact, where acos(a.b) loses half the digits
    angle = 2 * torch.atan2(
        torch.linalg.vector_norm(a - b, dim=-1, keepdim=True), torch.linalg.vector_norm(a + b, dim=-1, keepdim=True)
    )
    if (torch.pi - angle).min() < SMALL_ANGLE:
        raise GencoreError("slerp got opposite codes: any great circle joins them. Use lerp, or go by a third code.")
    straight = angle < SMALL_ANGLE
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    circle = torch.sin((1 - t) * angle) / sine * a + torch.sin(t * angle) / sine * b
    return lerp(lengths[0], lengths[1], t) * torch.where(straight, lerp(a, b, t), circle)


def walk(
    model: Any,
    start: Tensor,
    end: Tensor,
    *,
    steps: int = 9,
    path: Path = "slerp",
    condition: Tensor | None = None,
) -> Tensor:
    """What the model generates on the way from codes start to end (N, D) in `steps` equal steps, ends included, each
    way under its own `condition` (N, ...) if the model takes one.

    (N, steps, *shape).
    """
    check(steps >= 2, "steps", steps, "at least 2, the ends included")
    check(path in ("lerp", "slerp"), "path", path, '"lerp" or "slerp"')
    check_codes(start)
    if start.shape != end.shape:
        raise GencoreError(f"The walk's ends are {tuple(start.shape)} and {tuple(end.shape)}; expected equal shapes.")
    check_codes(end)
    t = torch.linspace(0, 1, steps, device=start.device)[:, None]
    between = {"lerp": lerp, "slerp": slerp}[path](start[:, None], end[:, None], t)
    told = None if condition is None else condition.repeat_interleave(steps, 0)
    generated = decode(model, rearrange(between, "n s d -> (n s) d"), condition=told)
    return rearrange(generated, "(n s) ... -> n s ...", s=steps)


def under_each(model: Any, z: Tensor, condition: Tensor) -> Tensor:
    """What the model generates from each of the codes z (N, D) under each of the conditions (K, ...).

    (N, K, *shape).
    """
    check_codes(z)
    codes, told = z.repeat_interleave(len(condition), 0), condition.repeat(len(z), *[1] * (condition.ndim - 1))
    return rearrange(decode(model, codes, condition=told), "(n k) ... -> n k ...", k=len(condition))


def combine(plus: tuple[Tensor, ...], minus: tuple[Tensor, ...]) -> Tensor:
    """Vector arithmetic (Radford et al. 2016, arXiv:1511.06434, figure 7): the sum of the means of the groups in
    `plus` minus those in `minus`, (D,). Each group is (N, D); a GAN's latents want three exemplars or more.
    """
    if not plus:
        raise GencoreError("plus is empty; expected at least one group of codes.")
    for group in (*plus, *minus):
        check_codes(group)
    total = sum(group.mean(0) for group in plus) - sum((group.mean(0) for group in minus), torch.zeros(()))
    return torch.as_tensor(total)


def traverse(
    model: Any,
    z: Tensor,
    *,
    dims: tuple[int, ...],
    low: float = -2.0,
    high: float = 2.0,
    steps: int = 9,
    condition: Tensor | None = None,
) -> Tensor:
    """Generate from one code z (D,) with one number at a time set to `steps` values from low to high, all under one
    `condition` (1, ...) if the model takes one.

    (len(dims), steps, *shape).
    """
    check(z.ndim == 1, "z's shape", tuple(z.shape), "(D,), one code")
    check(steps >= 2 and low < high, "steps, low, high", (steps, low, high), "two steps or more and low < high")
    for dim in dims:
        check(0 <= dim < len(z), "dims", dims, f"numbers from 0 to {len(z) - 1}")
    codes = z.repeat(len(dims), steps, 1)
    for row, dim in enumerate(dims):
        codes[row, :, dim] = torch.linspace(low, high, steps)
    told = None if condition is None else condition.repeat_interleave(len(dims) * steps, 0)
    generated = decode(model, rearrange(codes, "k s d -> (k s) d"), condition=told)
    return rearrange(generated, "(k s) ... -> k s ...", s=steps)


def code_plane(model: Any, z: Tensor, *, side: int = 16, margin: float = 0.01) -> Tensor:
    """Generate on a grid over the plane of 2-D codes z (N, 2), between their quantiles `margin` and 1 - margin.

    (side, side, *shape): the first number grows to the right, the second upwards.
    """
    check_codes(z)
    check(z.shape[1] == 2, "the codes' dimension", z.shape[1], "2: a plane of codes; use traverse for more")
    check(side >= 2, "side", side, "at least 2")
    check(0 <= margin < 0.5, "margin", margin, "a share in [0, 0.5)")
    low, high = torch.quantile(z, torch.tensor([margin, 1 - margin]), dim=0)
    across = torch.linspace(low[0].item(), high[0].item(), side)
    down = torch.linspace(high[1].item(), low[1].item(), side)
    points = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    generated = decode(model, rearrange(points, "r c d -> (r c) d"))
    return rearrange(generated, "(r c) ... -> r c ...", c=side)


def check_codes(z: Tensor) -> None:
    """Raise GencoreError unless z is (N, D) floating point, N and D at least 1; NonFiniteError on NaN or infinity."""
    if z.ndim != 2 or not z.numel() or not z.is_floating_point():
        raise GencoreError(f"Codes must be floating point (N, D); received {tuple(z.shape)} of {z.dtype}.")
    if not z.isfinite().all():
        raise NonFiniteError("The codes hold NaN or infinity.")
