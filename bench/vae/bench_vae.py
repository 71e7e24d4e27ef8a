"""One training step of a VAE against pythae, with the same layers, batch and noise: forward, backward, Adam.

Each side steps as its own trainer does: ours with convolutions' weights channels last and an Adam in one pass over
memory, pythae's with torch's defaults. The learning rate is 0, so every call computes the same step and the losses can
be compared. pythae's "mse" loss is a Gaussian of variance 1 without its constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.compilation import compile_regions
from gencore.nn.memory_format import put_channels_last

BATCH = 128
CASES: dict[str, dict[str, Any]] = {
    "dense 28x28, 512, z 16": {"system": "vae", "data_shape": (1, 28, 28), "hidden": (512,), "latent_dim": 16},
    "conv 32x32, width 16, z 16": {"system": "conv-vae", "data_shape": (1, 32, 32), "width": 16, "latent_dim": 16},
}


def recipe_of(case: str) -> gencore.Recipe:
    """The recipe of a case, with a decoder of variance 1."""
    arguments = dict(CASES[case])
    return gencore.recipe(arguments.pop("system"), decoder_std=1.0, **arguments)


def stepper(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """One step on the same noise each time; returns the loss."""
    optimizer.param_groups[0]["lr"] = 0.0

    def step() -> Tensor:
        torch.manual_seed(1)
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def ours(case: str, x: Tensor, *, compiled: bool = False) -> Callable[[], Tensor]:
    """Objective and model of the recipe; the Gaussian's constant is taken off the loss."""
    torch.manual_seed(0)
    recipe = recipe_of(case)
    model: Any = recipe.model(recipe.config)
    put_channels_last(model)
    if compiled:
        compile_regions(model, model.regions)
    stage, constant = recipe.stages[0], 0.5 * x[0].numel() * math.log(2 * math.pi)
    objective, adam = stage.objective, stage.phases[0].optimizer.build(model.parameters())
    return stepper(adam, lambda: objective.loss(model, "autoencoder", {"x": x}).total - constant)


def pythaes(case: str, x: Tensor, *, compiled: bool = False) -> Callable[[], Tensor]:
    """pythae's VAE around the same encoder and decoder."""
    models = pytest.importorskip("pythae.models")
    nets = pytest.importorskip("pythae.models.nn")
    outputs = pytest.importorskip("pythae.models.base.base_utils")
    torch.manual_seed(0)
    recipe = recipe_of(case)
    layers: Any = recipe.model(recipe.config)

    class Encoder(nets.BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers.encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.layers(x).chunk(2, 1)
            return outputs.ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(nets.BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers.decoder

        def forward(self, z: Tensor) -> Any:
            return outputs.ModelOutput(reconstruction=self.layers(z))

    config = models.VAEConfig(input_dim=recipe.config.data_shape, latent_dim=recipe.config.latent_dim)
    model: Any = models.VAE(config, Encoder(), Decoder())
    adam = torch.optim.Adam(model.parameters())
    if compiled:
        compile_regions(layers, ("encoder", "decoder"))
    return stepper(adam, lambda: model({"data": x}).loss)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_training_step(race: Any, case: str, compiled: bool) -> None:
    """The bar: pythae at 1.0 of our time, or more. The compiled regions are the same on both sides."""
    torch.manual_seed(0)
    x = torch.rand(BATCH, *recipe_of(case).config.data_shape) * 2 - 1
    contestants = {
        "gencore": ours(case, x, compiled=compiled),
        "pythae": pythaes(case, x, compiled=compiled),
    }
    expected = ours(case, x)()
    race(
        "VAE training step",
        f"{case}, batch {BATCH}, {'compiled' if compiled else 'eager'}",
        contestants,
        error=lambda loss: (loss - expected).abs().item() / expected.item(),
        error_unit="relative difference of the loss",
        tests="tests/plugins/vae/test_vae.py",
    )
