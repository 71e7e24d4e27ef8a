"""`gencore edit`: a picture of one's own, its code, and what the model makes of that code moved along a direction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencore.cli.options import Data, Model, Seed
from gencore.cli.show import say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from torch import Tensor


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("edit")(edit_command)


def edit_command(
    model: Model,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="An image file.")],
    along: Annotated[int | None, typer.Option(help="Move this number of the code.")] = None,
    plus: Annotated[
        str | None, typer.Option(help="Or towards the mean code of this class of the data, from that of --minus.")
    ] = None,
    minus: Annotated[str | None, typer.Option(help="The class to come from; all others by default.")] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="The classes stand in a list, as gencore select takes it.")
    ] = None,
    data: Data = "digits",
    reach: Annotated[float, typer.Option(help="How far, to both sides; 1 is the whole way between two classes.")] = 2.0,
    frames: Annotated[int, typer.Option(help="Pictures of the way.")] = 7,
    steps: Annotated[int, typer.Option(help="Of the search for the code; 0 takes its start as it is.")] = 200,
    label: Annotated[str | None, typer.Option(help="What a class-conditional model is told.")] = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png grid.")] = Path("edited.png"),
) -> None:
    """Invert a picture and move its code. The picture stands first, then the way; below each, how it differs from what
    the model makes of the code unmoved (grey where it does not)."""
    import torch

    import gencore
    from gencore.cli.apply import asked_condition
    from gencore.cli.inversion import _image_shape, _psnr
    from gencore.data.images import read_image, save_grid
    from gencore.latent import edit
    from gencore.latent.codes import encodes_all
    from gencore.latent.inversion import Search, invert

    if output.suffix.lower() != ".png":
        raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
    if frames < 2:
        raise GencoreError(f"--frames is {frames}; expected at least 2.")
    loaded: Any = gencore.from_pretrained(model)
    channels, height, width = _image_shape(loaded, model)
    x = read_image(picture, channels, (height, width))[None]
    told = loaded.check_condition(asked_condition(loaded, model, label, None), 1)
    start: Any = "encoder" if encodes_all(loaded, told) else "prior"
    found = invert(loaded, x, search=Search(steps=steps), start=start, seed=seed, condition=told)
    way = _direction(loaded, found.z[0], along, plus, minus, labels, data)
    row = [x, found.x.cpu()]
    if way is not None:
        row.append(edit(loaded, found.z[0], way, torch.linspace(-reach, reach, frames), condition=told))
    shown = torch.cat(row).clamp(-1, 1)
    differences = (shown - shown[1]) / 2
    save_grid(torch.cat([shown, differences]), output, columns=len(shown))
    error = float((found.x.cpu() - x).square().mean())
    say(f"{picture}: mean square error of the code {error:.4f}, PSNR {_psnr(error):.1f} dB")
    say(f"Wrote the picture, its code's and {len(shown) - 2} of the way to {output}; below, the differences.")


def _direction(
    model: Any, z: Tensor, along: int | None, plus: str | None, minus: str | None, labels: Path | None, data: str
) -> Tensor | None:
    """The direction that the options name, (D,) for a code z of D numbers; None where they name none."""
    from gencore.latent import axis, combine

    if along is not None and (plus, minus, labels) != (None, None, None):
        raise GencoreError("--along and a class are both given; expected one of them.")
    if along is not None:
        return axis(z.numel(), along)
    if plus is None:
        if minus is not None or labels is not None:
            raise GencoreError("--minus or --labels is given, but no --plus: name the class to move towards.")
        return None
    codes, kinds = _labelled_codes(model, data, labels)
    here = [kind == plus for kind in kinds]
    there = [kind == minus if minus is not None else kind != plus for kind in kinds]
    for name, chosen in ((plus, here), (minus or f"but {plus}", there)):
        if not any(chosen):
            known = ", ".join(sorted(set(filter(None, kinds))))
            raise GencoreError(f"No example is of class {name!r}; the classes are {known}.")
    return combine((codes[here],), (codes[there],))


def _labelled_codes(model: Any, data: str, labels: Path | None) -> tuple[Tensor, list[str]]:
    """Codes (N, D) of the test part of `data`, and each one's class: of the list, else by the data's own labels."""
    from gencore.cli.apply import open_for
    from gencore.data.label_lists import labelled, read_label_list
    from gencore.data.parts import example_names
    from gencore.data.source import class_names_of
    from gencore.latent import encode_all

    source = open_for(model, data)
    codes = encode_all(model, source)
    if labels is not None:
        names = example_names(source, codes.index)
        known = labelled(read_label_list(labels, names))
        return codes.z, [known.get(name, "") for name in names]
    if codes.label is None:
        raise GencoreError(f"{data} has no labels: give a list of them by --labels.")
    classes = class_names_of(source)
    return codes.z, [classes[k] if classes else str(k) for k in codes.label.tolist()]
