"""Pictures of systems that neither draw samples nor change one picture into another: what each does, as it is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gencore.latent.maps import scatter
from gencore.noise import GlobalNoise

Seen = tuple[str, Tensor | list[str] | Image.Image]
"""What is shown, in a few words; pictures (N, C, H, W) in [-1, 1] to be laid in rows of 8, lines of text, or a drawing.
"""


def series(model: Any, source: Any) -> Seen:
    """context-rnn-gan: panels, the next one as it is drawn, and the true one."""
    batch = source.fetch(torch.arange(8))
    told = batch["x_input"]
    rows = [*told.unflatten(1, (told.shape[1], 1)).unbind(1), model.translate(told), batch["x"]]
    return "series downwards: four panels, the fifth as it is drawn, and as it is", torch.cat(rows)


def voices(model: Any, source: Any) -> Seen:
    """speech-vq-vae: clips, and the same in the next speaker's voice."""
    batch = source.fetch(torch.arange(8))
    converted = model.convert(batch["x"], (batch["label"] + 1) % source.num_classes)
    return "spoken vowels as spectrograms; below, each in another speaker's voice", torch.cat([batch["x"], converted])


def heads(model: Any, source: Any) -> Seen:
    """talking-heads: a frame that tells the person, the frame drawn for other landmarks, and the true one."""
    batch = source.fetch(torch.arange(8))
    person = model.person(batch["frames"], batch["frame_maps"])
    drawn = model.generate(person, condition=batch["x_input"])
    shown = torch.cat([batch["frames"][:, 0], drawn, batch["x"]])
    return "downwards: a frame of a person, the frame that is drawn for other landmarks, the true one", shown


def translations(model: Any, source: Any) -> Seen:
    """cs-gan: sentences and the likeliest words of their translation."""
    told = source.fetch(torch.arange(8))["tokens"]
    written = model.translations(told, lambda logits: logits.argmax(1))
    text = model.condition.text
    lines = [f"{text(said)}  ->  {text(words)}" for said, words in zip(told, written, strict=True)]
    return "sentences and their translations", lines


def under_noise(model: Any, source: Any) -> Seen:
    """noisy-classifier: pictures under more and more noise, and how many of 300 it names rightly."""
    batch, noise = source.fetch(torch.arange(300)), torch.randn(300, *source.shape)
    levels = (0.1, 0.5, 1.0, 2.0)
    noisy = [batch["x"] + sigma * noise for sigma in levels]
    right = [
        (model.judge(x, sigma=sigma).argmax(1) == batch["label"]).float().mean().item()
        for x, sigma in zip(noisy, levels, strict=True)
    ]
    named = ", ".join(f"{share:.2f} at {sigma:g}" for share, sigma in zip(right, levels, strict=True))
    return f"digits under noise of sigma 0.1, 0.5, 1, 2; named rightly: {named}", torch.cat([x[:8] for x in noisy])


def posteriors(model: Any, source: Any) -> Seen:
    """hierarchical-implicit-model: the local unknown of each number observed, as inferred and exact."""
    count, variance = 200, model.config.noise_std**2
    observed = source.fetch(torch.arange(len(source)))["x"]
    precision = len(observed) + 1 + variance
    beta = len(observed) * observed.mean() / precision + ((1 + variance) / precision) ** 0.5 * torch.randn(count, 1)
    points = []
    for place, x in enumerate(observed.sort(0).values.expand(count, -1, -1).unbind(1)):
        inferred = model.infer(x, model.posterior(torch.randn(count, 1)), GlobalNoise.like(x))
        exact = (x + variance * beta) / (1 + variance) + (variance / (1 + variance)) ** 0.5 * torch.randn(count, 1)
        for left, z in enumerate((inferred, exact)):
            points.append(torch.cat([place + 0.4 * left + 0.08 * torch.randn(count, 1), z], 1))
    shows = "upwards, the unknown of each of five numbers observed: inferred (0) and, to its right, exact (1)"
    return shows, scatter(torch.cat(points), torch.arange(len(points)).repeat_interleave(count) % 2, size=400)


OWN: dict[str, Callable[[Any, Any], Seen]] = {
    "context-rnn-gan": series,
    "cs-gan": translations,
    "hierarchical-implicit-model": posteriors,
    "noisy-classifier": under_noise,
    "speech-vq-vae": voices,
    "talking-heads": heads,
}
