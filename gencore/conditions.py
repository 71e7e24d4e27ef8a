"""What a model may be conditioned on: each kind checks what it is given, draws at random, and reads a word.

A model says its kind by `Model.condition`, a source by `conditions`; a batch carries it under the kind's `key`:

kind         key          tensor
ClassLabel   label        (N,) int64 in [0, count)
Image        x_input      (N, C, H, W) float32 in [-1, 1]
Tokens       tokens       (N, length) int64 in [0, size); 0 is padding
Attributes   attributes   (N, count) float32
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gencore.errors import GencoreError, suggest

if TYPE_CHECKING:
    from torch import Tensor

    from gencore.noise import NoiseSource

MAX_COUNT = 2**24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabel:
    """One of `count` classes; `names` are theirs, where they have some."""

    key: ClassVar[str] = "label"
    count: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _expect(0 < self.count <= MAX_COUNT, "count of classes", self.count, "a positive integer")
        _expect(len(self.names) in (0, self.count), "names of classes", self.names, f"none or {self.count}")

    def check(self, given: Any, n: int) -> Tensor:
        """The labels (n,) int64 of anything that holds integers: one for all, or one a sample. Raises GencoreError."""
        wanted = f"classes as integers from 0 to {self.count - 1}: one for all, or one for each of {n} samples"
        labels = _tensor(given, wanted)
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == _torch().bool or labels.ndim > 1:
            raise GencoreError(f"condition is {_short(given)}; expected {wanted}.")
        labels = (labels.expand(n) if labels.ndim == 0 else labels).long()
        if len(labels) != n:
            raise GencoreError(f"condition has {len(labels)} rows for {n} samples; expected one for each sample.")
        if n and (int(labels.min()) < 0 or int(labels.max()) >= self.count):
            raise GencoreError(f"condition has {_short(given)}; expected {wanted}.")
        return labels

    def draw(self, noise: NoiseSource) -> Tensor:
        """Classes at random, (n,) int64."""
        return noise.integers(self.count)

    def in_turn(self, start: int, n: int) -> Tensor:
        """Class (start + i) % count for sample i: what a model draws that is asked for nothing."""
        return _torch().arange(start, start + n) % self.count

    def parse(self, word: str) -> int:
        """The class of a name or number, as the command line gives it. Raises GencoreError for an unknown one."""
        if word in self.names:
            return self.names.index(word)
        if word.isdecimal() and int(word) < self.count:
            return int(word)
        known = f" or one of {', '.join(self.names)}" if self.names else ""
        near = suggest(word, self.names) if self.names else ""
        raise GencoreError(f"The class is {word!r}; expected a number from 0 to {self.count - 1}{known}.{near}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture of `shape` (C, H, W) in [-1, 1]; a height or width of 0 stands for any."""

    key: ClassVar[str] = "x_input"
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        _expect(self.shape[0] > 0 and min(self.shape) >= 0, "shape of the picture", self.shape, "(C, H, W)")

    def check(self, given: Any, n: int) -> Tensor:
        """Pictures (n, C, H, W) float32, from one for all (C, H, W) or one a sample. Raises GencoreError."""
        wanted = f"pictures ({n}, {', '.join(str(s) if s else 'any' for s in self.shape)}) in [-1, 1]"
        pictures = _tensor(given, wanted)
        if pictures.ndim == 3:
            pictures = pictures.expand(n, *pictures.shape)
        fits = pictures.ndim == 4 and all(s in (0, got) for s, got in zip(self.shape, pictures.shape[1:], strict=True))
        if not fits or len(pictures) != n or not pictures.is_floating_point():
            raise GencoreError(f"condition is {tuple(pictures.shape)} of {pictures.dtype}; expected {wanted}.")
        return _finite(pictures, wanted)

    def draw(self, noise: NoiseSource) -> Tensor:
        """Raises GencoreError: pictures come from data."""
        raise GencoreError("This model is conditioned on a picture: give some: condition=... (--condition FILE).")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A sentence of at most `length` words; `words[i]` is token i + 1, and 0 is padding."""

    key: ClassVar[str] = "tokens"
    length: int
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        _expect(0 < self.length <= MAX_COUNT, "length of a sentence", self.length, "a positive integer")
        different = bool(self.words) and len(set(self.words)) == len(self.words)
        _expect(different, "words", self.words[:5], "different words")

    @property
    def size(self) -> int:
        """How many tokens there are, the padding too."""
        return len(self.words) + 1

    def check(self, given: Any, n: int) -> Tensor:
        """Tokens (n, length) int64 from a sentence, n sentences, or tokens. Raises GencoreError."""
        if isinstance(given, str):
            given = [given] * n
        if isinstance(given, Sequence) and given and all(isinstance(item, str) for item in given):
            given = _torch().stack([self.parse(sentence) for sentence in given])
        tokens = _tensor(given, f"a sentence, or one for each of {n} samples")
        tokens = tokens.expand(n, *tokens.shape) if tokens.ndim == 1 else tokens
        whole = not tokens.is_floating_point() and tokens.dtype != _torch().bool
        if tuple(tokens.shape) != (n, self.length) or not whole:
            raise GencoreError(f"condition is {tuple(tokens.shape)}; expected ({n}, {self.length}) tokens.")
        if n and (int(tokens.min()) < 0 or int(tokens.max()) >= self.size):
            raise GencoreError(f"condition has tokens outside 0 ... {self.size - 1}.")
        return tokens.long()

    def draw(self, noise: NoiseSource) -> Tensor:
        """Raises GencoreError: words at random are no sentence."""
        raise GencoreError("This model is conditioned on a sentence: give one: condition=... (--condition TEXT).")

    def parse(self, word: str) -> Tensor:
        """The tokens of a sentence, (length,) int64. Raises GencoreError for unknown words and long sentences."""
        written = word.lower().replace(",", " ").split()
        if unknown := [w for w in written if w not in self.words]:
            raise GencoreError(f"{word!r} has the unknown word {unknown[0]!r}.{suggest(unknown[0], self.words)}")
        if len(written) > self.length:
            raise GencoreError(f"{word!r} has {len(written)} words; expected at most {self.length}.")
        known = [self.words.index(w) + 1 for w in written]
        return _torch().tensor(known + [0] * (self.length - len(known)))

    def text(self, tokens: Tensor) -> str:
        """The sentence of tokens (length,)."""
        return " ".join(self.words[int(token) - 1] for token in tokens if token > 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Numbers by name, such as age=0.5 or glasses=1, each within `low` and `high`."""

    key: ClassVar[str] = "attributes"
    names: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _expect(bool(self.names) and len(set(self.names)) == len(self.names), "names", self.names, "different names")
        _expect(math.isfinite(self.low) and self.low < self.high < math.inf, "high", self.high, "more than low")

    def check(self, given: Any, n: int) -> Tensor:
        """Attributes (n, count) float32 from one row for all or one a sample. Raises GencoreError."""
        wanted = f"({n}, {len(self.names)}) numbers from {self.low:g} to {self.high:g}: {', '.join(self.names)}"
        values = _tensor(given, wanted)
        values = values.expand(n, *values.shape) if values.ndim == 1 else values
        if tuple(values.shape) != (n, len(self.names)) or values.is_complex():
            raise GencoreError(f"condition is {tuple(values.shape)}; expected {wanted}.")
        values = _finite(values.float(), wanted)
        if n and (float(values.min()) < self.low - 1e-6 or float(values.max()) > self.high + 1e-6):
            raise GencoreError(f"condition has {_short(given)}; expected {wanted}.")
        return values

    def draw(self, noise: NoiseSource) -> Tensor:
        """Each uniform between low and high, (n, count) float32."""
        return self.low + (self.high - self.low) * noise.uniform(len(self.names))

    def parse(self, word: str) -> Tensor:
        """The row of "glasses=1,age=0.5", (count,) float32; what is not named is `low`. Raises GencoreError."""
        row = [self.low] * len(self.names)
        for item in filter(None, word.split(",")):
            name, _, value = item.strip().partition("=")
            if name not in self.names:
                raise GencoreError(f"There is no attribute {name!r}.{suggest(name, self.names)}")
            try:
                row[self.names.index(name)] = float(value or 1)
            except ValueError as error:
                raise GencoreError(f"Attribute {name!r} is {value!r}; expected a number.") from error
        return self.check(row, 1)[0]


Condition = ClassLabel | Image | Tokens | Attributes


def of_batch(condition: Condition, batch: Mapping[str, Tensor]) -> Tensor:
    """What a batch holds of that kind, checked. Raises GencoreError where there is nothing, or what does not fit."""
    if condition.key not in batch:
        raise GencoreError(
            f"This model is conditioned on {type(condition).__name__}, so every example needs {condition.key!r}; the "
            f"batch has {sorted(batch)}. Take data that have it."
        )
    return condition.check(batch[condition.key], len(batch["x"]))


def _expect(good: bool, what: str, got: object, expected: str) -> None:
    if not good:
        raise GencoreError(f"The {what} is {got!r}; expected {expected}.")


def _torch() -> Any:
    import torch

    return torch


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."


def _tensor(given: Any, expected: str) -> Tensor:
    """What people have (int, numpy integer, list, tuple, range, array, tensor) as a tensor."""
    torch = _torch()
    if isinstance(given, torch.Tensor):
        return given
    try:
        return torch.as_tensor(list(given) if isinstance(given, range) else given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GencoreError(f"condition is {_short(given)}; expected {expected}.") from error


def _finite(values: Tensor, expected: str) -> Tensor:
    # one pass, through which NaN comes: 0.2 ms where isfinite().all() takes 3
    if values.numel() and not all(bound.isfinite() for bound in _torch().aminmax(values)):
        raise GencoreError(f"condition holds NaN or infinity; expected {expected}.")
    return values
