"""MNIST, and data sets in its form (Fashion-MNIST, KMNIST): the four original IDX files, in a folder or on the Hub.

Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits. Nothing is shipped with the package.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch

from gencore.data.images import resize_images
from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions, Split, check_split
from gencore.data.ranges import DataRange, check_peak, check_range, check_within, rescale
from gencore.data.source import check_labels
from gencore.data.sources.idx import read_idx
from gencore.data.sources.memory import InMemory
from gencore.errors import GencoreError

STEMS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
HUB = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^@]+))?")
FOLDERS = (".", "raw", "MNIST/raw")


def mnist(
    directory: str | os.PathLike[str],
    split: Split = "train",
    image_size: int | None = None,
    *,
    data_range: DataRange | None = None,
) -> InMemory:
    """The images and labels of the files in `directory` (or its raw or MNIST/raw), of shape (1, H, W), 10 classes.

    The files: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, with
    .gz or without, with ".idx" for "-idx" or not. "all" is train, then test. With image_size the images are resized
    once, in 8 bits (0.25 s for 60,000). data_range: the (low, high) of the pixels; None is 0 to 255, which is refused
    for nearly black images.

    Raises GencoreError: missing, truncated or mismatched files, labels beyond 9.
    """
    check_split(split)
    check_range(data_range)
    root = Path(os.path.expanduser(directory))
    parts = [_read_part(root, part) for part in STEMS if split in (part, "all")]
    if len({images.shape[1:] for images, _ in parts}) > 1:
        raise GencoreError(f"in {root}, training and test images differ in size: {[i.shape[1:] for i, _ in parts]}.")
    x = torch.from_numpy(np.concatenate([images for images, _ in parts]))[:, None]
    label = torch.from_numpy(np.concatenate([labels for _, labels in parts])).long()
    check_labels(label, 10, str(root))
    if data_range is None:
        check_peak(int(x.max()), 255, f"the images in {root}")
    else:
        check_within((int(x.min()), int(x.max())), data_range, f"the images in {root}")
        x = rescale(x, data_range)
    if image_size is not None:
        x = resize_images(x, image_size)
    return InMemory(x=x, label=label, num_classes=10, name=f"MNIST files in {root} ({split})")


def mnist_from_hub(
    repo_id: str,
    split: Split = "train",
    image_size: int | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    data_range: DataRange | None = None,
) -> InMemory:
    """As `mnist`, from a Hub data set that holds the IDX files (Parquet copies are not read: that takes pyarrow).

    The keywords are huggingface_hub's own; HF_HUB_OFFLINE=1 uses the cache alone. Raises GencoreError where the
    repository cannot be had, or lacks the files.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id,
            repo_type="dataset",
            revision=revision,
            token=token,
            cache_dir=None if cache_dir is None else Path(cache_dir),
            local_files_only=local_files_only,
            allow_patterns=["*idx1-ubyte*", "*idx3-ubyte*"],
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise GencoreError(f"the Hub data set {repo_id!r} cannot be had: {error}") from error
    return mnist(folder, split, image_size, data_range=data_range)


def open_mnist(argument: str, options: OpenOptions) -> InMemory:
    """mnist:DIRECTORY or mnist:hf://datasets/ORG/NAME[@REVISION]. Raises as those two do."""
    spec = f"mnist:{argument}"
    refuse(options, spec, "skip_corrupt", "column")
    if not argument:
        raise GencoreError(
            "mnist needs to know where its four IDX files are: mnist:DIRECTORY or mnist:hf://datasets/ORG/NAME."
        )
    if not argument.startswith("hf://"):
        return mnist(argument, options.split, options.image_size, data_range=options.data_range)
    if not (match := HUB.fullmatch(argument)):
        raise GencoreError(f"{shorten(spec)} is no Hub data set; expected mnist:hf://datasets/ORG/NAME[@REVISION].")
    return mnist_from_hub(match[1], options.split, options.image_size, revision=match[2], data_range=options.data_range)


def _read_part(root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images_stem, labels_stem = STEMS[part]
    images, labels = read_idx(_find(root, images_stem), 3), read_idx(_find(root, labels_stem), 1)
    if len(images) != len(labels):
        raise GencoreError(f"in {root}, {images_stem} has {len(images)} images and {labels_stem} {len(labels)} labels.")
    return images, labels


def _find(root: Path, stem: str) -> Path:
    for folder in FOLDERS:
        for name in (stem, stem.replace("-idx", ".idx")):
            for suffix in ("", ".gz"):
                if (path := root / folder / (name + suffix)).is_file():
                    return path
    raise GencoreError(
        f"{root} {'lacks ' + stem if root.is_dir() else 'is no folder'}. MNIST is four files, plain or with .gz: "
        f"{', '.join(name for names in STEMS.values() for name in names)}."
    )
