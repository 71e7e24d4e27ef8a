from __future__ import annotations

import pytest
import torch

from gencore.data.toys.jets import PIXEL, deposit, hit_share, jets, mass, particles


def test_momenta_sum_to_the_jets() -> None:
    index = torch.arange(2000)
    momentum, place = particles(index % 2, index)
    assert momentum.sum(1).min() >= 250
    assert momentum.sum(1).max() <= 300
    images = deposit(momentum, place)
    assert (images.sum((1, 2)) <= momentum.sum(1) + 1e-3).all()
    assert (images.sum((1, 2)) > 0.98 * momentum.sum(1)).all()
    assert images[images > 0].min() > 0.5


def test_a_particle_lands_in_its_pixel() -> None:
    place = torch.tensor([[[0.0, 0.0], [0.3, -0.2], [9.0, -9.0]]])
    image = deposit(torch.tensor([[10.0, 20.0, 30.0]]), place)[0]
    assert image.nonzero().tolist() == [[7, 7], [10, 5], [14, 0]]
    assert image[10, 5] == 20


def test_the_mass_of_two_pixels_by_hand() -> None:
    """m^2 = p q d^2 for momenta p, q at a distance d."""
    image = torch.zeros(1, 15, 15)
    image[0, 7, 7], image[0, 10, 3] = 30.0, 20.0
    torch.testing.assert_close(mass(image), torch.tensor([(30 * 20 * (5 * PIXEL) ** 2) ** 0.5]))
    image[0, 10, 3] = 0
    assert mass(image).item() < 1e-2


def test_two_prongs_are_heavier_and_as_sparse() -> None:
    one, two = (jets(2000, prongs=k).x for k in (1, 2))
    gap = (mass(two).sort().values - mass(one).sort().values).abs().mean().item()
    assert abs(gap - 39.8) < 4
    assert abs(hit_share(one).mean() - hit_share(two).mean()) < 0.02


def test_both_classes_come_as_often() -> None:
    source = jets(2000)
    assert abs(source.further["label"].float().mean().item() - 0.5) < 0.06
    assert (jets(5, prongs=2).further["label"] == 1).all()
    with pytest.raises(ValueError, match="prongs is 3; expected 1, 2, or None"):
        jets(5, prongs=3)
