"""The four roles. A class has a role by having its method: nothing is inherited.

Traits beyond the roles, methods as well: `reconstruct(x)` -> data like x; `translate(x, to=None)` -> a picture of
another kind for each of x, `to` where there is a choice (a domain, a class, attributes); `classify(x)` -> the likeliest
class of each, (N,) int64; `log_prob(x)` and `bound(x, k)`, both (N,) in nats per example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.distributions import Distribution

    from gencore.model import Model
    from gencore.noise import Noise


@runtime_checkable
class Encoder(Protocol):
    """Data to code."""

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor | Distribution:
        """x (N, ...) -> the code of each example, or its distribution."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Code to data."""

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor | Distribution:
        """z (N, ...) -> data (N, ...), images in [-1, 1]; a distribution where a likelihood is claimed."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Data to judgement."""

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, ...) -> (N,) or (N, ...) logits, energies or scores; larger means more real unless stated."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """Model to new data: a frozen config and a pure function of (model, noise)."""

    def sample(
        self,
        model: Model,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of `noise`; `callback(step, steps)` is called after every inner step."""
        ...


ROLES: dict[str, type] = {"encoder": Encoder, "generator": Generator, "critic": Critic, "sampler": Sampler}
