"""EBGAN: energies by hand, and an energy that knows data from noise after training."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.evaluation import frechet_distance, train_classifier
from gencore_gan.objectives.ebgan import EBGAN, EnergyBased, margin_loss, pulling_away, squared_error
from gencore_gan.parts.autoencoder_critic import AutoencoderGANConfig


def test_pulling_away_by_hand() -> None:
    """1 for codes of one direction, whatever their length and sign; 0 for orthogonal ones; 45 degrees give 1/2."""
    code = torch.tensor([[1.0, 2.0, -1.0]])
    assert pulling_away(torch.cat([code, 3 * code, -code])).item() == pytest.approx(1)
    assert pulling_away(torch.diag(torch.tensor([1.0, 2.0, 5.0]))).item() == 0
    assert pulling_away(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).item() == pytest.approx(
        1 / 6
    )


def test_margin_by_hand() -> None:
    """Real 0.1, 0.3; generated 0.4, 2 with margin 1: 0.2 + (0.6 + 0) / 2, and no gradient beyond the margin."""
    fake = torch.tensor([0.4, 2.0], requires_grad=True)
    loss = margin_loss(torch.tensor([0.1, 0.3]), fake, 1.0)
    assert loss.item() == pytest.approx(0.2 + 0.3)
    (gradient,) = torch.autograd.grad(loss, fake)
    assert gradient.tolist() == [-0.5, 0]


def test_the_energy_is_the_mean_square() -> None:
    x, rebuilt = torch.tensor([[[1.0, 0.0]], [[0.0, 0.5]]]), torch.zeros(2, 1, 2)
    torch.testing.assert_close(squared_error(x, rebuilt), torch.tensor([0.5, 0.125]))
    torch.manual_seed(0)
    model, image = EBGAN(AutoencoderGANConfig(width=4)), torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(model.judge(image), ((model.reconstruct(image) - image) ** 2).mean((1, 2, 3)))


def test_the_phases_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    model, batch = EBGAN(AutoencoderGANConfig(width=4)), {"x": torch.randn(6, 1, 8, 8)}
    objective = EnergyBased(margin=0.7, pulling_away_weight=0.3)
    torch.manual_seed(1)
    fake = model.generate(2 * torch.rand(6, 16) - 1)
    torch.manual_seed(1)
    critic = objective.loss(model, "critic", batch)
    expected = model.judge(batch["x"]).mean() + (0.7 - model.judge(fake)).clamp(min=0).mean()
    torch.testing.assert_close(critic.total, expected)
    torch.manual_seed(1)
    expected = model.judge(fake).mean() + 0.3 * pulling_away(model.critic.encoder(fake))
    torch.testing.assert_close(objective.loss(model, "generator", batch).total, expected)


@pytest.mark.parametrize(("name", "value"), [("margin", 0.0), ("pulling_away_weight", -1.0), ("batch_size", 1)])
def test_bad_arguments(name: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=name):
        gencore.recipe("ebgan", **{name: value})


def contrast(model: EBGAN) -> float:
    """Energy of uniform noise over energy of digits that it has not seen."""
    test = digits("test")
    noise = 2 * torch.rand(397, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        return (model.judge(noise).mean() / model.judge(test.fetch(torch.arange(397))["x"]).mean()).item()


def quality(model: EBGAN) -> float:
    """Frechet distance to the training digits in a classifier's features."""
    train = digits("train")
    classifier = train_classifier(train)
    real = train.fetch(torch.arange(len(train)))["x"]
    return frechet_distance(classifier.features(real), classifier.features(model.sample(1000)))


def trained(recipe: gencore.Recipe, seed: int) -> tuple[float, float]:
    """Contrast and quality."""
    trainer = gencore.Trainer(recipe, digits("train"), seed=seed, cpu=True)
    trainer.fit()
    with trainer.published() as model:
        return contrast(model), quality(model)


def without_margin(recipe: gencore.Recipe) -> gencore.Recipe:
    """A critic that rebuilds data, and pushes nothing away."""
    (stage,) = recipe.stages
    objective = EnergyBased(margin=1e-9, pulling_away_weight=0.1)
    return dataclasses.replace(recipe, stages=(dataclasses.replace(stage, objective=objective),))
