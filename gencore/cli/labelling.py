"""More labelled data: gencore augment makes examples of the classes there are, gencore select says what to label."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencore.cli.codes import open_part
from gencore.cli.options import Model, Seed
from gencore.cli.show import say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from torch import Tensor

    from gencore.data.source import Source
    from gencore.latent.augmenting import Augmented

Pool = Annotated[str, typer.Option(help="As for gencore train; its training part is taken.")]
LONGEST = 60


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (augment, select):
        app.command()(command)


def augment(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder; classes are its sub-folders.")],
    data: Pool = "digits",
    how: Annotated[
        Literal["mix", "near", "sample"] | None,
        typer.Option(help="Between two of a class, around one, or drawn anew; by default what the model can do."),
    ] = None,
    times: Annotated[int, typer.Option(help="New pictures for each one there is.")] = 1,
    amount: Annotated[
        float, typer.Option(help="mix: the largest step towards the other; near: in deviations of the class' codes.")
    ] = 0.5,
    n: Annotated[int | None, typer.Option("-n", "--number", help="Of how many pictures, drawn by --seed; all.")] = None,
    seed: Seed = 0,
) -> None:
    """Make new pictures of the classes that data have. A file's name says what it was made from:
    NUMBER_mix_FIRST_SECOND_t0.31_seed0.png."""
    import gencore
    from gencore.data.images import to_pil
    from gencore.data.parts import at_most
    from gencore.latent.augmenting import augment as augmented
    from gencore.latent.augmenting import default_method
    from gencore_hub.atomic import atomic_write

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise GencoreError(f"--output is {output}, which exists and is not empty; name a new folder.")
    loaded: Any = gencore.from_pretrained(model)
    source = at_most(open_part(loaded, data, "train"), n, seed=seed)
    if len(source.shape) != 3:
        raise GencoreError(f"{source.name} has examples of shape {source.shape}, which are no pictures.")
    method = how or default_method(loaded, source)
    count = 0
    for made in augmented(loaded, source, method, times=times, amount=amount, seed=seed):
        folders, names = _places(source, made, method, count, seed, amount)
        for x, folder, name in zip(made.x.clamp(-1, 1), folders, names, strict=True):
            buffer = io.BytesIO()
            to_pil(x).save(buffer, format="PNG")
            (output / folder).mkdir(parents=True, exist_ok=True)
            atomic_write(output / folder / name, buffer.getvalue())
        count += len(names)
    say(f"Wrote {count} pictures to {output} ({method}).")


def select(
    model: Model,
    data: Pool = "digits",
    n: Annotated[int, typer.Option("-n", "--number", help="How many to label next.")] = 20,
    by: Annotated[
        Literal["k-centre", "margin", "clusters", "random"],
        typer.Option(help="Far from all chosen; where a probe wavers (needs labels); one a cluster; any."),
    ] = "k-centre",
    labelled: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="What was selected before, with labels filled in.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy the labelled files to a new folder, a sub-folder a class.")
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A .csv file; may be that of --labelled, whose rows stay.")
    ] = Path("labels.csv"),
) -> None:
    """Which examples to label next: a CSV with their names and an empty column `label`, to be filled in and given back
    by --labelled."""

    import gencore
    from gencore.data.label_lists import label_list, read_label_list
    from gencore.data.parts import example_names
    from gencore.latent import encode_all
    from gencore_hub.atomic import atomic_write

    if output.suffix.lower() != ".csv":
        raise GencoreError(f"--output is {output}; expected a name that ends in .csv.")
    if output.exists() and (labelled is None or not labelled.exists() or not output.samefile(labelled)):
        raise GencoreError(
            f"{output} exists and may hold labels: give it by --labelled too, or choose another --output."
        )
    loaded: Any = gencore.from_pretrained(model)
    source = open_part(loaded, data, "train", labels=False)
    codes = encode_all(loaded, source)
    names = example_names(source, codes.index)
    rows = {} if labelled is None else read_label_list(labelled, names)
    if into is not None:
        _sort(source, rows, into)
    chosen = _choose(codes.z, names, rows, n, by, seed)
    for place in chosen.tolist():
        rows[names[place]] = {"label": "", "by": by}
    atomic_write(output, label_list(rows))
    say(f"Wrote {len(chosen)} new rows of {len(rows)} to {output}. Fill in the column label.")


def _choose(z: Tensor, names: list[str], rows: dict[str, Any], n: int, by: str, seed: int) -> Tensor:
    """Positions (n,) of examples that are not in `rows`."""
    import torch

    from gencore.latent import select_by_margin, select_cluster_centres, select_k_centre, select_random

    number = {name: place for place, name in enumerate(names)}
    listed = torch.tensor([number[name] for name in rows], dtype=torch.int64)
    free = torch.ones(len(z), dtype=torch.bool)
    free[listed] = False
    pool = free.nonzero()[:, 0]
    if not 1 <= n <= len(pool):
        raise GencoreError(f"-n is {n}; expected 1 to {len(pool)}, the examples that are not listed yet.")
    if by == "k-centre":
        return select_k_centre(z, n, chosen=listed)
    if by == "margin":
        return pool[select_by_margin(_logits(z, number, rows)[pool], n)]
    return pool[
        select_random(len(pool), n, seed=seed) if by == "random" else select_cluster_centres(z[pool], n, seed=seed)
    ]


def _logits(z: Tensor, number: dict[str, int], rows: dict[str, Any]) -> Tensor:
    """Of a linear probe fitted to the labels there are, for all codes z: (N, classes)."""
    import torch

    from gencore.data.label_lists import labelled
    from gencore.evaluation.probe import linear_probe

    known = labelled(rows)
    kinds = sorted(set(known.values()))
    if len(kinds) < 2:
        raise GencoreError(
            f"--by margin needs labels of two classes or more, and has {len(kinds)}: begin with k-centre, fill in its "
            "labels, and give the file by --labelled."
        )
    seen = torch.tensor([number[name] for name in known])
    label = torch.tensor([kinds.index(kind) for kind in known.values()])
    logits: Tensor = linear_probe(z[seen], label)(z)
    return logits


def _sort(source: Source, rows: dict[str, Any], folder: Path) -> None:
    from gencore.data.label_lists import labelled, sort_into_classes
    from gencore.data.sources.folder import ImageFolder

    if not isinstance(source, ImageFolder):
        raise GencoreError(f"--into copies files, and {source.name} has none.")
    known = labelled(rows)
    if not known:
        raise GencoreError(f"--into is {folder}, but nothing has a label yet: give the filled-in list by --labelled.")
    sort_into_classes(source, known, folder)
    say(f"Copied {len(known)} files in {len(set(known.values()))} classes to {folder}.")


def _places(
    source: Source, made: Augmented, method: str, start: int, seed: int, amount: float
) -> tuple[list[str], list[str]]:
    """The folders and the file names of new pictures, numbered from `start`."""
    from gencore.data.parts import example_names
    from gencore.data.source import class_names_of

    batch = source.fetch(made.first)
    parents = [_stem(name) for name in example_names(source, batch["index"])]
    if made.second is not None and made.t is not None:
        others = example_names(source, source.fetch(made.second)["index"])
        pairs = zip(parents, others, made.t.tolist(), strict=True)
        made_of = [f"{one}_{_stem(other)}_t{t:.2f}" for one, other, t in pairs]
    elif method == "near":
        made_of = [f"{one}_s{amount:g}" for one in parents]
    else:
        made_of = [str(start + place) for place in range(len(parents))]
    names = [f"{start + place:06}_{method}_{words}_seed{seed}.png" for place, words in enumerate(made_of)]
    if "label" not in batch:
        return [""] * len(names), names
    classes = class_names_of(source)
    plain = classes and all(PurePosixPath(name).name == name and not name.startswith(".") for name in classes)
    return [classes[k] if plain else str(k) for k in batch["label"].tolist()], names


def _stem(name: str) -> str:
    return PurePosixPath(name).stem[:LONGEST]
