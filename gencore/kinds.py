"""What a model's examples are: pictures, sound, text, melodies, volumes, or plain numbers."""

from __future__ import annotations

from typing import Any, Literal

NOTE = ("length", "pitch", "velocity", "gap")
Kind = Literal["picture", "sound", "text", "melody", "volume", "numbers"]

SUFFIX: dict[Kind, str] = {
    "picture": ".png",
    "sound": ".wav",
    "text": ".txt",
    "melody": ".mid",
    "volume": ".png",
    "numbers": ".npy",
}


def kind_of(model: Any) -> Kind:
    """What a model's examples are: text where it can read its tokens, sound where it knows the rate of a waveform,
    melodies where its `features` are those of notes; by their shape pictures, volumes (1, S, S, S), numbers."""
    config = model.config
    if hasattr(model, "text") and len(getattr(config, "vocabulary", ())):
        return "text"
    shape = tuple(getattr(config, "data_shape", (0, 0, 0)))
    axes = len(shape)
    if axes == 2 and hasattr(config, "sample_rate"):
        return "sound"
    if axes == 2 and getattr(model, "features", None) == NOTE and shape[1] == len(NOTE):
        return "melody"
    if axes == 4 and shape[0] == 1 and len(set(shape[1:])) == 1:
        return "volume"
    return "picture" if axes == 3 else "numbers"
