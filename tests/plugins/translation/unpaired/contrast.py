"""Digits and inverted digits, without pairs: what a translation makes of held-out pictures, against the truth."""

from __future__ import annotations

from typing import Any

import torch

import gencore
from gencore.data import digits


def trained(system: str, *, seed: int, steps: int, **arguments: Any) -> Any:
    """The system, trained on its default view of the digits."""
    recipe = gencore.recipe(system, steps=steps, **arguments)
    return gencore.Trainer(recipe, digits("train"), seed=seed, cpu=True).fit().eval()


def cycle_error(model: Any) -> float:
    """Mean |x - there and back| of held-out pictures, from both domains."""
    x = digits("test").x
    with torch.no_grad():
        first = model.translate(model.translate(x), to="a")
        second = model.translate(model.translate(-x, to="a"))
    return ((first - x).abs().mean() + (second + x).abs().mean()).item() / 2


def translation_error(model: Any) -> float:
    """Mean |translation - the picture inverted| of held-out pictures."""
    x = digits("test").x
    with torch.no_grad():
        return (model.translate(x) + x).abs().mean().item()
