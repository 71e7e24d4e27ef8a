"""Codebooks on two processes: one set of statistics, one codebook, to the bit, at every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import gencore
from gencore.testing import run_processes

pytestmark = pytest.mark.slow

SYSTEMS: dict[str, dict[str, Any]] = {
    "vq-vae": {},
    "grouped-vq-vae": {"groups": 2},
    "residual-vq-vae": {"books": 2, "book_dropout": False},
    "cosine-vq-vae": {"update": "ema"},
    "speech-vq-vae": {"data_shape": (1, 8, 8)},
}
STEPS = 3


def follow(rank: int, ranks: int, kmeans_iterations: int, restart_below: float) -> dict[str, Tensor]:
    """Every codebook after every step on this rank's share of 32 examples, as the trainer makes the steps.

    Without the trainer's wrapper, which would copy the first process' buffers over the others' at the next step.
    """
    x = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = {"x": x.chunk(ranks)[rank], "label": torch.zeros(32 // ranks, dtype=torch.int64)}
    seen = {}
    for system, arguments in SYSTEMS.items():
        settings = {"kmeans_iterations": kmeans_iterations, "restart_below": restart_below, "decay": 0.5}
        recipe = gencore.recipe(system, num_codes=8, code_dim=4, width=8, **settings, **arguments)
        torch.manual_seed(0)
        model, objective = recipe.model(recipe.config), recipe.stages[0].objective
        torch.manual_seed(1 + rank)
        for step in range(STEPS):
            step_seen = objective.loss(model, "autoencoder", batch).seen
            with torch.no_grad():
                objective.after_step(model, "autoencoder", [step_seen])
            for name, tensor in model.codebook.state_dict().items():
                seen[f"{system}/{step}/{name}"] = tensor.clone()
    return seen


BEGINNINGS = {"random": (0, 0.0), "k-means": (3, 12.0)}
"""Steps of k-means, and the average count under which a code begins anew."""


def follow_together() -> dict[str, Tensor]:
    """Both beginnings on this process."""
    dist.init_process_group("gloo")
    try:
        return {
            f"{beginning}/{name}": tensor
            for beginning, settings in BEGINNINGS.items()
            for name, tensor in follow(dist.get_rank(), dist.get_world_size(), *settings).items()
        }
    finally:
        dist.destroy_process_group()


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def test_codebooks_are_one(tmp_path: Path) -> None:
    """Equal on both; on halves as one process on the whole, and not as one on its half; codes did begin anew."""
    first, second = run_processes(follow_together, 2, tmp_path)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"these differ between the processes: {different}"
    together, half = under("random/", first), follow(0, 2, *BEGINNINGS["random"])
    torch.testing.assert_close(together, follow(0, 1, *BEGINNINGS["random"]), rtol=1e-4, atol=1e-5)
    assert all(not torch.allclose(together[name], half[name]) for name in together if name.endswith("sums"))
    for system in SYSTEMS:
        counts = [t for name, t in under(f"k-means/{system}/", first).items() if name.endswith("counts")]
        assert any((tensor == 1).any() for tensor in counts), f"no code of {system} began anew"
