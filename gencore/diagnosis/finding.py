"""What a check says."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Whether the failure is there, and what was measured, with the bar that it was held against."""

    found: bool
    measured: str


class NotJudgedError(Exception):
    """The run has nothing by which this can be judged; the text says what is missing."""
