"""What the tests of the models of the next token share."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

import gencore
from gencore.data.toys.grammar import grammar, log_prob
from gencore.evaluation.ngram import NGram
from gencore.training.trainer import Trainer


def small(system: str, **overrides: Any) -> Any:
    """With weights at random that are large enough for what comes before to matter, in evaluation mode."""
    model: Any = gencore.create(system, **{"width": 8, "layers": 2, **overrides})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def gap(model: Any) -> float:
    """Nats a token on unseen sentences, above what the grammar itself scores there."""
    tokens = grammar(1000, split="test").tokens
    with torch.no_grad():
        return float(model.nats(tokens).mean() + log_prob(tokens).mean() / 16)


def trained(system: str, seed: int, *, forgetful: bool = False, steps: int = 300) -> Any:
    """The recipe's defaults. `forgetful`: a model that is shown each token alone."""
    recipe: Any = gencore.recipe(system, steps=steps)
    if forgetful:

        class Forgetful(recipe.model):  # type: ignore[misc]
            def logits(self, before: Tensor) -> Tensor:
                return super().logits(before.reshape(-1, 1)).view(*before.shape, -1)

        recipe = dataclasses.replace(recipe, model=Forgetful)
    if not steps:
        torch.manual_seed(seed)
        return recipe.model(recipe.config).eval()
    return Trainer(recipe, grammar(5000), seed=seed, cpu=True).fit().eval()


def best_ngram() -> float:
    """Nats a token of the best of the n-grams of orders 2 to 4 above the grammar's entropy, on unseen sentences."""
    train, test = grammar(5000).tokens, grammar(1000, split="test").tokens
    nats = min(NGram(train, order, 37).nats(test).mean().item() for order in (2, 3, 4))
    return nats + log_prob(test).mean().item() / 16
