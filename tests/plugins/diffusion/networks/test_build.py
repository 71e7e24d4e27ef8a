"""The networks: what their outputs depend on, their configs, and what these refuse."""

from __future__ import annotations

import pytest
import torch

from gencore.config import from_json, to_json
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.networks.build import DenseConfig, NetworkConfig, build_network, network_config
from gencore_diffusion.networks.dit import DiTConfig
from gencore_diffusion.networks.unet import UNet, UNetConfig
from tests.plugins.diffusion.diffusion_models import awake

NETWORKS: list[NetworkConfig] = [
    UNetConfig(channels=(8, 16), attention=(False, True), head_dim=8),
    UNetConfig(channels=(8, 8, 16), attention=(False,) * 3, head_dim=8, blocks=2, symmetric_padding=False),
    UNetConfig(channels=(8, 16), attention=(False, True), head_dim=8, patch_size=2, passes=True),
    DiTConfig(width=16, depth=2, heads=2),
    DenseConfig(hidden=16, layers=2),
]


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: type(c).__name__)
def test_networks(config: NetworkConfig) -> None:
    """x's shape; the output depends on level, label and every pixel; examples do not see each other."""
    network = awake(build_network(config, data_shape=(2, 8, 8), num_classes=3)).eval()
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    level, label = torch.tensor([10.0, 500.0]), torch.tensor([0, 3])
    out = network(x, level, label)
    assert out.shape == x.shape
    assert not torch.allclose(network(x, level.flip(0), label), out, atol=1e-3)
    assert not torch.allclose(network(x, level, label.flip(0)), out, atol=1e-3)
    (slope,) = torch.autograd.grad(out[0].square().sum(), x)
    assert (slope[0] != 0).all()
    assert (slope[1] == 0).all()


CASES = [(None, False), (2, False), (2, True)]


def test_a_picture_in_patches_passes_a_unet_by() -> None:
    """As much of it as its noise level says; what else is predicted beside it gets none of it."""
    config = UNetConfig(channels=(8, 16), head_dim=8, patch_size=2, passes=True)
    network = UNet(config, image_channels=2, num_classes=None, out_channels=4)
    assert network.passed is not None
    x, level = torch.randn(3, 2, 8, 8), torch.tensor([1.0, 50.0, 900.0])
    assert not network(x, level, None).any()
    torch.nn.init.normal_(network.passed.weight)
    shares = network.passed(torch.nn.functional.silu(network.embedding(level, None)))[:, :, None, None]
    assert shares.unique().numel() == 3
    torch.testing.assert_close(network(x, level, None), torch.cat([shares * x, 0 * x], 1))
    named = [network_config("unet", width=16, depth=1, patch_size=patch, clean=clean) for patch, clean in CASES]
    assert [made.passes for made in named if isinstance(made, UNetConfig)] == [False, True, False]


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: type(c).__name__)
def test_config_round_trip_and_meta(config: NetworkConfig) -> None:
    """The union of network configs survives JSON; a model is made without memory."""
    made = DDPMConfig(data_shape=(1, 8, 8), network=config)
    assert from_json(DDPMConfig, to_json(made)) == made
    with torch.device("meta"):
        assert DDPM(made).device.type == "meta"


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (UNetConfig, {"channels": (30,)}, "multiples of norm_groups"),
        (UNetConfig, {"attention": (True,)}, "one flag for each"),
        (UNetConfig, {"head_dim": 7}, "head_dim is 7"),
        (DiTConfig, {"heads": 5}, "width is 96"),
        (DenseConfig, {"hidden": 7}, "hidden is 7"),
    ],
)
def test_bad_configs(config: type, changes: dict[str, object], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        config(**changes)
