"""Codes of data: gencore embed writes them down, gencore retrieve searches by them."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencore.cli.options import Data, Model, Seed
from gencore.cli.show import say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from torch import Tensor

    from gencore.data.source import Source

Part = Annotated[Literal["train", "test", "all"], typer.Option(help="Which part of the data, where they have parts.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (embed, retrieve):
        app.command()(command)


def embed(
    model: Model,
    data: Annotated[str, typer.Option(help="As for gencore train.")] = "digits",
    part: Part = "test",
    n: Annotated[int | None, typer.Option("-n", "--number", help="The first so many; all by default.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .npy file of codes; names go to a .csv.")] = Path(
        "codes.npy"
    ),
) -> None:
    """Encode data. Row k of the .csv beside the codes says what row k is: number, file, label, name of the class."""
    import numpy as np

    import gencore
    from gencore.data.parts import example_names
    from gencore.data.source import class_names_of
    from gencore.latent import encode_all
    from gencore_hub.atomic import atomic_write

    if output.suffix.lower() != ".npy":
        raise GencoreError(f"--output is {output}; expected a name that ends in .npy.")
    loaded: Any = gencore.from_pretrained(model)
    source = open_part(loaded, data, part)
    codes = encode_all(loaded, source, limit=n)
    names, classes = example_names(source, codes.index), class_names_of(source)
    labels = [""] * len(names) if codes.label is None else codes.label.tolist()
    rows = [
        (i, name, label, classes[label] if classes and label != "" else "")
        for i, name, label in zip(codes.index.tolist(), names, labels, strict=True)
    ]
    buffer = io.BytesIO()
    np.save(buffer, codes.z.numpy(), allow_pickle=False)
    atomic_write(output, buffer.getvalue())
    atomic_write(output.with_suffix(".csv"), table(("index", "file_name", "label", "class"), rows))
    say(f"Wrote {len(names)} codes of {codes.z.shape[1]} numbers to {output}, names to {output.stem}.csv.")


def retrieve(
    model: Model,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="An image file.")],
    data: Data = "digits",
    k: Annotated[int, typer.Option("-k", help="How many.")] = 8,
    metric: Annotated[Literal["euclidean", "cosine"], typer.Option(help="The distance of codes.")] = "euclidean",
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png grid.")] = Path("nearest.png"),
) -> None:
    """Search data for what is nearest to a picture. Rows of the grid: by the model's codes, by those of random weights,
    by raw pixels; the picture itself stands first in each."""
    import torch

    import gencore
    from gencore.data.images import read_image, save_grid
    from gencore.data.parts import example_names
    from gencore.evaluation.beside import with_baselines

    if output.suffix.lower() != ".png":
        raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
    loaded: Any = gencore.from_pretrained(model)
    shape = tuple(loaded.config.data_shape)
    if len(shape) != 3:
        raise GencoreError(f"{model} takes data of shape {shape}, which are no pictures.")
    x = read_image(picture, shape[0], shape[1:])
    source = without_file(open_part(loaded, data, "test"), picture)
    rows = []
    for name, encoder in with_baselines(loaded, seed=seed):
        found, gaps, labels = _nearest(encoder, x, source, k, metric)
        batch = source.fetch(found)
        rows += [x[None], batch["x"]]
        if name == "trained":
            names = example_names(source, batch["index"])
            for place, (file, gap, label) in enumerate(zip(names, gaps.tolist(), labels, strict=True), 1):
                say(f"{place:3} {file}{label} at {gap:.4g}")
    save_grid(torch.cat(rows).clamp(-1, 1), output, columns=k + 1)
    say(f"Wrote the {k} nearest of {len(source)} to {output}: by codes, by random weights, by raw pixels.")


def _nearest(encoder: Any, x: Tensor, source: Source, k: int, metric: Any) -> tuple[Tensor, Tensor, list[str]]:
    """Positions (k,), distances (k,) and what the labels are, of the nearest to one picture x (C, H, W)."""
    from gencore.data.source import class_names_of
    from gencore.evaluation.retrieval import nearest
    from gencore.latent import encode_all

    codes, names = encode_all(encoder, source), class_names_of(source)
    found, gaps = nearest(encode_all(encoder, x[None]).z, codes.z, k, metric=metric)
    labels = [] if codes.label is None else codes.label[found[0]].tolist()
    words = [f" ({names[label] if names else label})" for label in labels] or [""] * k
    return found[0], gaps[0], words


def open_part(model: Any, data: str, part: Any, *, labels: bool = True) -> Source:
    """A part of `data`, of the size and the channels that the model takes, with its labels or without."""
    from gencore.data import open_source

    return open_source(data, split=part, condition=None if labels else "none", **sizes_of(model))


def sizes_of(model: Any) -> dict[str, Any]:
    """The keywords of open_source for a model's pictures; none for other data."""
    shape = model.config.data_shape
    return {"image_size": shape[-1], "channels": shape[0]} if len(shape) == 3 else {}


def without_file(source: Source, file: Path) -> Source:
    """The source without that file, which may lie in its folder."""
    from gencore.data.sources.folder import ImageFolder

    if not isinstance(source, ImageFolder) or not file.exists():
        return source
    kept = [place for place, path in enumerate(source.paths) if not os.path.samefile(path, file)]
    return source if len(kept) == len(source) else source.chosen(kept)


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> bytes:
    """A CSV file in UTF-8, with a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
