"""Dense models of the 8 x 8 digits, and a judge of what they draw."""

from __future__ import annotations

import functools

import torch
from sklearn.svm import SVC
from torch import Tensor

import gencore
from gencore.data import digits
from gencore.evaluation import frechet_distance
from gencore_diffusion.ddpm import DDPM

LABELS = torch.arange(10).repeat(40)


@functools.cache
def judge() -> SVC:
    """A classifier of clean digits that no model has seen."""
    train = digits("train").fetch(torch.arange(len(digits("train"))))
    return SVC(C=10, gamma=0.02).fit(train["x"].flatten(1).numpy(), train["label"].numpy())


def right(x: Tensor, labels: Tensor) -> float:
    """The share of images that the judge gives their label."""
    return float((judge().predict(x.flatten(1).numpy()) == labels.numpy()).mean())


def fitted(name: str, **arguments: object) -> gencore.Model:
    """A dense model of digits, 2500 iterations or as told, weight average applied."""
    settings = {"steps": 2500, "batch_size": 128, "learning_rate": 1e-3, "ema_half_life": 150, "network": "dense"}
    recipe = gencore.recipe(name, **{**settings, **arguments})
    trainer = gencore.Trainer(recipe, digits("train"), cpu=True)
    trainer.fit()
    with trainer.published() as published:
        model = recipe.model(recipe.config)
        model.load_state_dict(published.state_dict())
    return model.eval()


DENSE = {"width": 192, "depth": 3, "num_timesteps": 200}


@functools.cache
def trained(prediction: str = "eps") -> gencore.Model:
    """A class-conditional DDPM."""
    steps = 1800 if prediction == "eps" else 2500
    return fitted("ddpm", num_classes=10, label_drop=0.15, prediction=prediction, steps=steps, **DENSE)


def untrained() -> gencore.Model:
    torch.manual_seed(0)
    recipe = gencore.recipe("ddpm", num_classes=10, network="dense", **DENSE)
    return DDPM(recipe.config).eval()


def drawn(sampler: gencore.Sampler, model: gencore.Model) -> tuple[float, float]:
    """Of 400 samples: the share of the class asked for, and the Frechet distance of their pixels to held-out digits."""
    x = model.sample(400, condition=LABELS, sampler=sampler, batch_size=400)
    test = digits("test").fetch(torch.arange(len(digits("test"))))["x"]
    return right(x, LABELS), frechet_distance(x.flatten(1), test.flatten(1))
