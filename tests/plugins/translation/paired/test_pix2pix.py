"""pix2pix: what the critic sees, the noise, colour from grey; sharper than its L1 twin after training."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys import draws
from gencore.data.toys.degradations import grey
from gencore.data.toys.photos import photos
from gencore.data.toys.scenes import ATTRIBUTES, paint, scenes
from gencore.errors import GencoreError
from gencore.noise import Noise
from gencore_translation.paired.pix2pix import Pix2Pix, Pix2PixConfig
from gencore_translation.parts.critics import receptive_field
from tests.plugins.translation.paired.restoration import trained, translated


def test_the_critic_sees_the_given_picture_beside_the_other() -> None:
    model = Pix2Pix(Pix2PixConfig(input_shape=(1, 16, 16), width=4, critic_width=4)).eval()
    first = model.critic[0]
    assert isinstance(first, torch.nn.Conv2d)
    assert first.in_channels == 4
    c, x = torch.rand(2, 1, 16, 16), torch.rand(2, 3, 16, 16)
    judged = model.judge(x, condition=c)
    torch.testing.assert_close(judged, model.critic(torch.cat([c, x], 1)))
    assert not torch.allclose(judged, model.judge(x, condition=1 - c))
    for wrong in (None, torch.rand(2, 1, 8, 8)):
        with pytest.raises(GencoreError, match="condition is"):
            model.judge(x, condition=wrong)


def test_the_critic_of_the_paper_judges_patches_of_seventy_pixels() -> None:
    assert receptive_field(Pix2Pix(Pix2PixConfig(critic_halvings=3)).critic) == 70


def test_noise_is_dropout() -> None:
    model = Pix2Pix(Pix2PixConfig(width=8, dropout=0.5)).eval()
    c = torch.rand(2, 3, 16, 16)
    assert torch.equal(model.translate(c), model.translate(c))
    one, again, other = (model.translate(c, noise=Noise(seed, 0, 2)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_recipe_is_the_papers() -> None:
    """The critic's loss is halved, and its step comes first."""
    made = gencore.recipe("pix2pix", l1_weight=100.0)
    objective = made.stages[0].objective
    assert objective.critic_weight == 0.5
    assert objective.weights == {"l1": 100.0}
    assert objective.sees_input
    assert [phase.name for phase in made.stages[0].phases] == ["critic", "generator"]


def test_colour_from_grey() -> None:
    """Pictures alone: the degraded ones become the input, and the model is shaped for them."""
    made = gencore.recipe("pix2pix", degradation="grey", data_shape=(3, 32, 32), crop=24)
    assert made.config.input_shape == (1, 32, 32)  # type: ignore[attr-defined]
    assert made.config.keeps == "luma"  # type: ignore[attr-defined]
    stage = made.stages[0]
    assert stage.data is not None
    batch = stage.data(photos(8), None).fetch(torch.arange(4))
    assert batch["x"].shape == (4, 3, 24, 24)
    assert batch["x_input"].shape == (4, 1, 24, 24)
    with pytest.raises(GencoreError, match="keeps the picture's size"):
        gencore.recipe("pix2pix", degradation="downsample:2")
    with pytest.raises(GencoreError, match="critic_halvings"):
        gencore.recipe("pix2pix", critic_halvings=3)


def test_what_is_known_stays_unless_it_is_told_not_to() -> None:
    """In pictures [-1, 1], though a shift of all colours leads out."""
    x = 1 - 2 * torch.rand(2, 1, 16, 16) ** 4
    lumas = []
    for keep in (True, False):
        made = gencore.recipe("pix2pix", degradation="grey", width=4, keep=keep)
        y = made.model(made.config).translate(x)  # type: ignore[attr-defined, arg-type]
        assert y.abs().max() <= 1
        lumas.append((grey(y) - x).abs().median())
    assert lumas[0] < 1e-6
    assert lumas[1] > 0.1
    holes = [gencore.recipe("pix2pix", degradation="hole:4", keep=keep).config.keeps for keep in (True, False)]  # type: ignore[attr-defined]
    assert holes == ["known", "nothing"]


def distance_to_the_nearest_weather(game_weight: float, seed: int) -> float:
    """The L1 distance of a scene made of its layout from the likest of the eight that the layout may look like."""
    recipe = gencore.recipe("pix2pix", steps=500, width=16, critic_width=16, game_weight=game_weight)
    model = trained(recipe, seed=seed, source=scenes(3000))
    index, unseen = torch.arange(200), scenes(200, split="test").further["x_input"]
    weathers = [torch.tensor(w).expand(200, -1) for w in itertools.product((0.0, 1.0), repeat=len(ATTRIBUTES))]
    painted = torch.stack([paint(unseen, w, index, seed=draws.split_seed(0, "test")) for w in weathers])
    return float((translated(model, unseen) - painted).abs().mean((2, 3, 4)).amin(0).mean())


@pytest.mark.behaviour
def test_pix2pix_makes_one_of_the_possible_pictures(measured: Any) -> None:
    """L1 from the likest of the eight scenes that a layout may look like, 500 steps: at seeds 0, 1 0.089, 0.085, twin
    (L1 alone, seed 0) 0.195. Provisional: dark pictures are near to all night scenes, and another layout's picture is
    only a tenth farther (0.099, 0.092), so this shows that the game changes what is painted, not that it is right."""
    page, twin = (distance_to_the_nearest_weather(weight, 0) for weight in (1.0, 0.0))
    measured(
        "pix2pix", "L1 to the likest of all scenes of the layout", figure=page, twin=twin, bar=0.15, better="lower"
    )
