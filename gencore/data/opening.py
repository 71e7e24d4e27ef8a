"""From the word after --data to a source."""

from __future__ import annotations

import dataclasses
import importlib
import os
from typing import Any

from gencore.data.images import resize_images
from gencore.data.names import FORMS, plain_names, understood
from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions, Split
from gencore.data.ranges import DataRange, check_range
from gencore.data.source import Source
from gencore.data.sources.memory import InMemory
from gencore.data.views import resized, unlabelled
from gencore.data.views_of_two import unpaired
from gencore.errors import GencoreError, PluginError, suggest


def open_source(
    spec: str,
    *,
    image_size: int | None = None,
    split: Split = "train",
    skip_corrupt: bool = False,
    channels: int | None = None,
    data_range: DataRange | None = None,
    condition: str | None = None,
    second: str | None = None,
    cache: str | None = None,
) -> Source:
    """The source that `spec` names: a name or form of list_data(), a folder of images, a .txt, .npy, .npz or .hdf5
    file.

    A name wins over a path (write ./digits for a folder).

    image_size: the side of square images, to which the data are resized.
    split: "train", "test" or "all"; folders and array files have no split and are taken whole; ring and gaussian
    draw other examples for "test".
    skip_corrupt: leave out files that cannot be read; for folders.
    channels: for folders 1 or 3, see image_folder; other data must have as many.
    data_range: the (low, high) that the stored numbers run through, where their type does not say it.
    condition: a column of the folder's metadata, or of a Hub data set (see image_folder), or "none": without labels.
    cache: for folders of images, a directory where the decoded pixels are kept in one file.
    second: another such word, whose data stand beside the first's, unpaired: x_b, label_b, index_b.

    Raises GencoreError: unknown name (with the nearest known one), no such path, an option that these data cannot
    take, or what the source itself raises.
    """
    check_range(data_range)
    options = OpenOptions(
        image_size=image_size,
        split=split,
        skip_corrupt=skip_corrupt,
        channels=channels,
        data_range=data_range,
        condition=condition,
        cache=cache,
    )
    source = _open_checked(spec, options)
    return source if second is None else unpaired(source, _open_checked(second, options))


def _open_checked(spec: str, options: OpenOptions) -> Source:
    source = _open(spec, options)
    if not options.labels and source.num_classes is not None:
        source = unlabelled(source)
    channels = options.channels
    if channels is not None and (len(source.shape) != 3 or source.shape[0] != channels):
        raise GencoreError(
            f"{source.name} has examples of shape {source.shape}; expected images with {channels} channels."
        )
    return source


def _open(spec: str, options: OpenOptions) -> Source:
    name, colon, argument = spec.partition(":")
    if colon and name in FORMS:
        if name not in ("paired", "unpaired"):
            refuse(options, spec, "cache")
        return _call(FORMS[name].opens, argument, options)
    names = plain_names()
    if name in names:
        if colon:
            raise GencoreError(f"{shorten(spec)}: {name} takes nothing after a colon. Write {name}.")
        refuse(options, spec, "skip_corrupt", "data_range", "column", "cache")
        return sized(_call(names[name].opens, split=options.split), options.image_size, name)
    if name in FORMS:
        raise GencoreError(f"{name} needs to know where its data are: {FORMS[name].usage} ({FORMS[name].summary}).")
    return _open_path(spec, options, [*names, *FORMS])


def _open_path(spec: str, options: OpenOptions, names: list[str]) -> Source:
    path = os.path.expanduser(spec)
    if os.path.isdir(path):
        from gencore.data.sources.folder import image_folder

        folder = image_folder(
            path,
            options.image_size,
            options.channels,
            options.skip_corrupt,
            data_range=options.data_range,
            labels=options.labels,
            condition=options.column,
        )
        return folder if options.cache is None else folder.decoded_in(options.cache)
    refuse(options, spec, "cache")
    if path.endswith(".txt"):
        from gencore.data.sources.text import open_text

        return open_text(path, options)
    if path.endswith((".npy", ".npz")):
        from gencore.data.sources.arrays import arrays

        refuse(options, spec, "skip_corrupt", "column")
        return arrays(path, image_size=options.image_size, data_range=options.data_range)
    if path.endswith((".hdf5", ".h5")):
        from gencore.data.sources.hdf5 import open_hdf5

        return open_hdf5(path, options)
    if os.path.exists(path):
        raise GencoreError(f"{shorten(spec)} is a file of unknown type. Understood: {understood()}.")
    raise GencoreError(
        f"no data {shorten(spec)}: no such name, file or folder.{suggest(spec.partition(':')[0], names)} Understood: "
        f"{understood()}."
    )


def sized(source: Source, image_size: int | None, spec: str) -> Source:
    """The source with square images of that side; at once where it is held in memory. Raises GencoreError."""
    if image_size is None or (len(source.shape) == 3 and source.shape[1:] == (image_size, image_size)):
        return source
    if len(source.shape) != 3:
        raise GencoreError(f"image_size is {image_size}, but {spec} has no images. Leave it out.")
    if isinstance(source, InMemory) and not source.further:
        return dataclasses.replace(source, x=resize_images(source.x, image_size))
    return resized(source, image_size)


def _call(target: str, *arguments: Any, **options: Any) -> Any:
    """The function "module:name", imported on first use, called. Raises PluginError where it cannot be imported."""
    module, _, name = target.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{target}, which opens these data, cannot be imported: {error}.") from error
    return function(*arguments, **options)
