"""What may be said about data besides their name. Needs no torch."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gencore.errors import GencoreError

Split = Literal["train", "test", "all"]
SPLITS = ("train", "test", "all")
NO_CONDITION = "none"


def check_split(split: str) -> None:
    """Raise GencoreError unless `split` is one of SPLITS."""
    if split not in SPLITS:
        raise GencoreError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """The keywords of gencore.data.open_source, which says what they mean."""

    image_size: int | None = None
    split: Split = "train"
    skip_corrupt: bool = False
    channels: int | None = None
    data_range: tuple[float, float] | None = None
    condition: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.condition is not None and not self.condition.strip():
            raise GencoreError("condition is empty; expected the name of a column, or none.")

    @property
    def labels(self) -> bool:
        """Whether class labels are wanted where the data have some."""
        return self.condition != NO_CONDITION

    @property
    def column(self) -> str | None:
        """The column of metadata that is asked for."""
        return self.condition if self.labels else None
