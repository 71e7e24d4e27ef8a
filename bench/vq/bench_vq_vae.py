"""A VQ-VAE's training step against pythae's, and a plain loop around vector-quantize-pytorch: the same encoder and
decoder, batch, data and optimiser.

All learn their codebook by moving averages. The step: forward, backward, Adam and the codebook's averages, each side
as its own trainer does: ours with convolutions' weights channels last and an Adam in one pass over memory, the others
with torch's defaults.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pythae import models as pythae_models
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

import gencore
from gencore.compilation import compile_regions
from gencore.nn.memory_format import put_channels_last

BATCH, SHAPE, CODE_DIM = 64, (1, 32, 32), 16
Step = Callable[[], Tensor]


class Encoder(BaseEncoder):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> ModelOutput:
        return ModelOutput(embedding=self.layers(x))


class Decoder(BaseDecoder):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def parameters(model: Any) -> list[nn.Parameter]:
    return [*model.encoder.parameters(), *model.decoder.parameters()]


def our_step(model: Any, x: Tensor) -> Step:
    """Returns the mean squared error before the step, as the other does."""
    objective = gencore.recipe("vq-vae", restart_below=0.0).stages[0].objective
    adam = gencore.Adam(learning_rate=1e-3).build(parameters(model))

    def step() -> Tensor:
        adam.zero_grad()
        loss = objective.loss(model, "autoencoder", {"x": x})
        loss.total.backward()
        adam.step()
        with torch.no_grad():
            objective.after_step(model, "autoencoder", [loss.seen])
        return loss.metrics["reconstruction"].detach()

    return step


def pythae_step(model: Any, x: Tensor) -> Step:
    adam = torch.optim.Adam(parameters(model), lr=1e-3)

    def step() -> Tensor:
        adam.zero_grad()
        output = model({"data": x})
        output.loss.backward()
        adam.step()
        return output.recon_loss.detach() / x[0].numel()

    return step


class Plain(nn.Module):
    """A script's VQ-VAE: layers, and VectorQuantize between them."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = copy.deepcopy(ours.encoder), copy.deepcopy(ours.decoder)
        codes = ours.codebook.vectors
        self.quantizer = VectorQuantize(
            dim=codes.shape[1], codebook_size=len(codes), decay=0.99, commitment_weight=0.25, accept_image_fmap=True
        )
        for name in ("embed", "embed_avg"):
            getattr(self.quantizer._codebook, name).data.copy_(codes[None])


def plain_step(model: Plain, x: Tensor) -> Step:
    """As the others."""
    adam = torch.optim.Adam(parameters(model), lr=1e-3)

    def step() -> Tensor:
        adam.zero_grad()
        quantised, _, commitment = model.quantizer(model.encoder(x))
        error = (model.decoder(quantised) - x).square().mean()
        (error + commitment).backward()
        adam.step()
        return error.detach()

    return step


def models(num_codes: int) -> tuple[Any, Any]:
    """Ours and pythae's, with the same weights and codes."""
    torch.manual_seed(0)
    ours: Any = gencore.create("vq-vae", data_shape=SHAPE, num_codes=num_codes, code_dim=CODE_DIM).train()
    config = pythae_models.VQVAEConfig(input_dim=SHAPE, num_embeddings=num_codes, use_ema=True, decay=0.99)
    parts = Encoder(copy.deepcopy(ours.encoder)), Decoder(copy.deepcopy(ours.decoder))
    theirs = pythae_models.VQVAE(config, encoder=parts[0], decoder=parts[1]).train()
    theirs.quantizer.embeddings.copy_(ours.codebook.vectors)
    theirs.quantizer.ema_embed.copy_(ours.codebook.vectors)
    put_channels_last(ours)
    return ours, theirs


@pytest.mark.parametrize("num_codes", [64, 1024])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_training_step(race: Any, num_codes: int, compiled: bool) -> None:
    x = torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ours, theirs = models(num_codes)
    with torch.no_grad():
        exact = copy.deepcopy(ours).double()
        expected = (exact.decode(exact.codebook.lookup(ours.encode(x))) - x).square().mean()
    plain = Plain(ours)
    if compiled:
        compile_regions(plain, ("encoder", "decoder"))
        compile_regions(ours, ours.regions)
        compile_regions(theirs, ("encoder.layers", "decoder.layers"))  # its ModelOutput does not survive the compiler
    race(
        "VQ-VAE training step",
        f"{BATCH}x{'x'.join(map(str, SHAPE))}, K = {num_codes}{', compiled' if compiled else ''}",
        {
            "gencore": our_step(ours, x),
            "pythae": pythae_step(theirs, x),
            "vector-quantize-pytorch": plain_step(plain, x),
        },
        error=lambda error: (error.double() - expected).abs(),
        error_unit="abs. of the squared error before the step",
        tests="tests/plugins/vq/parts/test_codebook.py",
    )
