"""What a restoration page makes of the data that it is given: pairs as they are, pictures alone degraded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gencore.conditions import Image
from gencore.data.augmentation import Degrade, augmented, degraded
from gencore.data.source import conditions_of


def has_inputs(source: Any) -> bool:
    """Whether the source's examples come with an x_input."""
    return any(isinstance(condition, Image) for condition in conditions_of(source))


def pairs_or_degraded(kind: str | Degrade, *, crop: int) -> Callable[[Any, Any], Any]:
    """A stage's view: a source of pairs is taken as it is; of pictures alone random squares of side `crop` are cut,
    mirrored half of the time and degraded as `kind` says (gencore.data.augmentation.FORMS)."""

    def view(source: Any, model: Any) -> Any:
        return source if has_inputs(source) else degraded(source, kind, crop=crop, flip=True)

    return view


def pairs_or_augmented(*, crop: int) -> Callable[[Any, Any], Any]:
    """A stage's view: pairs, cut and mirrored alike; `crop` 0 takes them whole, not mirrored."""
    return lambda source, model: augmented(source, crop=crop, flip=True) if crop else source
