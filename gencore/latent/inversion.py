"""A code for a picture of one's own: a search through a generator that stays as it is.

    z* = argmin_z  pixel_weight d(m x, m G(z)) + feature_weight d(f(x), f(G(z))) + prior_weight / 2 ||z - c||^2
with d the sum over an example's numbers of |a - b| ("l1") or (a - b)^2 ("l2"), m a mask, f any features, c a centre.
One search serves AnoGAN (Schlegl et al. 2017, arXiv:1703.05921, equations 1 to 3), iGAN (Zhu et al. 2016,
arXiv:1609.03552, equations 4 and 7), and every other generator. With "l2" and c = 0 it is the mode of p(z | x) under
a normal prior, for pixels with noise of variance prior_weight / (2 pixel_weight).

An example's code does not depend on the others of its batch. Of all codes that the search has seen, the best is kept:
the result is never worse than the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.source import check_batch
from gencore.errors import GencoreError, NonFiniteError
from gencore.latent.codes import encodes_all, evaluating, mean_of
from gencore.noise import Noise
from gencore.protocols import Encoder, Generator

Start = Literal["prior", "encoder"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likeness:
    """What the search minimises. `features`: data (N, ...) -> (N, ...), needed where `feature_weight` is positive.

    `mask`: (*shape) or (N, *shape), how much each pixel counts; features see the whole picture. `center`: codes as z, 0
    where there is none.
    """

    norm: Literal["l1", "l2"] = "l2"
    pixel_weight: float = 1.0
    feature_weight: float = 0.0
    features: Callable[[Tensor], Tensor] | None = None
    prior_weight: float = 0.0
    center: Tensor | None = None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        check(self.norm in ("l1", "l2"), "norm", self.norm, '"l1" or "l2"')
        for name in ("pixel_weight", "feature_weight", "prior_weight"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        if self.feature_weight and self.features is None:
            raise GencoreError(f"feature_weight is {self.feature_weight}, but there are no features: give some.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`method`: "adam" moves all examples at once; "lbfgs", with a line search, one after the other, which takes fewer
    steps and more time a step."""

    method: Literal["adam", "lbfgs"] = "adam"
    steps: int = 200
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        check(self.method in ("adam", "lbfgs"), "method", self.method, '"adam" or "lbfgs"')
        check(self.steps >= 0, "steps", self.steps, "0 or more")
        check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """Codes `z` (N, ...), what they generate `x` (N, *shape), and what was minimised: `loss` (N,) of these codes,
    `first_loss` (N,) of those at the start."""

    z: Tensor
    x: Tensor
    loss: Tensor
    first_loss: Tensor


def distance(a: Tensor, b: Tensor, norm: Literal["l1", "l2"]) -> Tensor:
    """Sum of |a - b| or (a - b)^2 over each example of (N, ...), (N,)."""
    difference = (a - b).flatten(1)
    return difference.abs().sum(1) if norm == "l1" else difference.square().sum(1)


def invert(
    model: Any,
    x: Tensor,
    *,
    likeness: Likeness = Likeness(),
    search: Search = Search(),
    start: Start | Tensor = "prior",
    seed: int = 0,
    condition: Tensor | None = None,
) -> Inversion:
    """Codes from which `model.generate` gives examples x (N, *shape); images in [-1, 1].

    `start`: "prior", where that of example i depends on (seed, i) alone; "encoder", the mean of the model's guess; or
    codes (N, ...). `condition`: what the model is conditioned on, one for each of x, and held fixed. The model is in
    evaluation mode meanwhile, its parameters and their gradients stay as they are, and so does torch's global random
    state. Raises GencoreError for a model that cannot do it and for arguments that do not fit, NonFiniteError where
    the loss is not a number.
    """
    check_batch({"x": x}, tuple(x.shape[1:]))
    if not isinstance(model, Generator):
        raise GencoreError(f"{type(model).__name__} has no generator (no method `generate`): codes lead nowhere.")
    x = x.to(model.device)  # type: ignore[attr-defined]
    with evaluating(model):
        condition = model.check_condition(condition, len(x))  # type: ignore[attr-defined]
        condition = None if condition is None else condition.to(x.device)
        first = _first_codes(model, x, start, seed, condition)

        def generate(z: Tensor, rows: slice) -> Tensor:
            told = None if condition is None else condition[rows]
            return mean_of(model.generate(z, condition=told))

        parts = _rows(len(x), search)
        found = [_search(first[rows], _loss(generate, x, rows, likeness), search) for rows in parts]
        z = torch.cat([codes for codes, _, _ in found])
        generated = torch.cat([generate(codes, rows) for rows, (codes, _, _) in zip(parts, found, strict=True)])
    losses = [torch.cat([each[place] for each in found]) for place in (1, 2)]
    return Inversion(z=z, x=generated, loss=losses[0], first_loss=losses[1])


def _first_codes(model: Any, x: Tensor, start: Start | Tensor, seed: int, condition: Tensor | None) -> Tensor:
    if isinstance(start, Tensor):
        if len(start) != len(x) or not start.is_floating_point() or not start.isfinite().all():
            raise GencoreError(
                f"start is {tuple(start.shape)} of {start.dtype}; expected a finite code for each of {len(x)} examples."
            )
        return start.to(x.device)
    check(start in ("prior", "encoder"), "start", start, '"prior", "encoder" or codes')
    if start == "prior":
        return torch.as_tensor(model.draw_prior(Noise(seed, 0, len(x), device=x.device)))
    if not isinstance(model, Encoder):
        raise GencoreError(f'{type(model).__name__} has no encoder to start from: take start="prior", or codes.')
    if not encodes_all(model, None if condition is None else condition[:1]):
        raise GencoreError(
            f'The encoder of {type(model).__name__} reads only a part of the code: take start="prior", or codes.'
        )
    return mean_of(model.encode(x, condition=condition))


def _rows(count: int, search: Search) -> list[slice]:
    """L-BFGS' curvature and line search would tie the examples of a batch together; Adam's numbers stand alone."""
    return [slice(i, i + 1) for i in range(count)] if search.method == "lbfgs" else [slice(0, count)]


def _loss(
    generate: Callable[[Tensor, slice], Tensor], x: Tensor, rows: slice, likeness: Likeness
) -> Callable[[Tensor], Tensor]:
    """z (n, ...) -> (n,), for the examples in `rows`."""
    target, mask, center = x[rows], likeness.mask, likeness.center
    if mask is not None:
        mask = (mask[rows] if mask.ndim == x.ndim else mask).to(x.device)
    center = None if center is None else center[rows].to(x.device)
    features = likeness.features if likeness.feature_weight else None
    seen = features(target) if features else None

    def loss(z: Tensor) -> Tensor:
        made = generate(z, rows)
        here, there = (made, target) if mask is None else (made * mask, target * mask)
        total = likeness.pixel_weight * distance(here, there, likeness.norm)
        if features is not None and seen is not None:
            total = total + likeness.feature_weight * distance(features(made), seen, likeness.norm)
        away = z if center is None else z - center
        return total + 0.5 * likeness.prior_weight * away.flatten(1).square().sum(1)

    return loss


def _search(first: Tensor, loss: Callable[[Tensor], Tensor], search: Search) -> tuple[Tensor, Tensor, Tensor]:
    """The best codes seen, their losses (n,), and the (n,) at the start."""
    z = first.detach().clone().requires_grad_()
    best, least = first.detach().clone(), torch.full((len(first),), torch.inf, device=first.device)

    def evaluate() -> Tensor:
        with torch.enable_grad():
            losses = loss(z)
            (z.grad,) = torch.autograd.grad(losses.sum(), z)
        losses = losses.detach()
        if not losses.isfinite().all():
            raise NonFiniteError("The search for a code met NaN or infinity: the model's weights are broken.")
        better = losses < least
        least[better], best[better] = losses[better], z.detach()[better]
        return losses

    first_losses = evaluate()
    optimizer: torch.optim.Optimizer
    if search.method == "lbfgs":
        tries = 25 * max(1, search.steps)  # torch's line search takes 25 at most; its own limit would end it early
        optimizer = torch.optim.LBFGS(
            [z], lr=search.learning_rate, max_iter=search.steps, max_eval=tries, line_search_fn="strong_wolfe"
        )
        calls = min(1, search.steps)
    else:
        optimizer, calls = torch.optim.Adam([z], lr=search.learning_rate), search.steps
    for _ in range(calls):
        optimizer.step(lambda: evaluate().sum())
    evaluate()
    return best, least, first_losses
