"""gencore voice: what a recording says, in another speaker's voice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencore.cli.options import Model
from gencore.errors import GencoreError
from gencore.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(voice)


def voice(
    model: Model,
    file: Annotated[Path, typer.Argument(help="A sound file, of any rate (needs gencore[audio]).")],
    speaker: Annotated[int, typer.Option(help="The number of the class whose voice it shall be.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .wav file, at 8000 numbers a second.")],
) -> None:
    """Say what a recording says in another voice, by a model such as speech-vq-vae."""
    import gencore
    from gencore.data.sound import read_sound, save_sound
    from gencore.data.spectrograms import BANDS, SAMPLE_RATE

    loaded: Any = gencore.from_pretrained(model)
    shape = loaded.config.data_shape
    if not hasattr(loaded, "convert") or shape[:2] != (1, BANDS):
        raise GencoreError(f"{model} converts no voices ({type(loaded).__name__}): train speech-vq-vae.")
    if output.suffix.lower() != ".wav":
        raise GencoreError(f"--output is {output}; expected a name that ends in .wav.")
    said, _ = read_sound(user_path(file), rate=SAMPLE_RATE)
    made = converted(loaded, said, speaker)
    save_sound(made[None], user_path(output), rate=SAMPLE_RATE)
    typer.echo(f"Wrote {len(made) / SAMPLE_RATE:.2f} s to {output}.")


def converted(model: Any, said: Tensor, speaker: int) -> Tensor:
    """Sound (T,) at 8 kHz -> (T,), as loud as it was unless that would be too loud for a file; the spectrogram is
    converted clip by clip, and made sound as a whole."""
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
    sound = sound_of(rearrange(heard, "clips one bands frames -> one bands (clips frames)"))[0, : len(said)] * size
    return sound / sound.abs().max().clamp_min(1)
