"""Any torch map-style Dataset as a source."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gencore.data.images import from_pil, from_uint8
from gencore.data.ranges import finite_bounds
from gencore.data.source import Batch, check_batch, check_indices, check_labels
from gencore.errors import GencoreError

NUM_PROBED = 32


class DatasetSource:
    """What from_dataset returns. Fetched one example at a time, in the calling thread."""

    def __init__(self, dataset: Any, num_classes: int | None, value_range: tuple[float, float], name: str) -> None:
        self.dataset, self.num_classes, self.value_range, self.name = dataset, num_classes, value_range, name
        self.shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.dataset)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        examples = [self._example(int(i)) for i in indices]
        x = [example for example, _ in examples]
        if len({example.shape for example in x}) > 1:
            sizes = sorted({tuple(example.shape) for example in x})
            raise GencoreError(f"{self.name} has examples of different shapes: {sizes}. Resize them in the Dataset.")
        batch = {"x": torch.stack(x), "index": indices}
        if self.num_classes is not None:
            batch["label"] = torch.tensor([label for _, label in examples])
            check_labels(batch["label"], self.num_classes, self.name)
        return batch

    def _example(self, index: int) -> tuple[Tensor, int]:
        x, label = self.split(self.dataset[index])
        if self.num_classes is None:
            return self.scale(x), 0
        if label is None or int(label) != label:
            raise GencoreError(f"{self.name} has the label {label!r} at {index}; expected an integer from 0.")
        return self.scale(x), int(label)

    def split(self, item: Any) -> tuple[Any, Any]:
        """(x, label) of what the Dataset returned."""
        if isinstance(item, Mapping):
            if "x" not in item:
                raise GencoreError(f"{self.name} returns a mapping without 'x', only {sorted(map(str, item))}.")
            return item["x"], item.get("label")
        if isinstance(item, (tuple, list)):
            if not 1 <= len(item) <= 2:
                raise GencoreError(f"{self.name} returns {len(item)} values; expected x, (x, label) or a mapping.")
            return item[0], item[1] if len(item) == 2 else None
        return item, None

    def scale(self, x: Any) -> Tensor:
        """One example as float32, images in [-1, 1]."""
        if not isinstance(x, Tensor):
            from PIL import Image

            if not isinstance(x, Image.Image):
                raise GencoreError(
                    f"{self.name} returns x of type {type(x).__name__}; expected a tensor or a PIL image."
                )
            return from_pil(x)
        if x.dtype == torch.uint8 and x.ndim == 3:
            return from_uint8(x)
        if not x.is_floating_point():
            raise GencoreError(
                f"{self.name} returns x of {x.dtype}; expected floating point, or uint8 images (C, H, W)."
            )
        if self.value_range == (-1.0, 1.0):
            return x.float()
        low, high = self.value_range
        return (x.float() - low) * (2 / (high - low)) - 1


def from_dataset(
    dataset: Any,
    *,
    num_classes: int | None = None,
    value_range: tuple[float, float] = (-1.0, 1.0),
    name: str | None = None,
) -> DatasetSource:
    """A source from a torch Dataset with `__len__` and `__getitem__` that returns x, (x, label) or {"x", "label"}.

    x: a floating-point tensor (images (C, H, W) or vectors), a uint8 image tensor, or a PIL image. `value_range` is the
    range of its floating-point values, which is mapped to [-1, 1]: (0, 1) after torchvision's ToTensor. num_classes:
    None is len(dataset.classes) where the Dataset has that, and else means that labels are not read.

    Random augmentation draws from the global random state, which training seeds and checkpoints; the 32 examples that
    are looked at here leave it as it was. Raises GencoreError for anything else, also for labels of which nobody says
    how many classes there are.
    """
    name = name or f"dataset {type(dataset).__name__}"
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise GencoreError(f"{name} has no length or no positions; expected a map-style Dataset, not an iterable one.")
    if len(dataset) == 0:
        raise GencoreError(f"{name} is empty.")
    if not value_range[0] < value_range[1]:
        raise GencoreError(f"value_range is {value_range}; expected (low, high) with low < high.")
    if num_classes is None and hasattr(dataset, "classes"):
        num_classes = len(dataset.classes)
    source = DatasetSource(dataset, num_classes, (float(value_range[0]), float(value_range[1])), name)
    with _untouched_random_state():
        x, label = source.split(dataset[0])
        if num_classes is None and label is not None:
            raise GencoreError(
                f"{name} returns labels, but not how many classes: give num_classes, or return x alone to do without."
            )
        source.shape = tuple(source.scale(x).shape)
        probe = source.fetch(torch.linspace(0, len(dataset) - 1, min(NUM_PROBED, len(dataset))).long())
    check_batch(probe, source.shape)
    low, _ = finite_bounds(probe["x"], name)
    if len(source.shape) == 3 and low >= 0:
        raise GencoreError(
            f"{name} has images without negative values, which looks like [0, 1]; expected [-1, 1]. Say "
            "value_range=(0, 1), and they are mapped."
        )
    return source


@contextlib.contextmanager
def _untouched_random_state() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
