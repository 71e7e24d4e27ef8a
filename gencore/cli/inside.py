"""Looking into a model: gencore nearest (does it copy?), codebook (what its codes mean), steps (how it samples)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencore.cli.options import Model, Seed
from gencore.cli.show import say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from torch import Tensor

Png = Annotated[Path, typer.Option("-o", "--output", help="A .png grid.")]
Label = Annotated[str | None, typer.Option(help="The class, by number or name, for a model that takes one.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (nearest, codebook, steps):
        app.command()(command)


def nearest(
    model: Model,
    data: Annotated[str, typer.Option(help="What it was trained on, as for gencore train; the training part.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many samples.")] = 8,
    k: Annotated[int, typer.Option("-k", help="How many examples beside each.")] = 5,
    label: Label = None,
    seed: Seed = 0,
    output: Png = Path("nearest.png"),
) -> None:
    """Draw samples, each in a row with the training examples that are nearest to it, pixel by pixel."""
    import torch

    import gencore
    from gencore.cli.apply import asked_condition
    from gencore.cli.codes import open_part
    from gencore.data.images import save_grid
    from gencore.evaluation.copies import nearest_examples

    _check_png(output)
    loaded = gencore.from_pretrained(model)
    _check_pictures(loaded, model)
    source = open_part(loaded, data, "train", labels=False)
    samples = loaded.sample(n, seed=seed, condition=asked_condition(loaded, model, label, None)).cpu()
    found = nearest_examples(samples, source, k)
    beside = source.fetch(found.place.flatten())["x"].unflatten(0, found.place.shape)
    save_grid(torch.cat([samples[:, None], beside], 1).flatten(0, 1).clamp(-1, 1), output, columns=k + 1)
    gaps = ", ".join(f"{gap:.3g}" for gap in found.distance[:, 0].tolist())
    say(f"Wrote {n} samples, each before the {k} nearest of {len(source)}, to {output}.")
    say(f"Root mean square distances to the nearest: {gaps}")


def codebook(
    model: Model,
    data: Annotated[str, typer.Option(help="What is encoded, as for gencore train; its test part.")] = "digits",
    output: Png = Path("codebook.png"),
) -> None:
    """Draw what each code of a codebook means: the picture that has it everywhere. The most used come first."""
    import torch

    import gencore
    from gencore.cli.apply import open_for
    from gencore.data.images import save_grid
    from gencore.latent.codes import decode, in_batches

    _check_png(output)
    loaded: Any = gencore.from_pretrained(model)
    size = check_codebook(loaded, model)
    source = open_for(loaded, data)
    codes = in_batches(loaded, loaded.encode, source.fetch(torch.arange(len(source)))["x"])
    counts = torch.bincount(codes.flatten(), minlength=size)
    order = counts.argsort(descending=True, stable=True)
    pictures = decode(loaded, order.view(-1, 1, 1).expand(-1, *codes.shape[1:]).contiguous())
    save_grid(pictures.clamp(-1, 1), output)
    shares = counts[counts > 0] / counts.sum()
    perplexity = float((-(shares * shares.log()).sum()).exp())
    say(f"Wrote {size} codes to {output}, the most used first: {', '.join(map(str, order[:10].tolist()))}, ...")
    say(f"{len(shares)} of {size} are used on {source.name}; perplexity {perplexity:.1f}.")


def steps(
    model: Model,
    n: Annotated[int, typer.Option("-n", "--number", help="How many samples.")] = 4,
    frames: Annotated[int, typer.Option(help="Moments of the sampling, evenly from first to last.")] = 8,
    sampler: Annotated[str | None, typer.Option(help="One of the model's samplers, such as ddim or heun.")] = None,
    count: Annotated[int | None, typer.Option("--steps", help="Steps of the sampler.")] = None,
    guidance: Annotated[float | None, typer.Option(help="0 ignores the label, 1 obeys it.")] = None,
    label: Label = None,
    seed: Seed = 0,
    output: Png = Path("steps.png"),
) -> None:
    """Draw how a diffusion model samples: a row of states from noise to picture, and below it what the model takes each
    of them for."""
    import gencore
    from gencore.cli.apply import asked_condition
    from gencore.data.images import save_grid

    _check_png(output)
    loaded: Any = gencore.from_pretrained(model)
    _check_pictures(loaded, model)
    if not hasattr(loaded, "watch"):
        raise GencoreError(
            f"{model} does not sample by denoising ({type(loaded).__name__}): there are no steps to draw."
        )
    options = {"steps": count, "guidance": guidance}
    options = {name: value for name, value in options.items() if value is not None}
    told = asked_condition(loaded, model, label, None)
    seen: Tensor = loaded.watch(n, frames=frames, seed=seed, condition=told, sampler=sampler, **options)
    save_grid(seen.flatten(0, 2).clamp(-1, 1), output, columns=seen.shape[2])
    say(f"Wrote {seen.shape[2]} moments of {n} samples to {output}; below each row, what the model takes it for.")


def check_codebook(model: Any, name: str) -> int:
    """How many codes its one book has. Raises GencoreError for a model that has none, or several."""
    shape = getattr(model.config, "code_shape", ())
    if not hasattr(model, "codebook") or not hasattr(model, "encode") or len(shape) != 2:
        raise GencoreError(f"{name} has no single codebook of pictures ({type(model).__name__}): train vq-vae.")
    return int(model.config.num_codes)


def _check_pictures(model: Any, name: str) -> None:
    shape = tuple(model.config.data_shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise GencoreError(f"{name} is of data of shape {shape}, which are no pictures.")


def _check_png(output: Path) -> None:
    if output.suffix.lower() != ".png":
        raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
