"""3D-VAE-GAN: the pictures, the distance, who sees which term."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.voxels import voxels
from gencore.errors import GencoreError
from gencore_gan.volumes.vae_gan_3d import PicturedGame, depth_pictures, pictured, squared_distance
from tests.plugins.default_sampler import draws_nearer


def test_pictures_show_the_depth() -> None:
    """Of 4 planes along y, the first is at 1, the last at -0.5; nothing is -1; the nearest hides those behind."""
    grid = torch.zeros(1, 1, 4, 4, 4)
    grid[0, 0, 0, 0, 1] = grid[0, 0, 0, 3, 1] = grid[0, 0, 2, 3, 2] = 1
    expected = -torch.ones(1, 1, 4, 4)
    expected[0, 0, 0, 1], expected[0, 0, 2, 2] = 1.0, -0.5
    assert torch.equal(depth_pictures(grid), expected)


def test_a_source_gets_pictures_once() -> None:
    """Of its own grids; pictures that it has stay."""
    source = pictured(voxels(6), None)
    batch = source.fetch(torch.tensor([4, 1]))
    assert torch.equal(batch["x_input"], depth_pictures(batch["x"]))
    assert source.shape == (1, 12, 12, 12)

    class Own:
        def fetch(self, indices: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"x": torch.zeros(1, 1, 4, 4, 4), "x_input": torch.full((1, 1, 4, 4), 0.25)}

    assert pictured(Own(), None).fetch(torch.tensor([0]))["x_input"].unique().item() == 0.25


def game(**weights: float) -> tuple[PicturedGame, Any, dict[str, torch.Tensor]]:
    """A tiny model and a batch."""
    torch.manual_seed(0)
    recipe = gencore.recipe("3d-vae-gan", latent_dim=4, width=2)
    batch = pictured(voxels(6), None).fetch(torch.arange(6))
    given = {"most_accurate": 0.8, "kl_weight": 0.0, "reconstruction_weight": 0.0, **weights}
    return PicturedGame(**given), recipe.model(recipe.config), batch


def test_distance_is_summed_over_voxels() -> None:
    """Mean over the batch: (4 + 0) / 2."""
    assert squared_distance(torch.ones(2, 1, 2, 2), torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).item() == 2.0


def test_each_weight_has_its_term() -> None:
    """The encoder's loss is KL alone, or distance alone; the generator's game stands without both."""
    objective, model, batch = game(kl_weight=2.0)
    kl = model.encode(batch["x_input"]).kl_to_standard_normal().mean()
    assert objective.encoder(model, batch).total.item() == pytest.approx(2 * kl.item(), rel=1e-5)

    objective, model, batch = game(reconstruction_weight=0.5)
    loss = objective.encoder(model, batch)
    assert loss.total.item() == pytest.approx(0.5 * loss.metrics["distance"].item(), rel=1e-5)
    torch.manual_seed(1)
    with_it = objective.generator(model, batch)
    objective.reconstruction_weight = 0.0
    torch.manual_seed(1)
    without = objective.generator(model, batch)
    assert with_it.total.item() > without.total.item() + 1


def test_a_picture_of_another_size_is_refused() -> None:
    """By what was expected."""
    _, model, _ = game()
    with pytest.raises(GencoreError, match="12"):
        model.translate(torch.zeros(2, 1, 8, 8))


def overlap(model: Any, grids: torch.Tensor) -> float:
    """The mean over shapes of voxels in both over voxels in either, of shapes made of pictures of `grids`."""
    with torch.no_grad():
        made = model.translate(depth_pictures(grids)) > 0.5
    true = grids > 0.5
    return ((made & true).flatten(1).sum(1) / (made | true).flatten(1).sum(1)).mean().item()


@pytest.mark.behaviour
def test_a_picture_becomes_its_solid_shape(measured: Any) -> None:
    """Intersection over union with the true shapes of 300 pictures never seen, after 150 steps at a rate of 4e-3: 0.68;
    the mean shape of the data has 0.42. The twin has no reconstruction."""
    test, overlaps = voxels(300, split="test").x, []
    for weight in (1.0, 0.0):
        recipe = gencore.recipe(
            "3d-vae-gan", steps=150, batch_size=24, width=8, generator_rate=4e-3, reconstruction_weight=weight
        )
        model = gencore.Trainer(recipe, voxels(3000), seed=0, cpu=True).fit().eval()
        if weight:
            draws_nearer(model, test)
        overlaps.append(overlap(model, test))
    measured(
        "3d-vae-gan",
        "overlap of the shape made of a picture with the true one",
        figure=overlaps[0],
        twin=overlaps[1],
        bar=0.5,
        better="higher",
    )
