"""Losses and gradients of a system's model, made from its recipe at one seed."""

from __future__ import annotations

import torch

import gencore

DOTS = torch.where(torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.4, 1.0, -1.0)


def loss_of(name: str, x: torch.Tensor, **overrides: object) -> gencore.Loss:
    torch.manual_seed(0)
    recipe = gencore.recipe(name, data_shape=tuple(x.shape[1:]), **overrides)
    model = recipe.model(recipe.config)
    torch.manual_seed(1)
    return recipe.stages[0].objective.loss(model, "autoencoder", {"x": x})


def gradients(recipe: gencore.Recipe, phase: str) -> dict[str, bool]:
    """Which parts of the model the loss of a phase would reach, if nothing were held fixed."""
    torch.manual_seed(0)
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    objective.loss(model, phase, {"x": torch.rand(4, *recipe.config.data_shape) * 2 - 1}).total.backward()
    return {
        name: any(p.grad is not None and bool((p.grad != 0).any()) for p in part.parameters())
        for name, part in model.named_children()
    }
