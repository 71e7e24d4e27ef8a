"""All image systems of the family, and the spoken one: their codes fit, and what they refuse."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.errors import GencoreError, NonFiniteError
from tests.plugins.vq.codebooks import one_step

SMALL = {"data_shape": [1, 8, 8], "width": 4, "prior_width": 8, "prior_layers": 1}
IMAGE_SYSTEMS = ("vq-vae", "grouped-vq-vae", "residual-vq-vae", "cosine-vq-vae")


@pytest.mark.parametrize("system", IMAGE_SYSTEMS)
def test_codes_fit_their_own_decoder(system: str) -> None:
    model = gencore.create(system, **SMALL).eval()
    codes = model.encode(torch.rand(3, 1, 8, 8) * 2 - 1)
    assert codes.shape == (3, *model.config.code_shape)
    assert model.generate(codes).shape == (3, 1, 8, 8)
    assert model.prior.length == codes[0].numel()


@pytest.mark.parametrize("system", IMAGE_SYSTEMS)
def test_codes_that_do_not_fit_are_refused(system: str) -> None:
    model = gencore.create(system, **SMALL).eval()
    shape, top = model.config.code_shape, model.config.num_codes
    with pytest.raises(GencoreError, match=f"0 to {top - 1}"):
        model.generate(torch.full((2, *shape), top))
    with pytest.raises(GencoreError, match="integers"):
        model.generate(torch.zeros(2, *shape))
    with pytest.raises(GencoreError, match="expected"):
        model.generate(torch.zeros(2, *shape[:-1], 3, dtype=torch.int64))


@pytest.mark.parametrize("system", [*IMAGE_SYSTEMS, "speech-vq-vae"])
def test_nan_latents_have_no_code(system: str) -> None:
    model = gencore.recipe(system).model(gencore.recipe(system).config).eval()
    x = torch.zeros(3, *model.config.data_shape)
    x[1, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="latents of 1 of 3 examples"):
        model.encode(x)


@pytest.mark.parametrize("system", [*IMAGE_SYSTEMS, "speech-vq-vae"])
def test_data_of_another_shape_or_type_are_refused(system: str) -> None:
    """A convolution would take another size; bytes must be scaled."""
    model = gencore.recipe(system).model(gencore.recipe(system).config).eval()
    channels, height, width = model.config.data_shape
    with pytest.raises(GencoreError, match=rf"\(3, {channels}, {height}, {2 * width}\).*expected floating point"):
        model.encode(torch.zeros(3, channels, height, 2 * width))
    with pytest.raises(GencoreError, match=r"uint8.*x / 127.5 - 1"):
        model.encode(torch.zeros(3, channels, height, width, dtype=torch.uint8))


@pytest.mark.parametrize("system", ["vq-vae", "grouped-vq-vae", "residual-vq-vae", "cosine-vq-vae"])
def test_the_codebook_begins_at_the_first_batch_and_only_there(system: str) -> None:
    recipe = gencore.recipe(system, num_codes=8, width=4, kmeans_iterations=3)
    torch.manual_seed(0)
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    before = {name: tensor.clone() for name, tensor in model.codebook.state_dict().items()}
    x = torch.rand(16, 1, 8, 8) * 2 - 1
    one_step(objective, model, x)
    begun = {name: tensor.clone() for name, tensor in model.codebook.state_dict().items()}
    moved = [name for name in before if name.endswith("vectors")]
    assert all(not torch.equal(before[name], begun[name]) for name in moved)
    assert objective.state_dict()["begun"].item() == 1, "kept in a checkpoint, so that a resume does not begin anew"
    objective.loss(model, "autoencoder", {"x": -x})
    assert all(torch.equal(tensor, begun[name]) for name, tensor in model.codebook.state_dict().items())
