"""The commands of the latent space: `gencore walk` and `gencore map`. Each writes a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gencore.cli.options import Data, Model, Seed, refuse
from gencore.cli.show import say
from gencore.errors import GencoreError
from gencore.paths import user_path


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("walk")(walk)
    app.command("map")(map_command)


def walk(
    context: typer.Context,
    model: Model,
    data: Data = "digits",
    rows: Annotated[int, typer.Option(help="How many walks; each is a row.")] = 8,
    steps: Annotated[int, typer.Option(help="Pictures a walk, its ends included.")] = 9,
    path: Annotated[Literal["lerp", "slerp"], typer.Option(help="Straight, or along the sphere.")] = "lerp",
    plane: Annotated[bool, typer.Option("--plane", help="Instead, the whole plane of a 2-D code.")] = False,
    along: Annotated[
        list[int] | None, typer.Option(help="Instead, this number of one code from -2 to 2; repeatable, a row each.")
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(help="Instead of random ones, codes of gencore invert: from each to the next.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Instead, one code under each of these classes; where the model takes none, from "
            "pictures of class A to pictures of class B.",
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The class to generate, by name or number; else in turn.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="What to generate: a class, a sentence, or a picture to translate.")
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A .png grid, or a .gif that walks there and back.")
    ] = Path("walk.png"),
) -> None:
    """Walk through a model's codes: between test images, or between random codes where it has no encoder."""
    import gencore
    from gencore.cli.apply import asked_condition
    from gencore.latent import code_plane, traverse
    from gencore.latent import walk as walk_between

    _check_suffix(output, ".png", ".gif")
    others = {"--along": along, "--codes": codes, "--label": label, "--condition": condition}
    _check_alone("--plane", plane, others)
    _check_alone("--classes", classes, {"--plane": plane, **others})
    for name, value in (("--rows", rows), ("--steps", steps)):
        if value < 2:
            raise GencoreError(f"{name} is {value}; expected at least 2.")
    loaded: Any = gencore.from_pretrained(model)
    told = asked_condition(loaded, model, label, condition)
    if plane:
        refuse(context, "--plane", "rows", "path", "seed")
        pictures = code_plane(loaded, _codes(loaded, data, None).z, side=steps)
    elif classes and loaded.condition is not None:
        refuse(context, "--classes", "steps", "path", "data")
        pictures = _under_classes(loaded, classes.split(","), rows, seed)
    elif along:
        refuse(context, "--along", "rows", "path")
        first = _read_codes(codes, loaded, 1)[0] if codes else _ends(loaded, data, 2, seed)[0]
        pictures = traverse(loaded, first, dims=tuple(along), steps=steps, condition=loaded.check_condition(told, 1))
    else:
        if classes:
            start, end = _of_classes(loaded, data, classes.split(","), rows, seed)
        elif codes:
            refuse(context, "--codes", "rows", "data", "seed")
            ends = _read_codes(codes, loaded, 2)
            start, end = ends[:-1], ends[1:]
        else:
            start, end = _ends(loaded, data, 2 * rows, seed).chunk(2)
        under = loaded.check_condition(told, len(start))
        pictures = walk_between(loaded, start, end, steps=steps, path=path, condition=under)
    if pictures.ndim != 5:
        raise GencoreError(f"{model} generates data of shape {tuple(pictures.shape[2:])}, which are no images.")
    _write_walks(pictures.clamp(-1, 1), output)
    say(f"Wrote {pictures.shape[0]} rows of {pictures.shape[1]} to {output}.")


def _check_alone(option: str, value: Any, others: dict[str, Any]) -> None:
    """Raise GencoreError where an option is given beside one that it leaves no place for."""
    beside = [name for name, other in others.items() if other]
    if value and beside:
        raise GencoreError(f"{option} is given beside {', '.join(beside)}; expected one of them.")


def _under_classes(model: Any, names: list[str], rows: int, seed: int) -> Any:
    """A row each: one code of the prior under each class."""
    import torch

    from gencore import Noise
    from gencore.conditions import ClassLabel
    from gencore.latent import under_each

    kind = model.named_condition
    if not isinstance(kind, ClassLabel):
        raise GencoreError(f"--classes is given, but the model is conditioned on {type(kind).__name__}.")
    return under_each(model, model.draw_prior(Noise(seed, 0, rows)), torch.tensor([kind.parse(n) for n in names]))


def _of_classes(model: Any, data: str, names: list[str], rows: int, seed: int) -> Any:
    """The codes of `rows` test pictures of the first class and of the second, drawn from `seed`."""
    from gencore.cli.apply import open_for
    from gencore.conditions import ClassLabel
    from gencore.data.source import class_names_of
    from gencore.latent import select_random

    source, codes = open_for(model, data), _codes(model, data, None)
    if codes.label is None or len(names) != 2:
        raise GencoreError(
            f"--classes is {','.join(names)}, with data {'with' if codes.label is not None else 'without'} labels; "
            "expected two classes of labelled data, since the model takes no class."
        )
    kind = ClassLabel(count=source.num_classes, names=tuple(class_names_of(source)))
    found = [codes.z[codes.label == kind.parse(name)] for name in names]
    few = min(rows, *map(len, found))
    if few < 1:
        raise GencoreError(f"{source.name} holds no picture of one of the classes {' and '.join(names)}.")
    return [z[select_random(len(z), few, seed=seed)] for z in found]


def map_command(
    model: Model,
    data: Data = "digits",
    method: Annotated[
        Literal["code", "pca", "tsne", "umap"], typer.Option(help="code: a 2-D code as it is; tsne, umap: extra eval.")
    ] = "pca",
    n: Annotated[int, typer.Option("-n", "--number", help="How many examples at most.")] = 2000,
    pictures: Annotated[bool, typer.Option("--pictures", help="The pictures themselves in place of dots.")] = False,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png picture.")] = Path("map.png"),
) -> None:
    """Encode the test data and draw the codes in the plane, coloured by class."""
    import io

    import gencore
    from gencore.cli.apply import open_for
    from gencore.latent import latent_map, scatter, thumbnails
    from gencore_hub.atomic import atomic_write

    _check_suffix(output, ".png")
    loaded = gencore.from_pretrained(model)
    codes = _codes(loaded, data, n)
    places = latent_map(codes.z, method=method, seed=seed)
    if pictures:
        drawn = thumbnails(places, open_for(loaded, data).fetch(codes.index)["x"])
    else:
        drawn = scatter(places, codes.label)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    atomic_write(output, buffer.getvalue())
    say(f"Wrote {len(codes.z)} codes to {output}.")


def _codes(model: Any, data: str, limit: int | None) -> Any:
    """The codes of the test part of `data`, resized to the model's images."""
    from gencore.cli.apply import open_for
    from gencore.latent import encode_all

    if not hasattr(model, "encode"):
        raise GencoreError(f"{type(model).__name__} has no encoder, so data have no codes in it.")
    return encode_all(model, open_for(model, data), limit=limit)


def _write_walks(pictures: Any, output: Path) -> None:
    """Walks (N, steps, C, H, W) in [-1, 1]: a row each, or all at once, moving."""
    from gencore.data.animation import there_and_back
    from gencore.data.images import save_grid
    from gencore_hub.atomic import atomic_write

    if output.suffix.lower() == ".gif":
        atomic_write(output, there_and_back(pictures))
    else:
        save_grid(pictures.flatten(0, 1), output, columns=pictures.shape[1])


def _ends(model: Any, data: str, count: int, seed: int) -> Any:
    """Codes (count, D) to walk between: of data, or of the prior where there is no encoder, or one that reads only a
    part of the code."""
    from gencore import Noise
    from gencore.latent import select_random
    from gencore.latent.codes import encodes_all

    if model.condition is None and encodes_all(model):
        z = _codes(model, data, None).z
        return z[select_random(len(z), min(count, len(z)) // 2 * 2, seed=seed)]
    return model.draw_prior(Noise(seed, 0, count))


def _read_codes(file: Path, model: Any, least: int) -> Any:
    """The codes (N, D) of a .npy file. Raises GencoreError for fewer than `least`, and for others than the model's."""
    import numpy as np
    import torch

    from gencore.data.regular import open_regular
    from gencore.latent.walks import check_codes
    from gencore.noise import Noise

    try:
        with open_regular(user_path(file)) as opened:
            codes = torch.from_numpy(np.load(opened, allow_pickle=False)).float()
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise GencoreError(f"--codes {file} cannot be read as a .npy file of codes: {error}.") from error
    check_codes(codes)
    if len(codes) < least:
        raise GencoreError(f"--codes {file} holds {len(codes)}; expected {least} codes or more.")
    try:
        size = model.draw_prior(Noise(0, 0, 1)).flatten(1).shape[1]
    except GencoreError:  # an autoencoder says no size: its generator does, where they do not fit
        return codes
    if codes.shape[1] != size:
        raise GencoreError(f"The codes of --codes {file} have {codes.shape[1]} numbers; the model's have {size}.")
    return codes


def _check_suffix(output: Path, *allowed: str) -> None:
    if output.suffix.lower() not in allowed:
        raise GencoreError(f"--output is {output}; expected a name that ends in {' or '.join(allowed)}.")
