"""Contractive autoencoder (Rifai, Vincent, Muller, Glorot & Bengio 2011, "Contractive auto-encoders: explicit
invariance during feature extraction", ICML).

    E ||x - g(f(x))||^2 + lambda E ||df / dx||_F^2                                        (equation 3)
    one sigmoid layer:  ||J||_F^2 = sum_j (h_j (1 - h_j))^2 sum_i W_ji^2                  (equation 4)
    deeper encoders:    ||J||_F^2 = E_v ||J^T v||^2, v ~ N(0, I)                          (Hutchinson 1990)
The decoder's weights are the encoder's, transposed: a free decoder would scale up whatever the encoder scales down.

Deviations: squared error and a linear output where the paper has cross-entropy and a sigmoid.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, ModelConfig, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_ae.parts.networks import Autoencoder, Output, layers
from gencore_ae.parts.penalties import estimated_jacobian, sigmoid_layer_jacobian
from gencore_ae.parts.reconstruction import Reconstruction, cosine, one_phase

SYSTEM = SystemSpec(
    name="contractive-autoencoder",
    summary="Penalises the encoder's Jacobian; tied weights",
    paper=Paper(
        title="Contractive Auto-Encoders: Explicit Invariance During Feature Extraction",
        authors="Rifai et al.",
        year=2011,
    ),
    model="ContractiveAutoencoder",
    recipe="contractive_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 16, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContractiveAutoencoderConfig(ModelConfig):
    """Data of any shape, flattened; sigmoid after every layer of the encoder. `hidden` () is one layer."""

    data_shape: tuple[int, ...]
    code_dim: int = 64
    hidden: tuple[int, ...] = ()
    output: Output = "linear"

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")
        check(all(width > 0 for width in self.hidden), "hidden", self.hidden, "positive widths, or none")


class ContractiveAutoencoder(Autoencoder):
    """Sigmoid layers, and the same weights transposed on the way back."""

    config_class = ContractiveAutoencoderConfig
    config: ContractiveAutoencoderConfig
    regions: ClassVar[tuple[str, ...]] = ("encoder",)

    def __init__(self, config: ContractiveAutoencoderConfig) -> None:
        super().__init__(config)
        widths = (math.prod(config.data_shape), *config.hidden, config.code_dim)
        self.encoder = nn.Sequential(nn.Flatten(), *layers(widths, "sigmoid"), nn.Sigmoid())
        self.decoder: nn.ParameterList = nn.ParameterList(torch.zeros(width) for width in widths[-2::-1])
        """The biases on the way back."""

    @property
    def linear_layers(self) -> list[nn.Linear]:
        """The encoder's, from data to code."""
        return [layer for layer in self.encoder.children() if isinstance(layer, nn.Linear)]

    def raw_output(self, z: Tensor) -> Tensor:
        """Codes (N, code_dim) -> (N, *data_shape)."""
        for depth, (layer, bias) in enumerate(zip(reversed(self.linear_layers), self.decoder, strict=True)):
            z = F.linear(z.sigmoid() if depth else z, rearrange(layer.weight, "o i -> i o"), bias)
        return z.unflatten(1, self.config.data_shape)


class Contraction:
    """weight * E ||df / dx||_F^2, exact for one sigmoid layer, or estimated.

    Logs `jacobian`: mean squared norm of df / dx; lower is better, as far as the reconstruction allows.
    """

    def __init__(self, weight: float, *, jacobian: Literal["closed-form", "hutchinson"], probes: int) -> None:
        check(weight >= 0, "weight", weight, "0 or more")
        check(probes >= 1, "probes", probes, "at least 1")
        check(jacobian in ("closed-form", "hutchinson"), "jacobian", jacobian, '"closed-form" or "hutchinson"')
        self.weight, self.jacobian, self.probes = weight, jacobian, probes

    def __call__(self, model: Any, x: Tensor, code: Tensor) -> Loss:
        """A `Penalty`."""
        if self.jacobian == "closed-form":
            norm = sigmoid_layer_jacobian(code, model.linear_layers[0].weight).mean()
        else:
            norm = estimated_jacobian(model.encode, x, self.probes).mean()
        return Loss(self.weight * norm, {"jacobian": norm})


def contractive_autoencoder(
    *,
    config: ContractiveAutoencoderConfig = ContractiveAutoencoderConfig(data_shape=(1, 8, 8)),
    steps: int = 3000,
    batch_size: int = 128,
    weight: float = 1.0,
    jacobian: Literal["closed-form", "hutchinson"] = "closed-form",
    probes: int = 1,
    learning_rate: float = 1e-2,
) -> Recipe:
    """`weight` is lambda. `hidden` needs jacobian="hutchinson"."""
    check(
        not config.hidden or jacobian == "hutchinson",
        "jacobian",
        jacobian,
        '"hutchinson" where there are hidden layers',
    )
    objective = Reconstruction(
        penalties=(Contraction(weight, jacobian=jacobian, probes=probes),),
        double_backward=("encoder",) if jacobian == "hutchinson" else (),
    )
    return Recipe(
        name="contractive-autoencoder",
        model=ContractiveAutoencoder,
        config=config,
        stages=one_phase(objective, Adam(learning_rate=learning_rate), steps=steps, schedule=cosine(steps)),
        batch_size=batch_size,
    )
