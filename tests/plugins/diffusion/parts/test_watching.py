"""Looking on while a sampler runs changes nothing, begins at noise, and ends at the sample."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore import Noise
from gencore.errors import GencoreError
from gencore_diffusion.parts.watching import Watched
from gencore_diffusion.samplers.ideal import ideal_mixture
from gencore_diffusion.samplers.names import SAMPLERS


@pytest.mark.parametrize("name", ["ddim", "heun", "ddpm"])
def test_a_watched_model_samples_the_same(name: str) -> None:
    model = ideal_mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.1)
    sampler = SAMPLERS[name](steps=12)
    watched = Watched(model, 5)
    plain = sampler.sample(model, Noise(3, 0, 5))
    assert torch.equal(sampler.sample(watched, Noise(3, 0, 5)), plain)
    states, clean = (torch.stack(tensors) for tensors in zip(*watched.seen, strict=True))
    assert states.shape == clean.shape == (len(watched.seen), 5, 2)
    assert len(watched.seen) >= 12
    torch.testing.assert_close(states[0], Noise(3, 0, 5).normal(2), atol=0.1, rtol=0)
    torch.testing.assert_close(clean[-1], plain, atol=0.05, rtol=0)
    assert (clean[0] - plain).norm() > (clean[-1] - plain).norm()


@pytest.mark.parametrize("system", ["ddpm", "edm", "ncsn"])
def test_every_model_of_the_family_is_watched(system: str) -> None:
    torch.manual_seed(0)
    model = gencore.create(system, data_shape=[1, 8, 8])
    seen = model.watch(2, frames=4, seed=1, steps=6)
    assert seen.shape == (2, 2, 4, 1, 8, 8)
    assert seen.isfinite().all()
    again = model.watch(3, frames=4, seed=1, steps=6)
    torch.testing.assert_close(again[:2], seen, atol=1e-4, rtol=0)
    with pytest.raises(GencoreError, match="frames"):
        model.watch(1, frames=1)


def test_under_guidance_the_labelled_half_is_kept() -> None:
    torch.manual_seed(0)
    model = gencore.create("ddpm", data_shape=[1, 8, 8], num_classes=4)
    assert model.watch(2, frames=3, condition=1, guidance=2.0, steps=5).shape == (2, 2, 3, 1, 8, 8)
