"""Parts of a labelled source, chosen by class: for stages that see few labels, or some classes only."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.source import Source
from gencore.data.views import subset
from gencore.distributed import process_count
from gencore.errors import GencoreError


def labels_of(source: Source) -> Tensor:
    """Every label, (len,) int64. Raises GencoreError for a source without labels."""
    if source.num_classes is None:
        raise GencoreError(f"{source.name} has no labels; this recipe needs a labelled source.")
    return torch.cat([source.fetch(part)["label"] for part in torch.arange(len(source)).split(1024)])


def balanced(source: Source, classes: tuple[int, ...], count: int) -> Tensor:
    """Positions of `count` examples, as evenly as can be from each of `classes`, (count,) int64; the same every time.

    Raises GencoreError for a class without enough examples.
    """
    return balanced_rows(labels_of(source), classes, count, name=source.name)


def balanced_rows(
    label: Tensor, classes: tuple[int, ...], count: int, *, seed: int = 0, name: str = "the data"
) -> Tensor:
    """As `balanced`, of labels (N,) at hand, drawn from `seed`; `name` is for messages."""
    check(count >= len(classes) > 0, "the number of labelled examples", count, f"at least one for each of {classes}")
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for place, kind in enumerate(classes):
        wanted = count // len(classes) + (place < count % len(classes))
        found = (label == kind).nonzero()[:, 0]
        if len(found) < wanted:
            raise GencoreError(f"{name} has {len(found)} examples of class {kind}; {wanted} were asked for.")
        chosen.append(found[torch.randperm(len(found), generator=generator)[:wanted]])
    return torch.cat(chosen)


def of_classes(source: Source, classes: tuple[int, ...]) -> Source:
    """The examples of some classes. Raises GencoreError for an empty class."""
    label = labels_of(source)
    empty = [kind for kind in classes if not (label == kind).any()]
    if empty:
        raise GencoreError(f"{source.name} has no example of the classes {empty}; it has {label.unique().tolist()}.")
    return subset(source, torch.isin(label, torch.tensor(classes)).nonzero()[:, 0])


def filling(indices: Tensor, batch_size: int) -> Tensor:
    """The indices, repeated until they fill a batch on every process: few labelled examples, a larger batch."""
    return indices.repeat(-(-batch_size * process_count() // len(indices)))


def few_labels(source: Source, num_classes: int, count: int, batch_size: int) -> Tensor:
    """Positions of `count` examples, evenly of every class, repeated until they fill a batch."""
    return filling(balanced(source, tuple(range(num_classes)), count), batch_size)
