"""Channels-last weights compute what they computed before, to the second derivative and through the optimiser."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import gencore
from gencore.data import digits
from gencore.nn.memory_format import put_channels_last


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1),
        nn.Softplus(),
        nn.ConvTranspose2d(8, 6, 4, 2, 1),
        nn.Softplus(),
        nn.Conv2d(6, 1, 8),
        nn.Flatten(),
    )


def steps(net: nn.Module, count: int) -> list[torch.Tensor]:
    """Adam steps on a loss with a gradient penalty, which differentiates twice."""
    adam = gencore.Adam(learning_rate=1e-3).build(list(net.parameters()))
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(count):
        real = x.clone().requires_grad_()
        value = net(real)
        (slope,) = torch.autograd.grad(value.sum(), real, create_graph=True)
        adam.zero_grad()
        (value.mean() + slope.square().mean()).backward()
        adam.step()
    return [parameter.detach() for parameter in net.parameters()]


def test_training_steps_are_the_same() -> None:
    plain, other = network(), network()
    put_channels_last(other)
    assert other[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not other[0].weight.is_contiguous()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    for one, two in zip(steps(other, 5), steps(plain, 5), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_a_single_channel_is_marked_too() -> None:
    convolution = nn.Conv2d(1, 4, 3)
    put_channels_last(convolution)
    assert convolution.weight.stride() == (9, 1, 3, 1)


def test_computed_and_tied_weights_are_left_whole() -> None:
    net = nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3))
    net[2].weight = net[1].weight
    expected = copy.deepcopy(net.state_dict())
    put_channels_last(net)
    assert net[2].weight is net[1].weight
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize("system", ["dcgan", "vq-vae"])
def test_the_trainer_lays_them_out_and_they_are_saved_as_ever(system: str, tmp_path) -> None:
    trainer = gencore.Trainer(gencore.recipe(system, steps=2, batch_size=8), digits("train"), cpu=True)
    model = trainer.fit()
    last = [p for p in model.parameters() if p.dim() == 4 and not p.is_contiguous()]
    assert last
    model.save_pretrained(tmp_path / "model")
    loaded = gencore.from_pretrained(tmp_path / "model")
    for name, tensor in loaded.state_dict().items():
        assert tensor.is_contiguous()
        assert torch.equal(tensor, model.state_dict()[name])
