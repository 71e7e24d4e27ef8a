"""The default samplers of games whose own behaviour tests train one player alone, or too briefly: here both train."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data import open_source
from tests.plugins.default_sampler import draws_nearer

DENSE: dict[str, Any] = {"steps": 300, "latent_dim": 8, "hidden": (64,)}
CONV: dict[str, Any] = {"latent_dim": 16, "width": 8}
SHORT: dict[str, dict[str, Any]] = {
    "3d-gan": {"steps": 60, "width": 8, "batch_size": 16},
    "adagan": {"steps": 150, "num_components": 2, "classifier_steps": 50},
    "b-gan": DENSE,
    "bayesian-gan": {"steps": 400, "thinning": 20, "generator_rate": 1e-4},
    "began": {"steps": 200, "width": 8, "learning_rate": 2e-3},
    "ebgan": {"steps": 300, "width": 16},
    "f-gan": DENSE,
    "gan": DENSE,
    "gan-r1": {**CONV, "steps": 200, "learning_rate": 1e-3},
    "geometric-gan": DENSE,
    "gogan": {"steps": 100, "learning_rate": 2e-3},
    "improved-gan": {**CONV, "steps": 150, "learning_rate": 2e-3},
    "lsgan": {**CONV, "steps": 200, "learning_rate": 2e-3},
    "sn-gan": {**CONV, "steps": 100, "critic_steps": 2, "learning_rate": 2e-3},
    "wgan": {**CONV, "steps": 100, "critic_steps": 2, "weight_clip": 0.05, "learning_rate": 1e-3},
    "wgan-gp": {**CONV, "steps": 80, "critic_steps": 2, "learning_rate": 2e-3},
}
"""By system: the arguments of a training of about a second."""


@pytest.mark.behaviour
@pytest.mark.parametrize("system", SHORT)
def test_the_default_sampler_draws_nearer_to_the_data(system: str) -> None:
    """What is published, after a training on the system's default data."""
    recipe = gencore.recipe(system, **SHORT[system])
    source: Any = open_source(recipe.data)
    trainer = gencore.Trainer(recipe, source, seed=0, cpu=True)
    trainer.fit()
    with trainer.published() as model:
        draws_nearer(model.eval(), source.fetch(torch.arange(min(len(source), 1500)))["x"])
