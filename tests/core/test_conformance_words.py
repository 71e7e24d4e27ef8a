"""What the conformance suite says to the author of a plugin."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gencore.errors import GencoreError
from gencore.registry import default_registry
from gencore.testing import conformance


def test_a_failed_check_shows_what_it_compared() -> None:
    """pytest rewrites the asserts of test files alone, unless it is told."""
    assert "@pytest_ar" in vars(conformance)


def test_tiny_arguments_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = default_registry()
    plugin, spec = registry.owner("gan")
    wrong: Any = dataclasses.replace(spec, tiny={"hiden": [4]})
    monkeypatch.setattr(type(registry), "owner", lambda self, name: (plugin, wrong))
    with pytest.raises(GencoreError, match=r"SYSTEM of 'gan', with tiny=\{'hiden': \[4\]\}: .*hiden"):
        conformance.tiny_recipe("gan")
