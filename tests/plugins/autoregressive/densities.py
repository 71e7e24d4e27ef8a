"""What the behaviour tests of this family share: a short training, and scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

import gencore
from gencore.data import Batches, open_source
from gencore.nn.levels import Rounding, to_levels


def trained(system: str, x: Tensor, label: Tensor | None = None, *, steps: int, seed: int, **arguments: Any) -> Any:
    """A model of the recipe with these arguments after so many steps on x, in evaluation mode."""
    return trained_model(fresh(system, seed, **arguments), x, label, steps=steps, seed=seed, **rates(arguments))


def rates(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that are not the model's."""
    return {name: arguments[name] for name in ("learning_rate", "batch_size") if name in arguments}


def fresh(system: str, seed: int, **arguments: Any) -> Any:
    """The recipe's model, untrained."""
    recipe = gencore.recipe(system, **arguments)
    torch.manual_seed(seed)
    model = recipe.model(recipe.config)
    model.system = system
    return model


def trained_model(
    model: Any,
    x: Tensor,
    label: Tensor | None = None,
    *,
    steps: int,
    seed: int,
    learning_rate: float,
    batch_size: int = 64,
) -> Any:
    """The recipe's own objective and optimiser, on what of the model has a gradient."""
    classes = None if label is None else int(label.max()) + 1
    source = gencore.data.InMemory(x=x, label=label, num_classes=classes, name="given")
    recipe = gencore.recipe(model.system, learning_rate=learning_rate)
    ((phase,), objective) = recipe.stages[0].phases, recipe.stages[0].objective
    optimizer = phase.optimizer.build(p for p in model.parameters() if p.requires_grad)
    batches = Batches(source, batch_size, seed=seed)
    torch.manual_seed(seed)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        objective.loss(model, "likelihood", batches[step]).total.backward()
        optimizer.step()
    return model.eval()


def switched_off(*modules: torch.nn.Module) -> None:
    """All their parameters 0, and left so."""
    for module in modules:
        for parameter in module.parameters():
            parameter.requires_grad_(False).zero_()


@torch.no_grad()
def nats(model: Any, x: Tensor, label: Tensor | None = None) -> float:
    """Mean -log p of an example."""
    return -model.log_prob(x, condition=label).mean().item()


def digits(split: str) -> tuple[Tensor, Tensor]:
    """All pictures of a split, and their classes."""
    source = open_source("digits", split=split)  # type: ignore[arg-type]
    batch = source.fetch(torch.arange(len(source)))
    return batch["x"], batch["label"]


def independent(train: Tensor, test: Tensor, levels: int, rounding: Rounding) -> float:
    """Mean -log p of a test example if every number had its own histogram, each count one higher."""
    seen, wanted = (to_levels(x, levels, rounding).flatten(1) for x in (train, test))
    counts = torch.stack([(seen == level).sum(0) for level in range(levels)]) + 1.0
    share = counts / (len(seen) + levels)
    return -share.gather(0, wanted).log().sum(1).mean().item()


def bigram(train: Tensor, test: Tensor, levels: int) -> float:
    """Mean -log p of a number given the one before, codes (N, T), from counts, each a tenth higher."""
    pairs = torch.bincount((train[:, :-1] * levels + train[:, 1:]).flatten(), minlength=levels**2).view(levels, levels)
    share = (pairs + 0.1) / (pairs + 0.1).sum(1, keepdim=True)
    return -share.log()[test[:, :-1], test[:, 1:]].mean().item()


def bits(count: int) -> float:
    """So many fair coins, in nats."""
    return count * math.log(2)


def coins(generator: torch.Generator, *shape: int) -> Tensor:
    """-1 or 1, each as likely."""
    return torch.randint(2, shape, generator=generator) * 2.0 - 1
