from __future__ import annotations

import itertools

import pytest
import torch

from gencore.data.toys.showers import EDGES, LAYERS, PAPER_LAYERS, across, deposits, in_layers, showers, summary

N = torch.arange(3000)


def test_the_profile_is_the_integral_of_the_gamma_density() -> None:
    """In float64 by the midpoint rule, with a and b recovered from the draws' definition at no spread."""
    energy, none = torch.full((200,), 20.0), torch.zeros(200)
    index = torch.arange(200)
    seen = in_layers(energy, none, index).mean(0) / 20.0
    t = (torch.arange(24_000, dtype=torch.float64) + 0.5) / 1000
    b = 0.5
    a = 1 + b * (torch.tensor(2000.0, dtype=torch.float64).log() + 0.5)
    density = (a * torch.log(torch.tensor(b)) - torch.lgamma(a) + (a - 1) * t.log() - b * t).exp() / 1000
    parts = torch.stack([density[(t > low) & (t < high)].sum() for low, high in itertools.pairwise(EDGES)])
    torch.testing.assert_close(seen.double(), parts, rtol=0, atol=0.015)


def test_layers_hold_no_more_than_the_particle_has() -> None:
    energy = torch.full((3000,), 30.0)
    electromagnetic, pion = (in_layers(energy, torch.full((3000,), kind), N) for kind in (0.0, 1.0))
    assert electromagnetic.sum(1).max() <= 30.0 + 1e-4
    assert electromagnetic.sum(1).mean() > 0.93 * 30
    assert 0.5 * 30 < pion.sum(1).mean() < 0.65 * 30
    assert pion[:, 0].mean() < electromagnetic[:, 0].mean()


@pytest.mark.parametrize("shape", LAYERS)
def test_shares_sum_to_1_and_are_wider_for_pions(shape: tuple[int, int]) -> None:
    narrow, wide = (across(1, shape, torch.full((100,), kind), N[:100]) for kind in (0.0, 1.0))
    for share in (narrow, wide):
        torch.testing.assert_close(share.sum((1, 2)), torch.ones(100))
    assert (narrow.amax((1, 2)) > wide.amax((1, 2))).all()


def test_deposits_have_the_moments_of_smeared_hits() -> None:
    """A sum of Poisson(m / q) hits of q (1 +- 1/2): mean m, variance m q (1 + 1/4)."""
    for mean in (0.4, 5.0):
        drawn = deposits(torch.full((3000, 2, 3), mean), 0, N).flatten()
        error = (mean * 0.02 * 1.25 / len(drawn)) ** 0.5
        assert abs(drawn.mean().item() - mean) < 5 * error
        assert abs(drawn.var().item() / (mean * 0.02 * 1.25) - 1) < 0.06
    assert (deposits(torch.zeros(5, 2, 3), 0, N[:5]) == 0).all()


def test_the_keys_hold_the_same_deposits_in_their_units() -> None:
    batch = showers(200).fetch(torch.arange(200))
    layers = [batch[f"layer_{i}"] for i in range(3)]
    assert [tuple(layer.shape[1:]) for layer in layers] == list(LAYERS)
    torch.testing.assert_close(torch.cat([v.flatten(1) for v in layers], 1), batch["x"] * 1000)
    total, fractions, hit = summary(batch["x"])
    torch.testing.assert_close(total, batch["x"].sum(1))
    torch.testing.assert_close(fractions.sum(1), (total > 0).float())  # a late pion may leave nothing
    torch.testing.assert_close(hit[:, 0], (layers[0] > 0).float().mean((1, 2)))
    assert 0.2 < (batch["x"] == 0).float().mean() < 0.8


def test_the_response_narrows_with_energy() -> None:
    """1 / sqrt(E): 1.8% at 100 GeV and 4.4% at 10 GeV were measured, leakage included."""
    spreads = {}
    for energy in (10.0, 100.0):
        source = showers(2000, particle="electromagnetic", energy=(energy, energy * 1.0001))
        ratio = source.x.sum(1) / source.further["energy"][:, 0]
        assert 0.9 < ratio.mean() < 1.0
        spreads[energy] = ratio.std().item()
    assert 0.01 < spreads[100.0] < 0.03
    assert 0.035 < spreads[10.0] < 0.06


def test_energies_are_log_uniform_and_one_particle_may_be_asked_for() -> None:
    source = showers(4000, particle="pion", energy=(5.0, 80.0))
    logs = (source.further["energy"] / 5).log() / torch.tensor(16.0).log()
    assert 0 <= logs.min() < 0.01
    assert 0.99 < logs.max() <= 1
    assert abs(logs.mean().item() - 0.5) < 0.02
    assert (source.further["label"] == 1).all()
    assert [type(c).__name__ for c in source.conditions] == ["Attributes"]
    assert showers(5, shapes=PAPER_LAYERS).shape == (504,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"particle": "muon"}, "particle is 'muon'"),
        ({"energy": (5.0, 5.0)}, r"energy is \(5.0, 5.0\)"),
        ({"shapes": ((3, 3),)}, "shapes is"),
    ],
)
def test_bad_input_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        showers(5, **given)
