"""Samples into a file of their kind: pictures, sound, text, melodies, volumes, or any of them as numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from gencore.cli.show import say
from gencore.errors import GencoreError
from gencore.kinds import SUFFIX, Kind, kind_of


def write_samples(model: Any, samples: Any, output: Path | None) -> None:
    """Samples (N, ...) of a model into `output`; without one, text goes to the terminal, and others into samples.png,
    samples.wav, samples.mid or samples.npy. Raises GencoreError for a name that does not fit."""
    kind = kind_of(model)
    if output is None and kind == "text":
        say(_joined(model.text(samples)))
        return
    output = Path(f"samples{SUFFIX[kind]}") if output is None else output
    write(samples, output, model=model)


def write(
    samples: Any, output: Path, *, model: Any = None, columns: int | None = None, what: str | None = None
) -> None:
    """Samples (N, ...) into a .png grid of `columns`, a .wav, .txt or .mid file where the model has such, or .npy; the
    numbers of volumes, and of points of the plane, with a picture of them beside, which is all of a .png."""
    kind: Kind = "picture" if model is None else kind_of(model)
    suffix = output.suffix.lower()
    if suffix == ".npy":
        _write_array(samples, output)
        if kind == "volume":
            _draw_volumes(samples, output.with_suffix(".png"))
        elif _in_plane(samples):
            _draw_points(samples, output.with_suffix(".png"))
    elif suffix == ".png" and kind == "numbers" and _in_plane(samples):
        _draw_points(samples, output)
        return
    elif suffix != SUFFIX[kind]:
        expected = " or ".join(dict.fromkeys([SUFFIX[kind], ".npy"]))
        raise GencoreError(f"--output is {output}; expected a name that ends in {expected}.")
    elif kind == "text":
        from gencore_hub.atomic import atomic_write

        atomic_write(output, f"{_joined(model.text(samples))}\n".encode())
    elif kind == "sound":
        from gencore.data.sound import save_sound

        save_sound(samples, output, rate=model.config.sample_rate)
    elif kind == "melody":
        from gencore.data.sources.midi import midi_bytes
        from gencore_hub.atomic import atomic_write

        atomic_write(output, midi_bytes(samples))
    elif kind == "volume":
        _draw_volumes(samples, output)
        return
    else:
        from gencore.data.images import save_grid

        save_grid(samples.clamp(-1, 1), output, columns=columns)
    say(f"Wrote {what or len(samples)} to {output}.")


def _draw_volumes(samples: Any, output: Path) -> None:
    from gencore.data.images import save_grid
    from gencore.data.sources.volumes import three_views

    views = three_views(samples)
    save_grid(views, output, columns=max(1, round((len(views) / 3) ** 0.5)))
    say(f"Wrote three views of each of {len(views)} to {output}.")


def _in_plane(samples: Any) -> bool:
    return tuple(samples.shape[1:]) == (2,) and bool(len(samples))


def _draw_points(samples: Any, output: Path) -> None:
    from gencore.latent.maps import scatter
    from gencore_hub.atomic import atomic_write

    buffer = io.BytesIO()
    scatter(samples.cpu()).save(buffer, format="PNG")
    atomic_write(output, buffer.getvalue())
    say(f"Drew {len(samples)} points in {output}.")


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
