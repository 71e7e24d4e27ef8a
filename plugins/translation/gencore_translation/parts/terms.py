"""A loss as a list of weighted terms, each with its name in the log."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gencore.objective import Loss


def weighted_sum(terms: Mapping[str, tuple[float, Tensor]]) -> Loss:
    """sum of weight x value of scalars; the log has each value by its name, without its weight."""
    first, *others = (weight * value for weight, value in terms.values())
    total = sum(others, start=first)
    return Loss(total, {name: value.detach() for name, (_, value) in terms.items()})
