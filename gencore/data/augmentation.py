"""Views that crop, mirror and degrade pictures at random: what is done to a picture is a function of
(seed, epoch, index) alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gencore.conditions import Condition, Image
from gencore.data.opening_rules import shorten
from gencore.data.ranges import is_image_key
from gencore.data.source import Batch, Source, check_indices, conditions_of, epoch_order
from gencore.data.streams import Use, derived_seed, raw
from gencore.data.views import View, order_width
from gencore.errors import GencoreError, suggest

Degrade = Callable[[Tensor, int, Tensor], Tensor]
"""(x (N, C, H, W) in [-1, 1], seed, index (N,)) -> (N, C', H', W'): what is random depends on (seed, index[i])."""

FORMS = {
    "downsample": "downsample:FACTOR",
    "blur": "blur:SIGMA",
    "jpeg": "jpeg:QUALITY",
    "noise": "noise:SIGMA",
    "rain": "rain:DENSITY",
    "grey": "grey",
    "hole": "hole:SIDE",
    "random-hole": "random-hole:SIDE",
    "strokes": "strokes:COUNT",
}


def augmented(source: Source, *, crop: int | None = None, flip: bool = True) -> Source:
    """Random squares of side `crop` (None: the whole) of the images, mirrored left to right half of the time.

    Further streams of the same size are cut and mirrored alike. `fetch` takes rows of the order, or plain positions:
    then the square in the middle, not mirrored. Raises GencoreError for a source without images or smaller ones.
    """
    return _Augmented(source, crop, flip, None)


def degraded(source: Source, kind: str | Degrade, *, crop: int | None = None, flip: bool = False) -> Source:
    """x, the picture, and x_input, what is left of it: for restoration. Cut and mirrored as in `augmented`.

    kind: a word of FORMS, such as downsample:2 (gencore.data.toys.degradations says what each does), or a function.
    Raises GencoreError for an unknown kind, and where x_input stands in the source already.
    """
    degrade = degradation(kind) if isinstance(kind, str) else kind
    if any(isinstance(condition, Image) for condition in conditions_of(source)):
        raise GencoreError(f"{source.name} has an x_input already; to degrade it, take its x alone.")
    return _Augmented(source, crop, flip, degrade)


def degradation(kind: str) -> Degrade:
    """The function that a word of FORMS names. Raises GencoreError for an unknown one."""
    from gencore.data.toys import degradations as d

    name, colon, text = kind.partition(":")
    if name not in FORMS or bool(colon) != (":" in FORMS[name]):
        raise GencoreError(f"degradation {shorten(kind)} is not understood.{suggest(name, FORMS.values())}")
    try:
        value = float(text or 0)
        count = int(text or 0) if name in ("downsample", "jpeg", "hole", "random-hole", "strokes") else 0
    except ValueError as error:
        raise GencoreError(
            f"degradation {shorten(kind)}: {text!r} is no number of that kind; write {FORMS[name]}."
        ) from error
    known: dict[str, Degrade] = {
        "downsample": lambda x, seed, index: d.downsample(x, count),
        "blur": lambda x, seed, index: d.gaussian_blur(x, value),
        "jpeg": lambda x, seed, index: d.jpeg(x, count),
        "noise": lambda x, seed, index: d.noise(x, value, seed=seed, index=index),
        "rain": lambda x, seed, index: d.rain(x, seed=seed, index=index, density=value),
        "grey": lambda x, seed, index: d.grey(x),
        "hole": lambda x, seed, index: d.erase(x, d.mask_centre(len(x), x.shape[-1], count)),
        "random-hole": lambda x, seed, index: d.erase(x, d.mask_random(x.shape[-1], count, seed=seed, index=index)),
        "strokes": lambda x, seed, index: d.erase(
            x, d.mask_free_form(x.shape[-1], seed=seed, index=index, strokes=count)
        ),
    }
    return known[name]


class _Augmented(View):
    """The order's rows are the source's, and a number for (seed, epoch) as the last column."""

    def __init__(self, source: Source, crop: int | None, flip: bool, degrade: Degrade | None) -> None:
        super().__init__(source)
        if len(source.shape) != 3 or not 1 <= (crop or 1) <= min(source.shape[1:]):
            raise GencoreError(f"{source.name} has shape {source.shape}; expected images of side {crop or 1} or more.")
        self.crop, self.flip, self.degrade = crop, flip, degrade
        self.width = order_width(source)
        self.order = self._rows
        self.input_shape: tuple[int, ...] | None = None
        if degrade is not None:
            self.input_shape = tuple(degrade(torch.zeros(1, *self.shape), 0, torch.zeros(1).long()).shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape if self.crop is None else (self.source.shape[0], self.crop, self.crop)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        if self.input_shape is None:
            return super().conditions
        channels, height, width = self.input_shape
        return (Image(shape=(channels, height, width)), *super().conditions)

    @property
    def name(self) -> str:
        return f"{self.source.name}, {'degraded' if self.degrade else 'augmented'}"

    def _rows(self, seed: int, epoch: int) -> Tensor:
        rows = epoch_order(self.source, seed, epoch).view(-1, self.width)
        draw = derived_seed(derived_seed(seed, epoch), Use.AUGMENT) >> 1  # int64 has one bit less
        return torch.cat([rows, torch.full((len(rows), 1), draw)], dim=1)

    def fetch(self, indices: Tensor) -> Batch:
        if indices.ndim == 1:
            check_indices(indices, len(self))
            batch, draws = self.source.fetch(indices), None
        elif indices.shape[1:] == (self.width + 1,):
            rows = indices[:, :-1]
            batch = self.source.fetch(rows[:, 0] if self.width == 1 else rows)
            draws = _draws(indices[:, -1], batch["index"])
        else:
            raise GencoreError(
                f"fetch got indices of shape {tuple(indices.shape)}; expected (N,) or rows of the order."
            )
        batch = {key: self._cut(value, draws) if self._is_cut(key, value) else value for key, value in batch.items()}
        if self.degrade is not None:
            number = batch["index"] if draws is None else _as_int64(draws[:, 3])
            batch["x_input"] = self.degrade(batch["x"], 0, number).clamp(-1, 1)
        return batch

    def _is_cut(self, key: str, value: Tensor) -> bool:
        return is_image_key(key, value) and value.shape[-2:] == self.source.shape[-2:]

    def _cut(self, x: Tensor, draws: np.ndarray | None) -> Tensor:
        height, width = x.shape[-2:]
        side = self.crop
        if draws is None:
            return x if side is None else _middle(x, side)
        out = []
        for picture, (down, across, mirror, _) in zip(x, draws.tolist(), strict=True):
            if side is not None:
                top, left = down % (height - side + 1), across % (width - side + 1)
                picture = picture[:, top : top + side, left : left + side]
            out.append(picture.flip(-1) if self.flip and mirror % 2 else picture)
        return torch.stack(out)


def _middle(x: Tensor, side: int) -> Tensor:
    top, left = ((length - side) // 2 for length in x.shape[-2:])
    return x[..., top : top + side, left : left + side]


def _draws(keys: Tensor, index: Tensor) -> np.ndarray:
    """(N, 4) uint64: where to cut, whether to mirror, and a number for what is degraded."""
    return np.stack([raw(int(key), int(i), 4, Use.AUGMENT) for key, i in zip(keys, index, strict=True)])


def _as_int64(words: np.ndarray) -> Tensor:
    return torch.from_numpy((words >> np.uint64(1)).astype(np.int64))
