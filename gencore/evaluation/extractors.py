"""What a picture is to a metric: the network whose features are compared, and how pictures are made ready for it.

Features of different extractors, resize filters or roundings do not compare, so an `Extractor` carries all of them,
with the sha256 of its weights. The bundled one is small and knows digits and a few pictures (tools/train_extractor.py);
`inception` takes the weights of FID (Heusel et al. 2017, arXiv:1706.08500) from a file; `from_module` takes any module.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gencore.data.images import from_uint8, resize_images, to_uint8
from gencore.errors import GencoreError
from gencore.paths import user_path

SIZE, WIDTH, KINDS = 32, 64, 15
FID_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the 2015 Inception's weights as torch-fidelity and pytorch-fid publish them."""
BICUBIC = "bicubic, antialiased, of the central square"
MOST_NUMBERS = 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extractor:
    """`extract`: pictures made ready -> features (N, D). The other fields go into every figure's provenance.

    `size`: the side to which pictures are resized before, None for as they are. `channels`: 3 repeats grey ones; None
    takes both. `rounded`: whether they go through 8 bits, as a file would have them. `uint8`: whether `extract` takes
    those. `resize` names the filter.
    """

    name: str
    sha256: str
    extract: Callable[[Tensor], Tensor]
    size: int | None = None
    channels: int | None = 3
    rounded: bool = True
    uint8: bool = False
    resize: str = "none"
    is_fid: bool = False

    def features(self, x: Tensor, *, batch_size: int = 250) -> Tensor:
        """Examples (N, *shape), pictures in [-1, 1] -> features (N, D) float32 on the CPU.

        Raises GencoreError for what is no picture where the extractor takes pictures, and where `extract` gives
        something else than (N, D).
        """
        with torch.no_grad():
            found = torch.cat([self.extract(self._ready(part)).float().cpu() for part in x.split(batch_size)])
        if found.ndim != 2 or len(found) != len(x):
            raise GencoreError(f"{self.name} gave features {tuple(found.shape)} of {len(x)} examples; expected (N, D).")
        return found

    def _ready(self, x: Tensor) -> Tensor:
        if self.rounded:
            x = to_uint8(x.clamp(-1, 1))
            x = x if self.uint8 else from_uint8(x)
        if self.size is not None:
            x = resize_images(x, self.size)
        return x.expand(-1, 3, -1, -1) if self.channels == 3 and x.shape[1] == 1 else x


class SmallNetwork(nn.Module):
    """Pictures (N, 3, 32, 32) in [-1, 1] -> features (N, 64), standardised over what it was trained on.

    Trained to tell digits and kinds of pictures apart, their quarter turn, and how much they were blurred and noised.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(256, WIDTH), nn.ReLU())
        self.kind = nn.Linear(WIDTH, KINDS)
        self.turn = nn.Linear(WIDTH, 4)
        self.damage = nn.Linear(WIDTH, 2)
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("scale", torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return (self.trunk(x) - self.mean) / self.scale


def bundled() -> Extractor:
    """The extractor that comes with gencore: 64 features of pictures at 32 x 32."""
    from safetensors.torch import load

    content = resources.files("gencore.evaluation").joinpath("extractor.safetensors").read_bytes()
    with torch.random.fork_rng(devices=[]):
        network = SmallNetwork()
    network.load_state_dict({name: value.float() for name, value in load(content).items()})
    return Extractor(
        name="gencore small network",
        sha256=hashlib.sha256(content).hexdigest(),
        extract=network.eval().requires_grad_(False),
        size=SIZE,
        resize=BICUBIC,
    )


def numbers() -> Extractor:
    """The data's own numbers as features, for points and other short vectors; nothing is rounded."""

    def flat(x: Tensor) -> Tensor:
        if x[0].numel() > MOST_NUMBERS:
            raise GencoreError(
                f"an example has {x[0].numel()} numbers; expected at most {MOST_NUMBERS} where they are their own "
                "features. Take an extractor."
            )
        return x.flatten(1)

    return Extractor(name="the numbers themselves", sha256="none", extract=flat, channels=None, rounded=False)


def from_module(
    module: nn.Module, *, name: str, size: int | None = None, channels: int | None = 3, rounded: bool = True
) -> Extractor:
    """Any module that maps pictures (N, C, H, W) in [-1, 1] to (N, D), such as one of timm, in evaluation mode.

    It is used as it stands: whatever normalisation it wants must be part of it. See `Extractor` for the rest.
    """
    module.eval()
    place = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    return Extractor(
        name=name,
        sha256=weights_digest(module),
        extract=lambda x: module(x.to(place)),
        size=size,
        channels=channels,
        rounded=rounded,
        resize="none" if size is None else BICUBIC,
    )


def inception(path: str | Path) -> Extractor:
    """FID's own: pool3 features (N, 2048) of the Inception of 2015, in torch-fidelity's copy of TensorFlow's graph.

    `path`: the file of weights, known by its sha256. Raises GencoreError for another file, or without torch-fidelity.
    """
    file = user_path(path)
    if not file.is_file():
        raise GencoreError(f"--extractor inception: there is no file {file}; expected FID's Inception weights.")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != FID_SHA256:
        raise GencoreError(
            f"{file} has the sha256 {found}; expected {FID_SHA256}, the Inception weights that FID is defined by "
            "(weights-inception-2015-12-05-6726825d.pth of torch-fidelity). With others the figure would be no FID."
        )
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise GencoreError("FID needs torch-fidelity, which is not installed. Run: pip install gencore[fid]") from error
    except RuntimeError as error:
        raise GencoreError(
            f"FID needs torch-fidelity, which cannot be imported: {error}. Its torchvision must be built for the torch "
            "that is installed: take both from one index."
        ) from error
    network: Any = FeatureExtractorInceptionV3("inception", ["2048"], io.BytesIO(content))
    return Extractor(
        name="Inception of 2015, pool3",
        sha256=found,
        extract=lambda x: network(x)[0],
        uint8=True,
        resize="bilinear to 299 as TensorFlow 1 has it, not antialiased",
        is_fid=True,
    )


def open_extractor(word: str) -> Extractor:
    """bundled, numbers, or inception:PATH, as the command line has it. Raises GencoreError for other words."""
    kind, _, path = word.partition(":")
    if word == "bundled":
        return bundled()
    if word == "numbers":
        return numbers()
    if kind == "inception" and path:
        return inception(path)
    raise GencoreError(f"--extractor is {word!r}; expected bundled, numbers, or inception:PATH.")


def weights_digest(module: nn.Module) -> str:
    """sha256 of a module's parameters and buffers with their names, in their order."""
    hashed = hashlib.sha256()
    for name, value in module.state_dict().items():
        hashed.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        hashed.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()
