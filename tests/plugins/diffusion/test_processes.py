"""Two processes: they end equal to the bit, each draws its own noise, and their gradient is that of the whole batch.

The systems do not claim to be exactly data-parallel: which noise an example gets depends on the process that sees it.
With noise that the example itself decides, they are.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data import digits
from gencore.testing import run_processes
from gencore_diffusion import noisy_classifier
from gencore_diffusion.parts import learned_variance, objective

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("diffusion-processes")]

SYSTEMS: dict[str, dict[str, Any]] = {
    "ddpm": {"num_classes": 10},
    "ddpm learned": {"variance": "learned", "bins": 17},
    "ncsn": {},
    "edm": {},
    "noisy-classifier": {},
}


def recipe(name: str, batch_size: int, **changes: Any) -> gencore.Recipe:
    return gencore.recipe(name.split()[0], width=8, batch_size=batch_size, **{**SYSTEMS[name], **changes})


def let_go(trainer: gencore.Trainer) -> None:
    """Ends a training, and leaves the group of processes to the next one, which `close` would not."""
    assert trainer._run is not None
    trainer._run.release(trainer.accelerator)


def train(name: str) -> dict[str, Tensor]:
    """Everything that a checkpoint holds after three iterations."""
    trainer = gencore.Trainer(recipe(name, 8, steps=3), digits("train"), cpu=True)
    trainer.fit()
    seen = {key: tensor.clone() for key, tensor in trainer.state().tensors.items()}
    let_go(trainer)
    return seen


def decided(model: Any, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Noise level and noise by the example alone."""
    places = (clean.flatten(1).sum(1).abs() * 7.3 % 1).double()
    if hasattr(model, "sigmas"):
        sigma = model.sigmas[(places * len(model.sigmas)).long()]
    else:
        sigma = 0.1 * 50**places
    eps = torch.sin(1000 * clean + torch.arange(clean[0].numel()).reshape(clean.shape[1:]))
    return clean + sigma.float().reshape(-1, 1, 1, 1) * eps, sigma


def gradients(name: str, batch_size: int) -> dict[str, Tensor]:
    """Adam's first moments after one iteration: a tenth of the clipped gradient."""
    made = recipe(name, batch_size, steps=1, **({"num_classes": None} if name == "ddpm" else {}))
    trainer = gencore.Trainer(made, digits("train"), cpu=True)
    with (
        mock.patch.object(objective, "noised", decided),
        mock.patch.object(learned_variance, "noised", decided),
        mock.patch.object(noisy_classifier, "noised", decided),
    ):
        trainer.fit()
    tensors = trainer.state().tensors
    seen = {key: tensor.clone() for key, tensor in tensors.items() if key.endswith("exp_avg")}
    let_go(trainer)
    return seen


def train_all() -> dict[str, Tensor]:
    """Of every system, what `train` gives under "trained/NAME/", and `gradients` under "gradients/NAME/"."""
    return {
        f"{kind}/{name}/{key}": tensor
        for name in SYSTEMS
        for kind, tensors in (("trained", train(name)), ("gradients", gradients(name, 8)))
        for key, tensor in tensors.items()
    }


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What each of two processes has. They are started once: most of a little training's cost is their start."""
    return run_processes(train_all, 2, tmp_path_factory.mktemp("ranks"))


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", SYSTEMS)
def test_ranks_end_bit_equal_with_noise_of_their_own(name: str, ranks: list[dict[str, Tensor]]) -> None:
    first, second = (under(f"trained/{name}/", tensors) for tensors in ranks)
    assert first
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert not torch.equal(first["random/0/cpu"], first["random/1/cpu"])


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_halves_have_the_gradient_of_the_whole(name: str, ranks: list[dict[str, Tensor]]) -> None:
    whole = gradients(name, 16)
    first, second = (under(f"gradients/{name}/", tensors) for tensors in ranks)
    assert max(gradient.abs().max() for gradient in whole.values()) > 1e-3
    for key, expected in whole.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], expected, rtol=1e-3, atol=1e-6)
