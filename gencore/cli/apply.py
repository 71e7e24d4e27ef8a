"""What a trained model does: gencore sample, reconstruct, classify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gencore.cli.options import Data, Model, Quiet
from gencore.cli.show import say
from gencore.cli.writing import write, write_samples
from gencore.errors import GencoreError
from gencore.paths import user_path


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (sample, reconstruct, classify):
        app.command()(command)


def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A .png, .wav, .txt or .mid, as the model draws, or .npy for the numbers."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="The class, by number or name, for a model that takes one; null for none.")
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(help="What it is conditioned on: a class, a sentence, a=1,b=0, a file of a picture or of sound."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples at a time.")] = 64,
    sampler: Annotated[str | None, typer.Option(help="One of the model's samplers, such as ddim or heun.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a diffusion sampler.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="0 ignores the label, 1 obeys it, more exaggerates it.")
    ] = None,
    truncation: Annotated[float | None, typer.Option(help="Of a sampler that truncates: less variety.")] = None,
    clip: Annotated[
        str | None, typer.Option(help="Clamp a diffusion sampler's estimates to [-CLIP, CLIP]; none for no clamp.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="How every text begins.")] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of texts and sound: below 1 the likely becomes likelier, 0 takes the likeliest."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Of texts: only the K likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Of texts: only the likeliest tokens of this mass.")] = None,
    quiet: Quiet = False,
) -> None:
    """Draw samples from a trained model: pictures, sound, or text, which goes to the terminal without -o."""
    import gencore
    from gencore.training.progress import SamplingBar, is_first_process

    loaded = gencore.from_pretrained(model)
    asked = asked_condition(loaded, model, label, condition)
    options: dict[str, Any] = {"steps": steps, "guidance": guidance, "truncation": truncation, "prompt": prompt}
    options |= {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    options = {name: value for name, value in options.items() if value is not None}
    if clip is not None:
        options["clip"] = _number(clip)
    batches = -(-n // max(1, batch_size))
    with SamplingBar(batches=batches, quiet=quiet or not is_first_process()) as bar:
        samples = loaded.sample(
            n, seed=seed, condition=asked, batch_size=batch_size, sampler=sampler, callback=bar, **options
        )
    write_samples(loaded, samples, None if output is None else user_path(output))


def _number(clip: str) -> float | None:
    if clip == "none":
        return None
    try:
        return float(clip)
    except ValueError:
        raise GencoreError(f"--clip is {clip!r}; expected a positive number, or none.") from None


def reconstruct(
    model: Model,
    data: Annotated[str, typer.Option(help="As for gencore train.")] = "digits",
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 32,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png grid: originals and reconstructions.")] = Path(
        "reconstructions.png"
    ),
) -> None:
    """Encode images and generate them again; each original stands above its reconstruction."""
    import torch
    from einops import rearrange

    import gencore

    loaded: Any = gencore.from_pretrained(model)
    if not hasattr(loaded, "reconstruct"):
        raise GencoreError(f"{model} cannot reconstruct: it is no autoencoder ({type(loaded).__name__}).")
    if n < 1:
        raise GencoreError(f"-n is {n}; expected at least 1.")
    source = open_for(loaded, data)
    x = source.fetch(torch.arange(min(n, len(source))))["x"]
    with torch.no_grad():
        rebuilt = loaded.reconstruct(x)
    columns = min(8, len(x))
    rows = torch.stack([x, rebuilt.clamp(-1, 1)])
    missing = -len(x) % columns
    rows = torch.cat([rows, rows.new_full((2, missing, *x.shape[1:]), -1.0)], 1)
    pairs = rearrange(rows, "v (r c) ... -> (r v c) ...", c=columns)
    write(pairs, output, columns=columns, what=f"{len(x)} originals with their reconstructions")


def asked_condition(loaded: Any, model: str, label: str | None, condition: str | None) -> Any:
    """What --label or --condition asks for, as `Model.sample` takes it; None where neither is given."""
    from gencore.conditions import ClassLabel, Image
    from gencore.data.images import read_image

    kind = loaded.named_condition
    if label is not None and condition is not None:
        raise GencoreError("--label and --condition are both given; expected one of them.")
    if label is not None and not isinstance(kind, ClassLabel):
        raise GencoreError(f"--label is {label}, but {model} takes no labels.")
    word = label if label is not None else condition
    if word is None or word == "null":
        return word
    if kind is None:
        raise GencoreError(f"--condition is {word!r}, but {model} is unconditional.")
    if isinstance(kind, Image):
        from gencore.data.sources.sounds import SUFFIXES, spectrogram_in

        if Path(word).suffix.lower() in SUFFIXES:
            return spectrogram_in(word, kind.shape)
        return read_image(word, channels=kind.shape[0], size=kind.shape[1:] if min(kind.shape) else None)
    return kind.parse(word)


def classify(
    model: Model,
    data: Data = "digits",
    n: Annotated[int, typer.Option("-n", "--number", help="How many examples at most.")] = 1000,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A .csv file: index, class, label.")] = None,
) -> None:
    """The likeliest class of each example; where the data have labels, how often it is theirs."""
    import torch

    import gencore
    from gencore_hub.atomic import atomic_write

    if n < 1:
        raise GencoreError(f"-n is {n}; expected at least 1.")
    if output is not None and output.suffix != ".csv":
        raise GencoreError(f"--output is {output}; expected a name that ends in .csv.")
    loaded: Any = gencore.from_pretrained(model)
    if not hasattr(loaded, "classify"):
        raise GencoreError(f"{model} cannot classify: {type(loaded).__name__} has no such trait.")
    source = open_for(loaded, data)
    rows, right = ["index,class,label"], 0
    for part in torch.arange(min(n, len(source))).split(256):
        batch = source.fetch(part)
        with torch.no_grad():
            classes = loaded.classify(batch["x"])
        labels = batch.get("label")
        right += 0 if labels is None else int((classes == labels).sum())
        for place, index in enumerate(part.tolist()):
            rows.append(f"{index},{int(classes[place])},{'' if labels is None else int(labels[place])}")
    if output is not None:
        atomic_write(output, ("\n".join(rows) + "\n").encode())
        say(f"Wrote {len(rows) - 1} classes to {output}.")
    if source.num_classes:
        say(f"{right} of {len(rows) - 1} right: accuracy {right / (len(rows) - 1):.4f}.")
    elif output is None:
        say("\n".join(rows))


def open_for(model: Any, data: str) -> Any:
    """The test part of `data`, of the size and the channels that the model takes."""
    from gencore.data import open_source

    shape = model.config.data_shape
    if len(shape) != 3:
        return open_source(data, split="test")
    return open_source(data, image_size=shape[-1], channels=shape[0], split="test")
