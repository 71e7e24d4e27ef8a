"""gencore translate: pictures of any size and mode through a trained translator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencore.cli.options import Model, Quiet
from gencore.cli.show import say, shown
from gencore.conditions import Image
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from gencore.data.whole import Whole

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(translate)


def translate(
    model: Model,
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A picture, or a folder of pictures.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png file for a picture, a folder for a folder.")],
    to: Annotated[str | None, typer.Option(help="Where the model has several directions: into which.")] = None,
    direction: Annotated[
        Literal["a-to-b", "b-to-a"] | None, typer.Option(help="The same in other words: a-to-b is --to b.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Pixels of a side that are translated at a time; 0 for all.")] = 512,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels read beyond a tile; by default all that the model sees, which is exact."),
    ] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave pictures that are there.")] = False,
    targets: Annotated[Path | None, typer.Option(help="A folder of true pictures, by name: PSNR and SSIM.")] = None,
    space: Annotated[Literal["y", "rgb"], typer.Option(help="What these are measured on.")] = "y",
    border: Annotated[int | None, typer.Option(help="Pixels cut off before; by default the scale.")] = None,
    quiet: Quiet = False,
) -> None:
    """Translate pictures with a trained model: transparency, 16 bits, orientation and colour profile are kept."""
    import gencore
    from gencore.translating import Translator, score

    loaded: Any = gencore.from_pretrained(model)
    if not hasattr(loaded, "translate"):
        raise GencoreError(f"{model} cannot translate: {type(loaded).__name__} has no such trait.")
    for name, value in (("tile", tile), ("overlap", overlap), ("border", border)):
        if value is not None and value < 0:
            raise GencoreError(f"--{name} is {value}; expected 0 or more.")
    if direction is not None:
        if to is not None:
            raise GencoreError(f"--to is {to} and --direction {direction}; expected one of the two.")
        to = direction[-1]
    work = planned(source, output, skip_existing)
    truths = {} if targets is None else _truths(targets, [made.stem for _, made in work])
    worker = Translator(loaded, to=to, tile=tile, overlap=overlap, channels=channels_of(loaded, model))
    scores = []
    with _progress(quiet) as progress:
        task = progress.add_task("translating", total=len(work))
        for file, made in work:
            picture, scale = worker(file)
            _write(picture, made)
            if targets is not None:
                scores.append(
                    (made.stem, *score(picture, truths[made.stem], space, scale if border is None else border))
                )
            progress.advance(task)
    say(f"Wrote {len(work)} pictures to {output}." if source.is_dir() else f"Wrote {output}.")
    if scores:
        _print_scores(scores, space, "the scale" if border is None else str(border))


def planned(source: Path, output: Path, skip_existing: bool) -> list[tuple[Path, Path]]:
    """(picture, what is written) in order. Raises GencoreError for what is not there, is there already, or collides."""
    source, output = Path(os.path.expanduser(source)), Path(os.path.expanduser(output))
    if source.is_dir():
        files = sorted(file for file in source.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise GencoreError(f"{source} holds no pictures; expected files ending in {', '.join(sorted(SUFFIXES))}.")
        pairs = [(file, output / file.relative_to(source).with_suffix(".png")) for file in files]
    elif source.is_file():
        if output.suffix.lower() != ".png":
            raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
        pairs = [(source, output)]
    else:
        raise GencoreError(f"{source} does not exist; expected a picture or a folder of pictures.")
    taken: dict[Path, Path] = {}
    for file, made in pairs:
        if made in taken:
            raise GencoreError(f"{taken[made]} and {file} would both become {made}: rename one.")
        taken[made] = file
    existing = [made for _, made in pairs if made.exists()]
    if existing and not skip_existing:
        raise GencoreError(
            f"{existing[0]} exists already ({len(existing)} in all). Choose another --output, or add --skip-existing."
        )
    return [(file, made) for file, made in pairs if made not in set(existing)]


def channels_of(model: Any, name: str) -> int:
    """How many channels of a picture the model takes. Raises GencoreError unless 1 or 3."""
    kind = model.condition
    shape = kind.shape if isinstance(kind, Image) else getattr(model.config, "input_shape", model.config.data_shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise GencoreError(f"{name} takes inputs of shape {tuple(shape)}, no picture: use it from Python.")
    return int(shape[0])


def _write(picture: Whole, file: Path) -> None:
    from gencore.data.whole import png
    from gencore_hub.atomic import atomic_write

    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, png(picture))


def _truths(folder: Path, names: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise GencoreError(f"--targets is {folder}; expected a folder of pictures.")
    found = {file.stem: file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES}
    if missing := [name for name in names if name not in found]:
        raise GencoreError(f"{folder} has no picture called {missing[0]} ({len(missing)} are missing).")
    return found


def _print_scores(scores: list[tuple[str, float, float]], space: str, border: str) -> None:
    say(f"{'picture':<32} PSNR [dB]    SSIM   on {space.upper()}, border cut: {border} pixels")
    for name, db, likeness in scores:
        say(f"{shown(name, line=True):<32} {db:9.2f}  {likeness:.4f}")
    say(f"{'mean':<32} {sum(s[1] for s in scores) / len(scores):9.2f}  {sum(s[2] for s in scores) / len(scores):.4f}")


def _progress(quiet: bool) -> Any:
    """A bar on the terminal, over pictures."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=quiet or not console.is_terminal)
