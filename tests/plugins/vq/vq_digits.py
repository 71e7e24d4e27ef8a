"""What the behaviour tests of this folder train on digits, and what they measure."""

from __future__ import annotations

import functools
from typing import Any

import torch

import gencore
from gencore.data import digits
from gencore_vq.parts.codebook import perplexity

PRIOR: dict[str, Any] = {"prior_steps": 60, "prior_width": 16, "prior_layers": 1}
"""For models whose default sampler is looked at: without steps of the prior it draws codes at random."""


@functools.cache
def held_out() -> torch.Tensor:
    test = digits("test")
    return test.fetch(torch.arange(len(test)))["x"]


@functools.cache
def trained(system: str, **arguments: Any) -> Any:
    recipe = gencore.recipe(system, **{"steps": 500, "prior_steps": 0, **arguments})
    return gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()


@torch.no_grad()
def error(model: Any, codes: torch.Tensor) -> float:
    return (model.generate(codes) - held_out()).square().flatten(1).sum(1).mean().item()


def used(model: Any) -> float:
    """Perplexity of the code usage on held-out digits."""
    codes = model.encode(held_out()).flatten()
    return perplexity(codes.bincount(minlength=model.config.num_codes).float()).item()
