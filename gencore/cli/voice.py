"""gencore voice: what a recording says, in another speaker's voice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencore.cli.options import Model
from gencore.cli.show import say
from gencore.errors import GencoreError
from gencore.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(voice)


def voice(
    model: Model,
    file: Annotated[Path, typer.Argument(help="A sound file, of any rate (needs gencore\\[audio]).")],
    speaker: Annotated[int, typer.Option(help="The number of the class whose voice it shall be.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .wav file, at 8000 numbers a second.")],
    through: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A wavenet of spectrograms, which makes the sound of them.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of --through: below 1 with less noise and more certainty.")] = 1.0,
) -> None:
    """Say what a recording says in another voice, by a model such as speech-vq-vae."""
    import gencore
    from gencore.data.sound import read_sound, save_sound
    from gencore.data.spectrograms import BANDS, SAMPLE_RATE, length_of

    loaded: Any = gencore.from_pretrained(model)
    shape = loaded.config.data_shape
    if not hasattr(loaded, "convert") or shape[:2] != (1, BANDS):
        raise GencoreError(f"{model} converts no voices ({type(loaded).__name__}): train speech-vq-vae.")
    wanted = (1, length_of(shape[2])), shape
    if output.suffix.lower() != ".wav":
        raise GencoreError(f"--output is {output}; expected a name that ends in .wav.")
    said, _ = read_sound(user_path(file), rate=SAMPLE_RATE)
    maker: Any = None if through is None else gencore.from_pretrained(through)
    if maker is not None and (maker.config.data_shape, getattr(maker.config, "input_shape", None)) != wanted:
        raise GencoreError(f"{through} makes no sound of spectrograms of {shape}; expected a wavenet trained on such.")
    made = converted(loaded, said, speaker, maker, temperature=temperature)
    save_sound(made[None], user_path(output), rate=SAMPLE_RATE)
    say(f"Wrote {len(made) / SAMPLE_RATE:.2f} s to {output}.")


def converted(model: Any, said: Tensor, speaker: int, maker: Any = None, *, temperature: float = 1.0) -> Tensor:
    """Sound (T,) at 8 kHz -> (T,), as loud as it was unless that would be too loud for a file. The spectrogram is
    converted clip by clip, and made sound as a whole; by `maker`, given each clip's spectrogram, clip by clip, at
    `temperature`."""
    import dataclasses

    import torch
    from einops import rearrange

    from gencore.data.spectrograms import length_of, sound_of, spectrogram

    clip = model.config.data_shape[2]
    size = said.square().mean().sqrt().clamp_min(1e-4)
    frames = clip
    while length_of(frames) < len(said):
        frames += clip
    padded = torch.nn.functional.pad(said / size, (0, length_of(frames) - len(said)))
    clips = rearrange(spectrogram(padded[None]), "one bands (clips frames) -> clips one bands frames", frames=clip)
    with torch.no_grad():
        heard = model.convert(clips, torch.full((len(clips),), speaker))
    if maker is None:
        sound = sound_of(rearrange(heard, "clips one bands frames -> one bands (clips frames)"))[0]
    else:
        sampler = dataclasses.replace(maker.default_sampler(), temperature=temperature)
        sound = _faded(maker.sample(len(heard), condition=heard.clamp(-1, 1), sampler=sampler)[:, 0])
    sound = sound[: len(said)]
    sound = sound * (size / sound.square().mean().sqrt().clamp_min(1e-4))
    return sound / sound.abs().max().clamp_min(1)


def _faded(clips: Tensor) -> Tensor:
    """Clips (N, T) whose ends and beginnings are of the same moment, as far as windows reach beyond their hop, one
    fading into the next -> (sound,)."""
    import torch

    from gencore.data.spectrograms import HOP, WINDOW

    both = WINDOW - HOP
    rise = torch.linspace(0, 1, both)
    sound = clips[0]
    for clip in clips[1:]:
        sound = torch.cat([sound[:-both], sound[-both:] * (1 - rise) + clip[:both] * rise, clip[both:]])
    return sound
