"""Views: sources made of sources, for a recipe's stages (Stage.data). `index` stays that of the source looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.data.images import resize_images
from gencore.data.ranges import is_image_key
from gencore.data.source import Batch, Ordered, Source, check_indices, epoch_order
from gencore.data.streams import Use, derived_seed, uniforms
from gencore.errors import GencoreError


def resized(source: Source, image_size: int) -> Source:
    """The images at another size (central square, antialiased bicubic), further streams' too; made when fetched."""
    if len(source.shape) != 3 or image_size < 1:
        raise GencoreError(
            f"{source.name} has shape {source.shape}; to resize to {image_size}, expected images, size >= 1."
        )
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


class _Subset(_View):
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


class _Weighted(_View):
    def __init__(self, source: Source, cumulative: Tensor) -> None:
        super().__init__(source)
        self.cumulative = cumulative

    @property
    def name(self) -> str:
        return f"{self.source.name}, weighted"

    def order(self, seed: int, epoch: int) -> Tensor:
        # u * total < total in float64, since u <= 1 - 2**-53; right=True never lands on a weight of 0
        targets = uniforms(seed, epoch, len(self), Use.ORDER) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, targets, right=True)

    def fetch(self, indices: Tensor) -> Batch:
        return self.source.fetch(indices)


class _Inverted(_View):
    @property
    def name(self) -> str:
        return f"{self.source.name}, inverted"

    def order(self, seed: int, epoch: int) -> Tensor:
        return epoch_order(self.source, seed, epoch)

    def fetch(self, indices: Tensor) -> Batch:
        return {k: -v if is_image_key(k, v) else v for k, v in self.source.fetch(indices).items()}


class _Unlabelled(_View):
    @property
    def num_classes(self) -> int | None:
        return None

    def order(self, seed: int, epoch: int) -> Tensor:
        return epoch_order(self.source, seed, epoch)

    def fetch(self, indices: Tensor) -> Batch:
        return {key: value for key, value in self.source.fetch(indices).items() if key != "label"}


class _Unpaired(_View):
    def __init__(self, first: Source, second: Source, suffix: str) -> None:
        super().__init__(first)
        self.second, self.suffix = second, suffix

    @property
    def name(self) -> str:
        return f"{self.source.name} and {self.second.name}"

    @property
    def read_ahead(self) -> bool:
        """Only if both may be read by threads."""
        return all(getattr(source, "read_ahead", False) for source in (self.source, self.second))

    def __len__(self) -> int:
        return max(len(self.source), len(self.second))

    def order(self, seed: int, epoch: int) -> Tensor:
        start = epoch * len(self)
        # with one seed for both, sources of equal length would be paired for good
        sides = [
            _stretch(source, derived_seed(seed, number), start, len(self))
            for number, source in enumerate((self.source, self.second))
        ]
        return torch.stack(sides, dim=1)

    def fetch(self, indices: Tensor) -> Batch:
        if indices.ndim == 1:
            check_indices(indices, len(self))
            indices = torch.stack([indices % len(self.source), indices % len(self.second)], dim=1)
        if indices.ndim != 2 or indices.shape[1] != 2:
            raise GencoreError(f"fetch got indices of shape {tuple(indices.shape)}; expected (N,) or (N, 2).")
        batch = self.source.fetch(indices[:, 0])
        return batch | {key + self.suffix: value for key, value in self.second.fetch(indices[:, 1]).items()}


def _stretch(source: Source, seed: int, start: int, count: int) -> Tensor:
    """`count` indices from position `start` of the source's epochs, one after the other."""
    length = len(source)
    epochs = range(start // length, (start + count - 1) // length + 1)
    skipped = start - epochs[0] * length
    return torch.cat([epoch_order(source, seed, epoch) for epoch in epochs])[skipped : skipped + count]


def _refuse_own_order(source: Source, view: str) -> None:
    inner = source
    while isinstance(inner, (_Resized, _Inverted, _Unlabelled)):
        inner = inner.source
    if isinstance(inner, Ordered):
        raise GencoreError(
            f"{view} cannot look at {source.name!r}, which has an order of its own. Make the {view} view of the plain "
            "source, and the others of that: weighted(subset(source, indices), weights)."
        )
