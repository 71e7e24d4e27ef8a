"""CaloGAN: exact sums, features, attention, the energy term; showers of the energy asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.showers import showers
from gencore.errors import GencoreError
from gencore_gan.physics.calogan import Attention, EnergyMatched, energy_features, layer_features, of_particle


def test_the_total_is_the_exact_sum_and_the_flag_is_beyond_five() -> None:
    """10 GeV asked: 12 deposited is off by 2, no flag; 16 by 6, flag 10. Units of 10 GeV."""
    cells = torch.tensor([[4.0, 8.0, 0.0], [16.0, 0.0, 0.0]])
    expected = torch.tensor([[1.2, 1.0, 0.2, 0.0], [1.6, 1.0, 0.6, 10.0]])
    torch.testing.assert_close(energy_features(cells, torch.full((2, 1), 10.0)), expected)


def test_layers_are_told_by_energy_and_share_of_cells_hit() -> None:
    """Two layers of 2 and 4 cells."""
    layers = (torch.tensor([[5.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0, 3.0]]))
    torch.testing.assert_close(layer_features(layers), torch.tensor([[0.5, 0.6, 0.5, 0.75]]))


def test_attention_mixes_a_layer_with_the_one_before() -> None:
    """With scores of 0 half and half, the layer before brought to this one's cells; a large bias picks one."""
    attention = Attention()
    torch.nn.init.zeros_(attention.score.weight)
    torch.nn.init.zeros_(attention.score.bias)
    own, before = torch.full((1, 1, 2, 2), 4.0), torch.arange(8.0).view(1, 1, 2, 4)
    half = torch.tensor([[[[0.5, 2.5], [4.5, 6.5]]]]) / 2 + 2
    torch.testing.assert_close(attention(own, before), half)
    attention.score.bias.data[0] = 50.0
    torch.testing.assert_close(attention(own, before), own)


def model_of(**arguments: Any) -> Any:
    """A tiny model."""
    torch.manual_seed(0)
    recipe = gencore.recipe("calogan", latent_dim=4, width=2, hidden=(8,), **arguments)
    return recipe.model(recipe.config)


def test_showers_have_exact_zeros_and_the_energy_scales_the_code() -> None:
    """z E: twice the energy with half the code is the same shower."""
    model = model_of()
    z = torch.randn(6, 4)
    cells = model.generate(z, condition=torch.full((6, 1), 20.0))
    assert (cells == 0).any()
    assert (cells >= 0).all()
    assert (cells > 0).any()
    torch.testing.assert_close(model.generate(2 * z, condition=torch.full((6, 1), 10.0)), cells)


def test_the_losses_of_a_critic_that_knows_nothing() -> None:
    """2 log 2; log 2 and the mean distance of energies, weighed."""
    model = model_of()
    torch.nn.init.zeros_(model.critic.head.weight)
    torch.nn.init.zeros_(model.critic.head.bias)
    for stream in model.generator.streams:
        torch.nn.init.constant_(stream.body[-1].bias, -1e6)
    batch = {"x": torch.rand(2, 126), "attributes": torch.tensor([[10.0], [30.0]])}
    objective = EnergyMatched(0.05)
    assert objective.critic(model, batch).total.item() == pytest.approx(2 * math.log(2), rel=1e-5)
    assert objective.generator(model, batch).total.item() == pytest.approx(math.log(2) + 0.05 * 20, rel=1e-5)


def test_one_kind_of_particle_is_learned() -> None:
    """Label 1 alone; None takes all; one that the data lack is refused."""
    source = showers(40)
    chosen = of_particle(source, model_of(), particle=1)
    assert 0 < len(chosen) < 40
    assert chosen.fetch(torch.arange(len(chosen)))["label"].unique().tolist() == [1]
    assert of_particle(source, model_of(), particle=None) is source
    with pytest.raises(GencoreError, match="particle"):
        of_particle(source, model_of(), particle=2)


def test_cells_must_fit_the_layers() -> None:
    """The paper's 504 cells are known, others have to be told."""
    assert gencore.recipe("calogan", data_shape=(504,)).config.layout[0] == (3, 96)
    with pytest.raises(GencoreError, match="data_shape"):
        gencore.recipe("calogan", data_shape=(100,))
    with pytest.raises(GencoreError, match="data_shape"):
        gencore.recipe("calogan", layers=((3, 3),))


def median_error(model: Any, source: Any) -> float:
    """The median of |E_dep - E| / E over 1000 showers."""
    energy = source.further["energy"][:1000]
    return (model.sample(1000, seed=1, condition=energy).sum(1) / energy[:, 0] - 1).abs().median().item()


@pytest.mark.behaviour
def test_showers_deposit_what_was_asked_for(measured: Any) -> None:
    """Median error after 120 steps, electromagnetic showers, seeds 0, 1: 0.34, 0.14; without the energy term 16, 84."""
    source, errors = showers(4000, particle="electromagnetic", energy=(5.0, 100.0)), []
    for weight in (0.05, 0.0):
        recipe = gencore.recipe("calogan", steps=120, latent_dim=128, generator_rate=1e-3, energy_weight=weight)
        trainer = gencore.Trainer(recipe, source, seed=0, cpu=True)
        trainer.fit()
        with trainer.published() as model:
            errors.append(median_error(model.eval(), source))
    measured(
        "calogan",
        "median error of the deposited energy, relative to the energy asked for",
        figure=errors[0],
        twin=errors[1],
        bar=1.0,
        better="lower",
    )
