"""The labels of a batch, for losses that need them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gencore.errors import GencoreError


def labels_in(batch: Mapping[str, Tensor]) -> Tensor:
    """batch["label"]. Raises GencoreError where there is none."""
    if "label" not in batch:
        raise GencoreError(f"The batch has no labels, only {sorted(batch)}: they say what is alike. Label the data.")
    return batch["label"]
