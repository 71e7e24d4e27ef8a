"""Classes that are not the data's own: the values of an attribute, for judges that ask what codes know of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gencore.conditions import Attributes, ClassLabel, Condition, Tokens
from gencore.data.source import Batch, Source, conditions_of
from gencore.data.views import View
from gencore.errors import GencoreError, suggest


def by_attribute(source: Source, name: str) -> Source:
    """The source with the values of `name` as its labels, in order; nothing but x, label and index is left.

    name: one of the attributes that the data have, a key of one number an example, as drawn data have them, or
    "tokens": each sentence is a class.
    Raises GencoreError for a name that is not there, and for values that are no classes: all the same, or more than one
    for every two examples.
    """
    values, words = _values(source, name)
    kinds, label = values.unique(dim=0, return_inverse=True)
    if not 2 <= len(kinds) <= len(label) // 2:
        raise GencoreError(
            f"{name!r} of {source.name} has {len(kinds)} different values in {len(label)} examples; expected classes: "
            "2 values or more, each of several examples."
        )
    named = tuple(words.text(kind) for kind in kinds) if words else tuple(f"{kind:g}" for kind in kinds.tolist())
    return _ByAttribute(source, label, named)


def _values(source: Source, name: str) -> tuple[Tensor, Tokens | None]:
    """(N,) numbers, or (N, length) tokens and the words that they stand for."""
    kinds = {kind.key: kind for kind in conditions_of(source)}
    numbers, text = kinds.get(Attributes.key), kinds.get(Tokens.key)
    names = numbers.names if isinstance(numbers, Attributes) else ()
    singles = [key for key in getattr(source, "keys", ()) if _column(source, key, 1).ndim == 1]
    if name in names:
        return _column(source, Attributes.key)[:, names.index(name)], None
    if name in singles:
        return _column(source, name), None
    if name == Tokens.key and isinstance(text, Tokens):
        return _column(source, name), text
    known = [*names, *singles]
    has = f"{suggest(name, known)} It has {', '.join(known)}." if known else " It has none."
    raise GencoreError(f"{source.name} has no attribute {name!r}.{has}")


def _column(source: Source, key: str, count: int | None = None) -> Tensor:
    """An entry of the batches of all examples, or of the first `count`; without decoding where it lies at hand."""
    at_hand: Mapping[str, Tensor] = getattr(source, "further", {})
    if key in at_hand:
        return at_hand[key][:count]
    return torch.cat([source.fetch(part)[key] for part in torch.arange(len(source))[:count].split(1024)])


class _ByAttribute(View):
    def __init__(self, source: Source, label: Tensor, names: tuple[str, ...]) -> None:
        super().__init__(source)
        self.label, self.names = label, names

    @property
    def num_classes(self) -> int:
        return len(self.names)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.names

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (ClassLabel(count=len(self.names), names=self.names),)

    @property
    def keys(self) -> tuple[str, ...]:
        return ()

    def fetch(self, indices: Tensor) -> Batch:
        batch = self.source.fetch(indices)
        return {"x": batch["x"], "index": batch["index"], "label": self.label[indices]}
