"""`gencore invert`, a code for one's own picture, and `gencore anomaly`, what a model of normal data finds strange."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencore.cli.options import Data, Model, Seed
from gencore.cli.show import say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from torch import Tensor

WORST = 10


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("invert")(invert_command)
    app.command("anomaly")(anomaly)


def invert_command(
    model: Model,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Image files.")],
    steps: Annotated[int, typer.Option(help="Steps of the search; 0 takes the start as it is.")] = 200,
    method: Annotated[Literal["adam", "lbfgs"], typer.Option(help="lbfgs: fewer steps, each slower.")] = "adam",
    start: Annotated[
        Literal["encoder", "prior"] | None, typer.Option(help="Where from; the encoder where the model has one.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The class, for a class-conditional model.")] = None,
    condition: Annotated[str | None, typer.Option(help="What other conditional models are told.")] = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .npy file of codes.")] = Path("codes.npy"),
) -> None:
    """Search the codes from which a model generates pictures; print how near it comes."""
    import io

    import numpy as np
    import torch

    import gencore
    from gencore.cli.apply import asked_condition
    from gencore.data.images import read_image
    from gencore.latent.codes import encodes_all
    from gencore.latent.inversion import Search, invert
    from gencore_hub.atomic import atomic_write

    if output.suffix.lower() != ".npy":
        raise GencoreError(f"--output is {output}; expected a name that ends in .npy.")
    loaded: Any = gencore.from_pretrained(model)
    channels, height, width = _image_shape(loaded, model)
    x = torch.stack([read_image(file, channels, (height, width)) for file in pictures])
    search = Search(method=method, steps=steps, learning_rate=1.0 if method == "lbfgs" else 0.05)
    told = asked_condition(loaded, model, label, condition)
    first = start or ("encoder" if encodes_all(loaded, told) else "prior")
    found = invert(loaded, x, search=search, start=first, seed=seed, condition=told)
    buffer = io.BytesIO()
    np.save(buffer, found.z.cpu().numpy(), allow_pickle=False)
    atomic_write(output, buffer.getvalue())
    for file, error in zip(pictures, (found.x.cpu() - x).square().flatten(1).mean(1).tolist(), strict=True):
        say(f"{file}: mean square error {error:.4f}, PSNR {_psnr(error):.1f} dB")
    say(f"Wrote {len(x)} codes to {output}.")


def anomaly(
    model: Model,
    data: Data = "digits",
    normal: Annotated[
        list[str] | None, typer.Option(help="A class that is normal, for AUROC where the data have labels; repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .csv table; the strangest go to a .png.")] = Path(
        "scores.csv"
    ),
) -> None:
    """Score how strange each of the test data is, beside trivial scores that are often as good."""
    import torch

    import gencore
    from gencore.cli.apply import open_for
    from gencore.data.images import save_grid
    from gencore.latent import anomaly_scores
    from gencore.latent.codes import in_batches
    from gencore_hub.atomic import atomic_write

    if output.suffix.lower() != ".csv":
        raise GencoreError(f"--output is {output}; expected a name that ends in .csv.")
    loaded: Any = gencore.from_pretrained(model)
    shape = _image_shape(loaded, model)
    source = open_for(loaded, data)
    batch = source.fetch(torch.arange(len(source)))
    x, own = batch["x"], getattr(loaded, "anomaly_scores", None)
    scores = {"score": in_batches(loaded, own, x) if own else anomaly_scores(loaded, x)}
    scores |= _trivial_scores(x)
    lines = [",".join(["index", *scores])]
    for index, row in enumerate(zip(*(column.tolist() for column in scores.values()), strict=True)):
        lines.append(",".join([str(index), *(f"{value:.6g}" for value in row)]))
    atomic_write(output, ("\n".join(lines) + "\n").encode())
    worst = scores["score"].argsort(descending=True)[:WORST]
    save_grid(x[worst].reshape(-1, *shape), output.with_suffix(".png"), columns=len(worst))
    say(f"Wrote {len(x)} scores to {output}, the {len(worst)} strangest to {output.with_suffix('.png')}.")
    if normal:
        for name, value in _areas(scores, batch.get("label"), loaded_classes(source), normal).items():
            say(f"AUROC of {name}: {value:.3f}")


def loaded_classes(source: Any) -> Any:
    """What a class of the source may be called. Raises GencoreError for a source without labels."""
    from gencore.conditions import ClassLabel
    from gencore.data.source import class_names_of

    if source.num_classes is None:
        raise GencoreError(f"--normal is given, but {source.name} has no labels to tell what is normal.")
    return ClassLabel(count=source.num_classes, names=class_names_of(source))


def _areas(scores: dict[str, Tensor], label: Tensor | None, classes: Any, normal: list[str]) -> dict[str, float]:
    """AUROC of each score, examples of other classes than `normal` being the anomalies."""
    import torch

    from gencore.latent import auroc

    assert label is not None
    usual = torch.tensor([classes.parse(word) for word in normal])
    return {name: auroc(column, ~torch.isin(label, usual)) for name, column in scores.items()}


def _trivial_scores(x: Tensor) -> dict[str, Tensor]:
    """Squared distances of x (N, ...) to their own mean, and to the plane of their first 8 principal components."""
    from gencore.latent import pca

    flat = x.flatten(1)
    far = (flat - flat.mean(0)).square().sum(1)
    return {"distance_to_mean": far, "distance_to_plane": (far - pca(flat, 8).square().sum(1)).clamp_min(0)}


def _image_shape(loaded: Any, model: str) -> tuple[int, int, int]:
    shape = tuple(loaded.config.data_shape)
    if len(shape) != 3:
        raise GencoreError(f"{model} is of data of shape {shape}, which are no images.")
    return shape[0], shape[1], shape[2]


def _psnr(error: float) -> float:
    """Of pictures in [-1, 1], whose range is 2, from their mean square error."""
    import math

    return math.inf if error == 0 else 10 * math.log10(4 / error)
