"""The shared parts: networks for any size, the critic's field, the pool, the terms, the feature distance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gencore.errors import GencoreError
from gencore.noise import Noise
from gencore.testing import run_processes
from gencore_translation.parts.critics import least_side, patch_critic, receptive_field
from gencore_translation.parts.norms import Norm
from gencore_translation.parts.padding import filled_up
from gencore_translation.parts.perceptual import FeatureNet, PerceptualDistance
from gencore_translation.parts.pool import ImagePool
from gencore_translation.parts.resnet import ResNetTranslator
from gencore_translation.parts.terms import weighted_sum
from gencore_translation.parts.unet import UNet


def test_filled_up_mirrors_with_the_edge_repeated() -> None:
    x = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 1, 2, 3)
    filled = filled_up(x, 4, 8)
    assert filled.shape == (1, 1, 8, 8)
    assert filled[0, 0, 5].tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert filled_up(filled, 8) is filled


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (16, 16), (33, 18)])
def test_translators_take_any_size(size: tuple[int, int], norm: Norm) -> None:
    x = torch.rand(2, 2, *size) * 2 - 1
    nets = (
        UNet(2, 3, width=4, depth=3, norm=norm, dropout=0.5),
        ResNetTranslator(2, 3, width=4, blocks=1, norm=norm),
        ResNetTranslator(2, 3, width=4, blocks=1, halvings=0, norm=norm),
    )
    for net in nets:
        made = net(x)
        assert made.shape == (2, 3, *size)
        assert made.isfinite().all()
        assert made.abs().max() <= 1


def test_a_picture_that_is_filled_up_is_the_filled_picture_cut() -> None:
    x = torch.rand(1, 1, 9, 13)
    for net in (UNet(1, 1, width=4, depth=2, norm="none").eval(), ResNetTranslator(1, 1, width=4, blocks=1)):
        torch.testing.assert_close(net(x), net(filled_up(x, 4))[..., :9, :13], rtol=0, atol=0)


def test_unet_has_the_layers_of_the_paper() -> None:
    net = UNet(3, 3, width=64, depth=8, norm="batch", dropout=0.5)
    channels = [layer[0].out_channels for layer in net.down]  # type: ignore[index]
    assert channels == [64, 128, 256, 512, 512, 512, 512, 512]
    norms = [len(layer) - 1 for layer in (*net.down, *net.up)]  # type: ignore[arg-type]
    assert norms == [0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    # By hand: convolutions 3*64, 64*128, 128*256, 256*512, 4 * 512*512 and back with joined maps, times 16.
    down = 3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 4 * 512 * 512
    up = 512 * 512 + 3 * 1024 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128 * 3
    biases, affine = 64 + 512 + 3, 2 * (128 + 256 + 4 * 512) + 2 * (64 + 128 + 256 + 4 * 512)
    assert sum(p.numel() for p in net.parameters()) == 16 * (down + up) + biases + affine


def test_unet_joins_the_maps_of_the_way_down() -> None:
    """With the innermost level silenced the picture still gets through, and through the outer joint alone."""
    net = UNet(1, 1, width=4, depth=3, norm="none").eval()
    with torch.no_grad():
        for level in (1, 2):
            net.up[level][0].weight.zero_()  # type: ignore[index]
            net.up[level][0].bias.zero_()  # type: ignore[index]
    x = torch.rand(1, 1, 8, 8)
    assert (net(x) - net(-x)).abs().max() > 1e-3


def test_dropout_is_the_noise_of_training_and_of_a_noise_that_is_given() -> None:
    net = UNet(1, 1, width=8, depth=4, norm="none", dropout=0.5)
    x = torch.rand(2, 1, 16, 16)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    first, again = (net(x, Noise(3, 0, 2)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, net(x, Noise(4, 0, 2)))
    torch.testing.assert_close(net(x[1:], Noise(3, 1, 1)), first[1:])


def test_dropout_keeps_the_mean() -> None:
    net = UNet(1, 1, width=8, depth=3, norm="none", dropout=0.25)
    h = torch.ones(1, 2, 200, 200)
    for dropped in (net._dropped(h, None), net._dropped(h, Noise(0, 0, 1))):
        assert sorted(dropped.unique().tolist()) == pytest.approx([0, 4 / 3])
        assert dropped.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("halvings", "field"), [(0, 7), (1, 16), (2, 34), (3, 70)])
def test_the_critics_field_is_what_the_gradient_says(halvings: int, field: int) -> None:
    """Every weight is 1, so that nothing cancels; the picture is large enough for a logit far from its border."""
    critic = patch_critic(1, width=1, halvings=halvings, norm="none")
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(1.0)
    x = torch.ones(1, 1, 160, 160, requires_grad=True)
    logits = critic(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert x.grad is not None
    seen = x.grad[0, 0].nonzero()
    extent = (seen.amax(0) - seen.amin(0) + 1).tolist()
    assert extent == [field, field]
    assert receptive_field(critic) == field


@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_least_side(halvings: int) -> None:
    critic, side = patch_critic(3, width=2, halvings=halvings), least_side(halvings)
    assert patch_critic(3, width=2, halvings=halvings, norm="none")(torch.zeros(1, 3, side, side)).shape[-2:] == (1, 1)
    with pytest.raises((RuntimeError, ValueError)):
        critic(torch.zeros(1, 3, side - 1, side - 1))


def test_pool_shows_the_new_until_it_is_full_and_then_old_ones_half_of_the_time() -> None:
    torch.manual_seed(0)
    pool = ImagePool(4, (1, 1, 1))
    new = torch.full((1000, 1, 1, 1), 9.0)
    for value in (1.0, 2.0, 3.0):
        pool.take(torch.full((1, 1, 1, 1), value))
        assert torch.equal(pool.shown(new), new)
    pool.take(torch.full((1, 1, 1, 1), 4.0))
    shown = pool.shown(new).flatten()
    counts = [int((shown == value).sum()) for value in (1, 2, 3, 4, 9)]
    assert sum(counts) == 1000
    assert 450 < counts[-1] < 550
    assert min(counts[:-1]) > 90
    pool.take(torch.tensor([5.0, 6.0]).view(2, 1, 1, 1))
    assert pool.pictures.flatten().tolist() == [5, 6, 3, 4]
    pool.take(torch.arange(10.0, 17.0).view(7, 1, 1, 1))
    assert sorted(pool.pictures.flatten().tolist()) == [13, 14, 15, 16]


def test_pool_without_places_shows_the_new() -> None:
    pool, fake = ImagePool(0, (1, 2, 2)), torch.rand(3, 1, 2, 2)
    pool.take(fake)
    assert pool.shown(fake) is fake
    with pytest.raises(GencoreError, match="pool_size"):
        ImagePool(-1, (1, 2, 2))


def take_on_each() -> dict[str, Tensor]:
    """What the pool of each of two processes holds after one batch of two."""
    from accelerate import Accelerator

    from gencore.distributed import process_rank

    Accelerator(cpu=True)

    pool = ImagePool(4, (1,))
    pool.take(torch.tensor([[1.0], [2.0]]) + 10 * process_rank())
    return {"pictures": pool.pictures.flatten()}


@pytest.mark.slow
def test_pools_of_two_processes_are_equal(tmp_path: Path) -> None:
    first, second = run_processes(take_on_each, 2, tmp_path)
    assert first["pictures"].tolist() == second["pictures"].tolist() == [1, 2, 11, 12]


def test_weighted_sum() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    loss = weighted_sum({"game": (1.0, 2 * x), "l1": (100.0, x)})
    assert loss.total.item() == 306
    assert {name: value.item() for name, value in loss.metrics.items()} == {"game": 6, "l1": 3}
    assert not any(value.requires_grad for value in loss.metrics.values())


@pytest.mark.parametrize("normalised", [False, True])
def test_perceptual_distance(normalised: bool) -> None:
    distance = PerceptualDistance(normalised=normalised)
    assert not any(p.requires_grad for p in distance.parameters())
    x, y = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12)
    assert distance(x, x) == 0
    assert torch.equal(distance(x, y), PerceptualDistance(normalised=normalised)(x, y))
    x.requires_grad_()
    distance(x, y).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert distance(y[:, :1], y[:, :1].expand(-1, 3, -1, -1)) == 0


def test_the_normalised_distance_is_of_directions() -> None:
    """|u - v|^2 of unit vectors over channels, mean over places; a factor on the features changes nothing."""

    class Maps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    x, y = torch.rand(2, 3, 4, 5) + 0.1, torch.rand(2, 3, 4, 5) + 0.1
    expected = 2 - 2 * torch.cosine_similarity(x, y, dim=1).mean()
    distance = PerceptualDistance(Maps(), normalised=True)
    torch.testing.assert_close(distance(x, y), expected)
    torch.testing.assert_close(distance(3 * x, y), expected)
    torch.testing.assert_close(PerceptualDistance(Maps())(x, y), (x - y).square().mean())


def test_the_first_layer_of_the_features_is_orthogonal() -> None:
    """It keeps the length of a patch, but for the rectifier's sqrt 2."""
    net = FeatureNet()
    weight = net.get_buffer("weight_0").flatten(1).double() / 2**0.5
    torch.testing.assert_close(weight @ weight.T, torch.eye(16).double(), rtol=0, atol=1e-6)
    assert [m.shape[1:] for m in net(torch.zeros(1, 1, 9, 9))] == [(16, 9, 9), (32, 5, 5), (64, 3, 3)]
    assert torch.equal(net.get_buffer("weight_3"), FeatureNet().get_buffer("weight_3"))


def test_any_module_may_give_the_features() -> None:
    network = nn.Conv2d(1, 2, 3).train()
    distance = PerceptualDistance(network).train()
    assert not network.training
    x, y = torch.rand(1, 1, 5, 5), torch.rand(1, 1, 5, 5)
    expected = (network(x) - network(y)).square().mean()
    torch.testing.assert_close(distance(x, y), expected)
