"""The family's networks: an encoder, a decoder, and the map from the decoder's raw output to data.

The raw output u becomes data by `output`:
    linear   x = u
    logit    x = 2 s(u) - 1, s the sigmoid: u is the logit of the brightness (x + 1) / 2
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.errors import GencoreError

Activation = Literal["relu", "leaky-relu", "tanh", "sigmoid"]
CodeActivation = Literal["linear", "relu", "sigmoid"]
Output = Literal["linear", "logit"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Autoencoder(Model):
    """Base of this family's models: a subclass makes `encoder` and `decoder`, and has `data_shape` in its config."""

    regions: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    encoder: nn.Module
    decoder: nn.Module

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> codes (N, code_dim). Raises GencoreError for another shape."""
        check_shape(x, self.config.data_shape)  # type: ignore[attr-defined]
        return self.encoder(x)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, code_dim) -> data (N, *data_shape)."""
        check_shape(z, (self.config.code_dim,))  # type: ignore[attr-defined]
        return to_data(self.raw_output(z), self.config.output)  # type: ignore[attr-defined]

    def raw_output(self, z: Tensor) -> Tensor:
        """Codes (N, code_dim) -> the decoder's u (N, *data_shape): see `output` above."""
        return self.decoder(z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, then generate."""
        return self.generate(self.encode(x))


def to_data(raw: Tensor, output: Output) -> Tensor:
    """The decoder's raw output as data, of the same shape."""
    return raw if output == "linear" else 2 * raw.sigmoid() - 1


def check_shape(x: Tensor, shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless x is floating point (N, *shape)."""
    if tuple(x.shape[1:]) != tuple(shape) or x.ndim != len(shape) + 1 or not x.is_floating_point():
        raise GencoreError(
            f"The model got a tensor {tuple(x.shape)} of {x.dtype}; expected floating point "
            f"(N, {', '.join(map(str, shape))})."
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DenseAutoencoderConfig(ModelConfig):
    """Data of any shape, flattened. `hidden`: the encoder's widths, the decoder's in reverse; () is one layer each.

    `activation` stands between layers, `code_activation` on the code.
    """

    data_shape: tuple[int, ...]
    code_dim: int = 30
    hidden: tuple[int, ...] = (512, 256)
    activation: Activation = "relu"
    code_activation: CodeActivation = "linear"
    output: Output = "linear"

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")
        check(all(width > 0 for width in self.hidden), "hidden", self.hidden, "positive widths, or none")


def layers(widths: tuple[int, ...], activation: Activation) -> list[nn.Module]:
    """Linear layers from widths[0] to widths[-1], the activation between them, none at the end."""
    made: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        made += [nn.Linear(width_in, width_out), ACTIVATIONS[activation]()]
    return made[:-1]


class DenseAutoencoder(Autoencoder):
    """Multi-layer perceptrons that mirror each other."""

    config_class = DenseAutoencoderConfig
    config: DenseAutoencoderConfig

    def __init__(self, config: DenseAutoencoderConfig) -> None:
        super().__init__(config)
        widths = (math.prod(config.data_shape), *config.hidden, config.code_dim)
        on_code = ACTIVATIONS[config.code_activation]()
        self.encoder = nn.Sequential(nn.Flatten(), *layers(widths, config.activation), on_code)
        unflatten = nn.Unflatten(1, config.data_shape)
        self.decoder = nn.Sequential(*layers(widths[::-1], config.activation), unflatten)
