"""One model class, three uses: a density of pictures, a prior over codes, a decoder's pixels. Each sums to one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.densities import draw_levels, picture_density
from gencore.errors import GencoreError, UnknownNameError
from gencore.nn.levels import from_levels

SYSTEM = "gated-pixelcnn"
SMALL = {"width": 8, "layers": 2}


def moved(model: Any, size: float = 0.4) -> Any:
    """Away from its first weights, in float64."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.add_(size * torch.randn_like(parameter))
    return model.double().eval()


def all_codes(values: int, *shape: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(values), repeat=math.prod(shape)))).view(-1, *shape)


def vq_vae(**arguments: Any) -> Any:
    sizes = {"data_shape": (1, 8, 8), "num_codes": 3, "width": 4, "prior_width": 8, "prior_layers": 2}
    return moved(gencore.create("vq-vae", prior=SYSTEM, **{**sizes, **arguments}))


def pixel_vae() -> Any:
    sizes = {"data_shape": (1, 3, 3), "latent_dim": 2, "hidden": (8,), "feature_maps": 2, "pixel_width": 6}
    recipe = gencore.recipe("pixel-vae", pixels=SYSTEM, **sizes)
    return moved(recipe.model(recipe.config))


def test_they_are_one_class() -> None:
    (kind,) = {type(gencore.create(SYSTEM)), type(vq_vae().prior.density), type(pixel_vae().pixels)}
    assert kind.__name__ == "GatedPixelCNN"


@torch.no_grad()
def test_pictures_sum_to_one() -> None:
    model = moved(picture_density(SYSTEM, data_shape=(1, 2, 2), levels=3, **SMALL))
    nats = model.log_prob(from_levels(all_codes(3, 1, 2, 2), 3))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert nats.std() > 0.1


@pytest.mark.parametrize("classes", [None, 2])
@torch.no_grad()
def test_codes_sum_to_one(classes: int | None) -> None:
    """Over all 3^4 grids, for the class that is given; the mean of all grids' nats is what the objective says."""
    model = vq_vae(num_classes=classes)
    codes = all_codes(3, 2, 2)
    label = None if classes is None else torch.ones(len(codes), dtype=torch.int64)
    each = torch.stack(
        [model.prior.mean_nats(codes[i : i + 1], None if label is None else label[:1]) for i in range(81)]
    )
    assert (-4 * each).exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert model.prior.mean_nats(codes, label).item() == pytest.approx(each.mean().item())
    if classes:
        assert model.prior.mean_nats(codes, label) != model.prior.mean_nats(codes, torch.zeros_like(label))


@torch.no_grad()
def test_the_codes_of_several_books_sum_to_one() -> None:
    """A book is a channel."""
    model = gencore.create("residual-vq-vae", prior=SYSTEM, data_shape=(1, 4, 4), num_codes=3, width=4, books=3,
                           prior_width=6, prior_layers=2)  # fmt: skip
    prior, codes = moved(model).prior, all_codes(3, 3, 1, 1)
    each = torch.stack([prior.mean_nats(codes[i : i + 1], None) for i in range(27)])
    assert (-3 * each).exp().sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("system", ["gated-pixelcnn", "pixelcnn", "pixelrnn-row-lstm"])
@torch.no_grad()
def test_the_numbers_of_codes_mean_nothing(system: str) -> None:
    """Codes by other names, the rows of their vectors and logits named anew: the same nats. Grey levels cannot: the
    middle one is between the others."""
    model = moved(gencore.create("vq-vae", prior=system, data_shape=(1, 8, 8), num_codes=3, width=4, prior_width=8,
                                 prior_layers=2))  # fmt: skip
    codes, names = all_codes(3, 2, 2)[::7], torch.tensor([2, 0, 1])
    before = torch.stack([model.prior.mean_nats(each[None], None) for each in codes])
    network = model.prior.density.network
    for rows in (network.vectors.weight, network.network.output.weight, network.network.output.bias):
        rows[names] = rows.clone()
    after = torch.stack([model.prior.mean_nats(names[each[None]], None) for each in codes])
    torch.testing.assert_close(after, before)
    assert before.std() > 0.01


@torch.no_grad()
def test_pixels_given_z_sum_to_one() -> None:
    model, x = pixel_vae(), from_levels(all_codes(2, 1, 3, 3), 2)
    nats = [model.generate(z.expand(512, 2)).log_prob(x) for z in torch.randn(2, 2).double()]
    for each in nats:
        assert each.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert (nats[0] - nats[1]).abs().max() > 1e-2, "z changes nothing"


@torch.no_grad()
def test_each_draws_as_it_scores() -> None:
    """Mean log p of 2,000 draws of codes, and of pixels for one z, is minus the entropy, within 4 standard errors."""
    vq, codes = vq_vae(), all_codes(3, 2, 2)
    vae, x, z = pixel_vae(), from_levels(all_codes(2, 1, 3, 3), 2), torch.tensor([[0.5, -1.0]]).double()
    vae_log_prob = vae.generate(z.expand(512, 2)).log_prob(x)
    drawn_codes = vq.prior.draw(gencore.Noise(0, 0, 2000), None, 1.0, None).view(-1, 1, 2, 2)
    noise = gencore.Noise(0, 0, 500)
    drawn_x = vae.generate(z.expand(500, 2)).draw(noise, 4)
    assert drawn_x.shape == (4, 500, 1, 3, 3)
    cases = (
        (
            vq.prior.density.log_prob(from_levels(codes[:, None], 3)),
            vq.prior.density.log_prob(from_levels(drawn_codes, 3)),
        ),
        (vae_log_prob, vae.generate(z.expand(2000, 2)).log_prob(drawn_x.flatten(0, 1))),
    )
    for every, scores in cases:
        entropy = -(every.exp() * every).sum()
        assert abs(scores.mean() + entropy) < 4 * scores.std() / 2000**0.5


def test_gradients_reach_the_maps() -> None:
    """And so the encoder and decoder before them."""
    model = pixel_vae()
    z = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    model.generate(z).log_prob(from_levels(all_codes(2, 1, 3, 3)[:4], 2)).sum().backward()
    assert z.grad.abs().min() > 0


def test_both_are_saved_trained_and_drawn(tmp_path: Any) -> None:
    from gencore.data import open_source
    from gencore.training.trainer import Trainer

    sizes = {"vq-vae": {"prior": SYSTEM, "prior_steps": 2, "prior_width": 8, "prior_layers": 2, "width": 4}}
    sizes["pixel-vae"] = {"pixels": SYSTEM, "pixel_width": 8, "hidden": (8,), "feature_maps": 2}
    for system, arguments in sizes.items():
        recipe = gencore.recipe(system, steps=2, batch_size=8, **arguments)
        model = Trainer(recipe, open_source("digits"), cpu=True).fit().eval()
        model.system = system
        model.save_pretrained(tmp_path / system)
        again = gencore.from_pretrained(tmp_path / system)
        assert torch.equal(again.sample(3, seed=1), model.sample(3, seed=1))
        assert again.sample(3).shape == (3, 1, 8, 8)


def test_other_systems_serve_too() -> None:
    """All whose configs have levels and layers."""
    for system in ("pixelcnn", "pixelrnn-row-lstm", "pixelrnn-diagonal-bilstm"):
        density = picture_density(system, data_shape=(1, 2, 3), levels=5, **SMALL)
        codes = draw_levels(density, gencore.Noise(0, 0, 20), temperature=0.5)
        assert codes.shape == (20, 1, 2, 3)
        assert 0 <= int(codes.min()) <= int(codes.max()) < 5


def test_bad_densities() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gated-pixelcnn'"):
        gencore.create("vq-vae", prior="gated-pixelcn")
    with pytest.raises(GencoreError, match="dcgan is no density of pictures of levels"):
        gencore.create("vq-vae", prior="dcgan")
    with pytest.raises(GencoreError, match="no field 'num_classes'"):
        gencore.create("vq-vae", prior="pixelcnn", num_classes=3)
    with pytest.raises(GencoreError, match="no field 'input_shape'"):
        gencore.create("pixel-vae", pixels="pixelcnn")
    with pytest.raises(GencoreError, match="no field 'layers'"):
        gencore.create("vq-vae", prior="wavenet")
