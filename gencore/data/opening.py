"""From the word after --data to a source."""

from __future__ import annotations

import os
import re

from gencore.data.source import Source
from gencore.data.sources.bundled import Split, check_split, digits
from gencore.errors import GencoreError, suggest

NAMES = ("digits", "ring", "gaussian", "mnist")
FORMS = (
    "digits, ring, gaussian, gaussian:MEAN,STD, mnist:DIRECTORY, mnist:hf://datasets/ORG/NAME[@REVISION], "
    "a folder of images, a .npy or a .npz file"
)
_HUB = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^@]+))?")


def open_source(
    spec: str,
    *,
    image_size: int | None = None,
    split: Split = "train",
    skip_corrupt: bool = False,
    channels: int | None = None,
) -> Source:
    """The source that `spec` names, in one of FORMS; a name wins over a path (write ./digits for a folder).

    split: "train", "test" or "all"; folders and array files have no split and are taken whole; ring and gaussian
    draw other examples for "test". channels: for folders 1 or 3, see image_folder; other data must have as many.
    skip_corrupt: folders only.

    Raises GencoreError: unknown name (with the nearest known one), no such path, or what the source itself raises.
    """
    check_split(split)
    source = _open(spec, image_size, split, skip_corrupt, channels)
    if channels is not None and (len(source.shape) != 3 or source.shape[0] != channels):
        raise GencoreError(
            f"{source.name} has examples of shape {source.shape}; expected images with {channels} channels."
        )
    return source


def _open(spec: str, image_size: int | None, split: Split, skip_corrupt: bool, channels: int | None) -> Source:
    name, _, argument = spec.partition(":")
    path = os.path.expanduser(spec)
    is_name = name in NAMES
    if not is_name and os.path.isdir(path):
        from gencore.data.sources.folder import image_folder

        return image_folder(path, image_size, channels, skip_corrupt)
    if skip_corrupt:
        raise GencoreError(f"skip_corrupt is for folders of images; {spec!r} is none. Leave it out.")
    if is_name:
        return _named(name, argument, spec, image_size, split)
    if path.endswith((".npy", ".npz")):
        from gencore.data.sources.arrays import arrays

        return arrays(path, image_size=image_size)
    if os.path.exists(path):
        raise GencoreError(f"{spec!r} is a file of no known kind. Understood: {FORMS}.")
    raise GencoreError(f"no data {spec!r}: no such name, file or folder.{suggest(name, NAMES)} Understood: {FORMS}.")


def _named(name: str, argument: str, spec: str, image_size: int | None, split: Split) -> Source:
    from gencore.data.sources import mnist, synthetic

    if name == "mnist":
        if not argument:
            raise GencoreError(
                "mnist needs to know where its four IDX files are: mnist:DIRECTORY or mnist:hf://datasets/ORG/NAME."
            )
        if not argument.startswith("hf://"):
            return mnist.mnist(argument, split, image_size)
        if not (match := _HUB.fullmatch(argument)):
            raise GencoreError(f"{spec!r} is no Hub data set; expected mnist:hf://datasets/ORG/NAME[@REVISION].")
        return mnist.mnist_from_hub(match[1], split, image_size, revision=match[2])
    if argument and name != "gaussian":
        raise GencoreError(f"{spec!r}: {name} takes nothing after a colon. Write {name}.")
    if name == "digits":
        return digits(split, image_size)
    if image_size is not None:
        raise GencoreError(f"image_size is {image_size}, but {name} has no images. Leave it out.")
    seed = 1 if split == "test" else 0
    if name == "ring":
        return synthetic.ring(seed=seed)
    return synthetic.gaussian(*_mean_and_std(argument, spec), seed=seed)


def _mean_and_std(argument: str, spec: str) -> tuple[float, float]:
    if not argument:
        return 0.0, 1.0
    try:
        mean, std = (float(number) for number in argument.split(","))
    except ValueError as error:
        raise GencoreError(f"{spec!r} is not understood; expected gaussian:MEAN,STD, such as gaussian:3,1.") from error
    return mean, std
