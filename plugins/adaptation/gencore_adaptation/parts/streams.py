"""Reading two domains from a batch: x, label of the source, x_b of the target (--data SOURCE --second-data TARGET)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gencore.errors import GencoreError


def two_domains(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The source's x and label, and the target's x. Raises GencoreError where one of them is missing."""
    for key, what in (("label", "the source domain needs labels"), ("x_b", "there is no second domain")):
        if key not in batch:
            raise GencoreError(
                f"The batch has no {key!r}, only {sorted(batch)}: {what}. Take --data SOURCE (labelled) --second-data "
                "TARGET, or gencore.data.unpaired(source, target)."
            )
    x, target = batch["x"], batch["x_b"]
    if x.shape[1:] != target.shape[1:]:
        raise GencoreError(
            f"The source's examples are {tuple(x.shape[1:])}, the target's {tuple(target.shape[1:])}; expected one "
            "shape, since one encoder takes both."
        )
    return x, batch["label"], target
