"""Any torch map-style Dataset as a source."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gencore.data.images import from_pil, from_uint8
from gencore.data.opening_rules import shorten
from gencore.data.ranges import DataRange, check_peak, check_within, finite_bounds, rescale
from gencore.data.source import Batch, check_batch, check_indices, check_labels
from gencore.errors import GencoreError, suggest

NUM_PROBED = 32


class DatasetSource:
    """What from_dataset returns. Fetched one example at a time, in the calling thread."""

    def __init__(
        self,
        dataset: Any,
        num_classes: int | None,
        class_names: tuple[str, ...],
        data_range: DataRange | None,
        name: str,
    ) -> None:
        self.dataset, self.num_classes, self.class_names, self.name = dataset, num_classes, class_names, name
        self.data_range = data_range
        self.shape: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the Dataset's kind, length and classes: its examples may be augmented at random."""
        kind = f"{type(self.dataset).__module__}.{type(self.dataset).__qualname__}"
        return hashlib.sha256(f"{kind} {len(self)} {self.num_classes} {self.class_names}".encode()).hexdigest()

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
        return self.scale(x), 0 if self.num_classes is None else self.number(label, index)

    def split(self, item: Any) -> tuple[Any, Any]:
        """(x, label) of what the Dataset returned."""
        if isinstance(item, Mapping):
            if "x" not in item:
                raise GencoreError(f"{self.name} returns a mapping without 'x', only {sorted(map(str, item))}.")
            if others := sorted(str(key) for key in item if key not in ("x", "label", "index")):
                raise GencoreError(f"{self.name} returns {others} beside x and label; leave these out.")
            return item["x"], item.get("label")
        if isinstance(item, (tuple, list)):
            if not 1 <= len(item) <= 2:
                raise GencoreError(f"{self.name} returns {len(item)} values; expected x, (x, label) or a mapping.")
            return item[0], item[1] if len(item) == 2 else None
        return item, None

    def number(self, label: Any, index: int) -> int:
        """The class that a label says: an integer, the name of a class, or a one-hot row."""
        if isinstance(label, str):
            if label not in self.class_names:
                raise GencoreError(
                    f"{self.name} has the label {shorten(label)} at {index}, which is the name of no class."
                    f"{suggest(label, self.class_names)} Say the names in order: class_names=(...)."
                )
            return self.class_names.index(label)
        if (one_hot := _one_hot(label)) is not None:
            if len(one_hot) != self.num_classes or sorted(one_hot) != [0] * (len(one_hot) - 1) + [1]:
                raise GencoreError(
                    f"{self.name} has the label {shorten(label)} at {index}; expected an integer from 0, or "
                    f"{self.num_classes} numbers of which one is 1 and the others are 0."
                )
            return one_hot.index(1)
        if not isinstance(label, (int, float, np.number, Tensor)) or int(label) != label:
            raise GencoreError(f"{self.name} has the label {shorten(label)} at {index}; expected an integer from 0.")
        return int(label)

    def scale(self, x: Any) -> Tensor:
        """One example as float32, images in [-1, 1]."""
        if not isinstance(x, Tensor):
            from PIL import Image

            if not isinstance(x, Image.Image):
                raise GencoreError(
                    f"{self.name} returns x of type {type(x).__name__}; expected a tensor or a PIL image."
                )
            return from_pil(x, data_range=self.data_range)
        if self.data_range is not None:
            check_within(finite_bounds(x.double()[None], f"x of {self.name}"), self.data_range, f"x of {self.name}")
            return rescale(x, self.data_range)
        if x.dtype == torch.uint8 and x.ndim == 3:
            return from_uint8(x)
        if not x.is_floating_point():
            raise GencoreError(
                f"{self.name} returns x of {x.dtype}; expected floating point, or uint8 images (C, H, W), or say which "
                "range the numbers run through: value_range=(low, high)."
            )
        return x.float()


def _one_hot(label: Any) -> list[float] | None:
    """The numbers of a label that holds several; None for others."""
    if isinstance(label, (Tensor, np.ndarray)) and label.ndim == 1:
        return [float(number) for number in label.tolist()]
    return [float(number) for number in label] if isinstance(label, (list, tuple)) else None


def from_dataset(
    dataset: Any,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    value_range: DataRange | None = None,
    name: str | None = None,
) -> DatasetSource:
    """A source from a torch Dataset with `__len__` and `__getitem__` that returns x, (x, label) or {"x", "label"}.

    x: a floating-point tensor (images (C, H, W) or vectors), a uint8 image tensor, or a PIL image. `value_range` is the
    range of its numbers, which is mapped to [-1, 1]: (0, 1) after torchvision's ToTensor; None is [-1, 1] for floating
    point and all that the type holds for others. Labels are integers from 0, names of classes, or one-hot rows.
    num_classes, class_names: None is what dataset.classes says where the Dataset has that, or the length of one-hot
    labels; else labels are refused.

    Random augmentation draws from the global random state, which training seeds and checkpoints; the 32 examples that
    are looked at here leave it as it was. Raises GencoreError for anything else, also for labels of which nobody says
    how many classes there are.
    """
    name = name or f"dataset {type(dataset).__name__}"
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise GencoreError(f"{name} has no length or no positions; expected a map-style Dataset, not an iterable one.")
    if len(dataset) == 0:
        raise GencoreError(f"{name} is empty.")
    if value_range is not None and not value_range[0] < value_range[1]:
        raise GencoreError(f"value_range is {value_range}; expected (low, high) with low < high.")
    stated = class_names if class_names is not None else getattr(dataset, "classes", ())
    names = tuple(map(str, stated))
    if num_classes is not None and names and class_names is None and len(names) != num_classes:
        names = ()
    if class_names is not None and num_classes not in (None, len(names)):
        raise GencoreError(f"num_classes is {num_classes}, and class_names has {len(names)} names; expected as many.")
    source = DatasetSource(dataset, num_classes or len(names) or None, names, value_range, name)
    with _untouched_random_state():
        x, label = source.split(dataset[0])
        if source.num_classes is None and (one_hot := _one_hot(label)) is not None:
            source.num_classes = len(one_hot)
        if source.num_classes is None and label is not None:
            raise GencoreError(
                f"{name} returns labels, but not how many classes: give num_classes (or class_names, for labels that "
                "are names), or return x alone to do without."
            )
        source.shape = tuple(source.scale(x).shape)
        probe = source.fetch(torch.linspace(0, len(dataset) - 1, min(NUM_PROBED, len(dataset))).long())
    check_batch(probe, source)
    low, high = finite_bounds(probe["x"], name)
    floats = isinstance(x, Tensor) and x.is_floating_point()
    if value_range is None and not floats:
        check_peak(round((high + 1) * 127.5), 255, f"the images of {name}")
    if value_range is None and floats and len(source.shape) == 3 and low >= 0:
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
