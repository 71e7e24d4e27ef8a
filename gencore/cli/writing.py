"""Samples into a file of their kind: pictures, sound, text, or any of them as numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

from gencore.cli.show import say
from gencore.errors import GencoreError

Kind = Literal["picture", "sound", "text"]

SUFFIX: dict[Kind, str] = {"picture": ".png", "sound": ".wav", "text": ".txt"}


def kind_of(model: Any) -> Kind:
    """What a model's examples are: text where it can read its tokens, sound where it knows the rate of a waveform."""
    config = model.config
    if hasattr(model, "text") and getattr(config, "vocabulary", ()):
        return "text"
    return "sound" if hasattr(config, "sample_rate") and len(config.data_shape) == 2 else "picture"


def write_samples(model: Any, samples: Any, output: Path | None) -> None:
    """Samples (N, ...) of a model into `output`; without one, text goes to the terminal, and others into
    samples.png or samples.wav. Raises GencoreError for a name that does not fit."""
    kind = kind_of(model)
    if output is None and kind == "text":
        say(_joined(model.text(samples)))
        return
    output = Path(f"samples{SUFFIX[kind]}") if output is None else output
    write(samples, output, model=model)


def write(
    samples: Any, output: Path, *, model: Any = None, columns: int | None = None, what: str | None = None
) -> None:
    """Samples (N, ...) into a .png grid of `columns`, a .wav or .txt file where the model has such, or .npy."""
    kind: Kind = "picture" if model is None else kind_of(model)
    suffix = output.suffix.lower()
    if suffix == ".npy":
        _write_array(samples, output)
    elif suffix != SUFFIX[kind]:
        raise GencoreError(f"--output is {output}; expected a name that ends in {SUFFIX[kind]} or .npy.")
    elif kind == "text":
        from gencore_hub.atomic import atomic_write

        atomic_write(output, f"{_joined(model.text(samples))}\n".encode())
    elif kind == "sound":
        from gencore.data.sound import save_sound

        save_sound(samples, output, rate=model.config.sample_rate)
    else:
        from gencore.data.images import save_grid

        save_grid(samples.clamp(-1, 1), output, columns=columns)
    say(f"Wrote {what or len(samples)} to {output}.")


def _joined(texts: list[str]) -> str:
    """One a line; where some have several lines, an empty line between them."""
    texts = [text.rstrip("\n") for text in texts]
    return ("\n\n" if any("\n" in text for text in texts) else "\n").join(texts)


def _write_array(samples: Any, output: Path) -> None:
    import numpy as np

    from gencore_hub.atomic import atomic_write

    buffer = io.BytesIO()
    np.save(buffer, samples.cpu().numpy(), allow_pickle=False)
    atomic_write(output, buffer.getvalue())
