"""Views of one source: sources made of a source, for a recipe's stages (Stage.data). `index` stays the source's own.

Views of two sources: gencore.data.views_of_two; at random places and mirrored: gencore.data.augmentation.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gencore.conditions import ClassLabel, Condition, Image
from gencore.data.images import resize_images
from gencore.data.ranges import is_image_key
from gencore.data.source import Batch, Ordered, Source, check_indices, class_names_of, conditions_of, epoch_order
from gencore.data.streams import Use, uniforms
from gencore.errors import GencoreError


def resized(source: Source, image_size: int) -> Source:
    """The images at another size (central square, antialiased bicubic), further streams' too; made when fetched.

    Raises GencoreError for a source without images, and for one whose inputs have another size than its x.
    """
    if len(source.shape) != 3 or image_size < 1:
        raise GencoreError(
            f"{source.name} has shape {source.shape}; to resize to {image_size}, expected images, size >= 1."
        )
    return _Resized(source, image_size)


def subset(source: Source, indices: Tensor) -> Source:
    """The examples at `indices`, (M,) int64, in that order; repetitions are allowed."""
    refuse_own_order(source, "subset")
    check_indices(indices, len(source))
    return _Subset(source, indices.clone())


def weighted(source: Source, weights: Tensor) -> Source:
    """An epoch draws len(source) examples with replacement, example i with probability weights[i] / sum(weights).

    The draws are a function of (seed, epoch) alone. `weights`: (len(source),), finite, none negative, some positive.
    """
    refuse_own_order(source, "weighted")
    weights = weights.detach().cpu().double().clone()
    good = weights.shape == (len(source),) and bool(torch.isfinite(weights).all() and (weights >= 0).all())
    cumulative = weights.flatten().cumsum(0)
    if not good or not 0 < cumulative[-1] < float("inf"):
        raise GencoreError(
            f"the weights have shape {tuple(weights.shape)} and values {weights[:5].tolist()} ...; expected "
            f"({len(source)},), finite, none negative, some positive."
        )
    return _Weighted(source, cumulative)


def inverted(source: Source) -> Source:
    """The images with light and dark exchanged, -x: another domain of the same things."""
    if len(source.shape) != 3:
        raise GencoreError(f"{source.name} has shape {source.shape}; to invert contrast, expected images.")
    return _Inverted(source)


def unlabelled(source: Source) -> Source:
    """The source without its labels; other conditions stay."""
    return _Unlabelled(source)


class View:
    """What a view of one source passes on; a view's own members go before these.

    It has an order of its own only if its source has one, so that `isinstance(view, Ordered)` is true of no other.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        if isinstance(source, Ordered):
            self.order = source.order

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def num_classes(self) -> int | None:
        return self.source.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return class_names_of(self.source)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return conditions_of(self.source)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(getattr(self.source, "keys", ()))

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Those of the further streams: _b where a batch holds x_b."""
        return tuple(getattr(self.source, "suffixes", ()))

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def read_ahead(self) -> bool:
        return getattr(self.source, "read_ahead", False)

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, indices: Tensor) -> Batch:
        return self.source.fetch(indices)


class _Resized(View):
    def __init__(self, source: Source, image_size: int) -> None:
        super().__init__(source)
        self.image_size = image_size
        for condition in super().conditions:
            if isinstance(condition, Image) and condition.shape[1:] != source.shape[1:]:
                raise GencoreError(
                    f"{source.name} has x of {source.shape} and inputs of {condition.shape}; resized needs one size "
                    "for both. Resize the source first, then degrade or pair it."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.source.shape[0], self.image_size, self.image_size)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        size = self.image_size
        return tuple(
            dataclasses.replace(kind, shape=(kind.shape[0], size, size)) if isinstance(kind, Image) else kind
            for kind in super().conditions
        )

    @property
    def name(self) -> str:
        return f"{self.source.name} at {self.image_size} x {self.image_size}"

    def fetch(self, indices: Tensor) -> Batch:
        batch = self.source.fetch(indices)
        return {k: resize_images(v, self.image_size) if is_image_key(k, v) else v for k, v in batch.items()}


class _Subset(View):
    def __init__(self, source: Source, indices: Tensor) -> None:
        super().__init__(source)
        self.indices = indices

    @property
    def name(self) -> str:
        return f"{len(self)} of {self.source.name}"

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        return self.source.fetch(self.indices[indices])


class _Weighted(View):
    def __init__(self, source: Source, cumulative: Tensor) -> None:
        super().__init__(source)
        self.cumulative = cumulative
        self.order = self._draw

    @property
    def name(self) -> str:
        return f"{self.source.name}, weighted"

    def _draw(self, seed: int, epoch: int) -> Tensor:
        # u * total < total in float64, since u <= 1 - 2**-53; right=True never lands on a weight of 0
        targets = uniforms(seed, epoch, len(self), Use.ORDER) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, targets, right=True)


class _Inverted(View):
    @property
    def name(self) -> str:
        return f"{self.source.name}, inverted"

    def fetch(self, indices: Tensor) -> Batch:
        return {k: -v if is_image_key(k, v) else v for k, v in self.source.fetch(indices).items()}


class _Unlabelled(View):
    @property
    def num_classes(self) -> int | None:
        return None

    @property
    def class_names(self) -> tuple[str, ...]:
        return ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(kind for kind in super().conditions if not isinstance(kind, ClassLabel))

    def fetch(self, indices: Tensor) -> Batch:
        return {key: value for key, value in self.source.fetch(indices).items() if key != "label"}


def refuse_own_order(source: Source, view: str) -> None:
    """Raise GencoreError for a source that decides in which order an epoch visits it."""
    if isinstance(source, Ordered):
        raise GencoreError(
            f"{view} cannot look at {source.name!r}, which has an order of its own. Make the {view} view of the plain "
            "source, and the others of that: weighted(subset(source, indices), weights)."
        )


def order_width(source: Source) -> int:
    """How many numbers a row of the source's order has."""
    rows = epoch_order(source, 0, 0)
    return 1 if rows.ndim == 1 else rows.shape[1]
