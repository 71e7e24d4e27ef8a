"""How the restoration pages are trained and measured in tests: closed forms on crops that no page has seen.

Sharpness is asked by three numbers together, since energy alone is won by stripes one pixel wide:
    hf      energy of the Hann-windowed spectrum above a quarter of a cycle per pixel, over the truth's
    hferr   mean over crops of |log of that ratio|, each with 2 % of the mean added
    calm    the energy in the calmest third of the crops, over the truth's mean
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gencore.data.toys.degradations import downsample
from gencore.data.toys.photos import grid_crops, photos
from gencore.recipes import Recipe
from gencore.training.trainer import Trainer
from gencore_translation.parts.perceptual import FeatureNet, PerceptualDistance

CROP = 24
LUMA: dict[str, Any] = {"data_shape": (1, 32, 32), "batch_size": 8}


def trained(recipe: Recipe, *, seed: int, source: Any = None, begin: Any = None) -> Any:
    """The recipe's published model after its training on photographs, from the weights of `begin` where given."""
    trainer = Trainer(recipe, source or photos(size=CROP + 8), seed=seed, cpu=True)
    if begin is not None:
        trainer.begin_from(begin)
    trainer.fit()
    with trainer.published() as model:
        model.eval()
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer.close()
    model.load_state_dict(state)
    return model.eval()


def game_of(recipe: Recipe) -> Recipe:
    """The recipe without its first stage, which trains for fidelity."""
    return dataclasses.replace(recipe, stages=recipe.stages[1:])


def unseen_pairs(scale: int = 2, size: int = CROP) -> tuple[Tensor, Tensor]:
    """(small pictures, truth) of the test part."""
    truth = grid_crops(size)[0]
    return downsample(truth, scale), truth


def translated(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model.translate(part) for part in x.split(64)])


def psnr(made: Tensor, truth: Tensor) -> float:
    """In dB, of pictures in [-1, 1], from the error of all of them together."""
    return float(10 * torch.log10(4 / (made - truth).square().mean()))


def high_energy(x: Tensor) -> Tensor:
    """(N,) energy above a quarter of a cycle per pixel."""
    size = x.shape[-1]
    window = torch.hann_window(size, periodic=False)
    frequency = torch.fft.fftfreq(size).abs()
    high = torch.maximum(frequency[:, None], frequency) > 0.25
    spectrum = torch.fft.fft2(x * window[:, None] * window).abs().square()
    return (spectrum * high).sum((1, 2, 3))


def sharpness(made: Tensor, truth: Tensor) -> tuple[float, float, float]:
    """hf, hferr, calm."""
    out, true = high_energy(made), high_energy(truth)
    floor = 0.02 * true.mean()
    error = ((out + floor) / (true + floor)).log().abs().mean()
    calm = out[true.argsort()[: len(true) // 3]].mean() / true.mean()
    return float(out.sum() / true.sum()), float(error), float(calm)


def judged(made: Tensor, truth: Tensor) -> float:
    """A distance in the features of another network than the pages train with."""
    distance = PerceptualDistance(FeatureNet(width=24, seed=1), normalised=True)
    with torch.no_grad():
        return float(distance(made, truth))


def luma_pairs() -> tuple[Tensor, Tensor]:
    """Halved pictures and their truth, of the test part."""
    truth = grid_crops(24, channels=1)[0]
    return downsample(truth, 2), truth
