"""Views: sources made of sources, for the stages of a recipe (Stage.data). `index` stays that of the source looked at."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gencore.data.images import resize_images
from gencore.data.source import Batch, Ordered, Source, check_indices, epoch_order, is_image_key
from gencore.data.streams import Use, derived_seed, uniforms
from gencore.errors import GencoreError


def resized(source: Source, image_size: int) -> Source:
    """The images at another size (central square, antialiased bicubic), further streams' too; made when fetched."""
    if len(source.shape) != 3 or image_size < 1:
        raise GencoreError(f"{source.name} has shape {source.shape}; to resize to {image_size}, expected images, size >= 1.")
    return _Resized(source, image_size)


def subset(source: Source, indices: Tensor) -> Source:
    """The examples at `indices`, (M,) int64, in that order; repetitions are allowed."""
    _refuse_own_order(source, "subset")
    check_indices(indices, len(source))
    return _Subset(source, indices.clone())


def weighted(source: Source, weights: Tensor) -> Source:
    """An epoch draws len(source) examples with replacement, example i with probability weights[i] / sum(weights).

    The draws are a function of (seed, epoch) alone. `weights`: (len(source),), finite, none negative, some positive.
    """
    _refuse_own_order(source, "weighted")
    weights = weights.detach().cpu().double().clone()
    good = weights.shape == (len(source),) and bool(torch.isfinite(weights).all() and (weights >= 0).all())
    if not good or weights.sum() <= 0:
        raise GencoreError(
            f"the weights, of shape {tuple(weights.shape)}, must be ({len(source)},), finite, none negative, some positive."
        )
    return _Weighted(source, weights.cumsum(0))


def unpaired(first: Source, second: Source, suffix: str = "_b") -> Source:
    """Two sources side by side, each in its own random order: x, label, index, and x_b, label_b, index_b.

    An epoch visits the longer one once; the shorter one goes from one of its epochs to the next meanwhile. Shape,
    classes and length are those of the first (length: of the longer). `fetch` takes (N, 2) positions, or (N,): the i-th
    of both, from the start again where one ends.
    """
    for source in (first, second):
        if epoch_order(source, 0, 0).ndim != 1:
            raise GencoreError(f"{source.name} has two streams already; expected single sources.")
    if not suffix:
        raise GencoreError("suffix is empty; the second source's keys need one, such as '_b'.")
    return _Unpaired(first, second, suffix)


def labelled_and_unlabelled(source: Source, labelled_indices: Tensor) -> Source:
    """For semi-supervision: x, label, index from the examples at `labelled_indices`; x_unlabelled, index_unlabelled
    from all of `source` (the labelled ones too), without labels. Orders and lengths as in `unpaired`.
    """
    if source.num_classes is None:
        raise GencoreError(f"{source.name} has no labels; expected a labelled source.")
    return unpaired(subset(source, labelled_indices), _Unlabelled(source), suffix="_unlabelled")


class _View:
    """What a view of one source passes on."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def num_classes(self) -> int | None:
        return self.source.num_classes

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def read_ahead(self) -> bool:
        return getattr(self.source, "read_ahead", False)

    def __len__(self) -> int:
        return len(self.source)


class _Resized(_View):
    def __init__(self, source: Source, image_size: int) -> None:
        super().__init__(source)
        self.image_size = image_size

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.source.shape[0], self.image_size, self.image_size)

    @property
    def name(self) -> str:
        return f"{self.source.name} at {self.image_size} x {self.image_size}"

    def order(self, seed: int, epoch: int) -> Tensor:
        return epoch_order(self.source, seed, epoch)

    def fetch(self, indices: Tensor) -> Batch:
        batch = self.source.fetch(indices)
        return {k: resize_images(v, self.image_size) if is_image_key(k, v) else v for k, v in batch.items()}
