"""Minibatch discrimination and minibatch standard deviation, forward and backward, against the forms in use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gencore_kernels.minibatch_discrimination import minibatch_discrimination
from gencore_kernels.minibatch_stddev import minibatch_stddev


def torchgan_form(m: Tensor) -> Tensor:
    """All pairs at once, as torchgan's MinibatchDiscrimination1d does it."""
    pairs = (m.unsqueeze(0) - m.unsqueeze(1)).abs().sum(dim=3)
    return torch.exp(-pairs).sum(dim=0) - 1


def cdist_form(m: Tensor) -> Tensor:
    by_feature = m.transpose(0, 1).contiguous()
    return torch.exp(-torch.cdist(by_feature, by_feature, p=1.0)).sum(dim=2).t() - 1


def stylegan_form(x: Tensor) -> Tensor:
    """Nine operations, as in the published StyleGAN2 layers."""
    c, h, w = x.shape[1:]
    y = x.reshape(4, -1, 1, c, h, w)
    y = y - y.mean(dim=0)
    y = (y.square().mean(dim=0) + 1e-8).sqrt()
    y = y.mean(dim=[2, 3, 4]).reshape(-1, 1, 1, 1).repeat(4, 1, h, w)
    return torch.cat([x, y], dim=1)


def gradient_of(function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, g)[0]

    return run


def against(function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Callable[[Tensor], float]:
    """Largest difference to the float64 gradient, relative to its largest entry."""
    exact = gradient_of(function, x.double(), g.double())()
    return lambda grad: ((grad.double() - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("shape", [(64, 32, 5), (256, 32, 16), (256, 100, 5)], ids=str)
def test_discrimination_forward_and_backward(race, shape) -> None:
    m, g = torch.randn(shape) * 0.3, torch.randn(shape[:2])
    forms = {
        "gencore": lambda m: minibatch_discrimination(m, include_self=False),
        "gencore, backend torch": lambda m: minibatch_discrimination(m, include_self=False, backend="torch"),
        "torchgan's form": torchgan_form,
        "cdist(p=1)": cdist_form,
        "torch.compile of torchgan's form": torch.compile(torchgan_form),
    }
    contestants = {name: gradient_of(form, m, g) for name, form in forms.items()}
    case = "x".join(map(str, shape))
    race("minibatch_discrimination", case, contestants, error=against(cdist_form, m, g), error_unit="rel. to largest")


@pytest.mark.parametrize("shape", [(64, 512, 4, 4), (32, 256, 16, 16)], ids=str)
def test_stddev_forward_and_backward(race, shape) -> None:
    x, g = torch.randn(shape), torch.randn(shape[0], shape[1] + 1, *shape[2:])
    forms = {
        "gencore": minibatch_stddev,
        "gencore, backend torch": lambda x: minibatch_stddev(x, backend="torch"),
        "StyleGAN2's form": stylegan_form,
        "torch.compile of it": torch.compile(stylegan_form),
    }
    contestants = {name: gradient_of(form, x, g) for name, form in forms.items()}
    case = "x".join(map(str, shape))
    race("minibatch_stddev", case, contestants, error=against(stylegan_form, x, g), error_unit="rel. to largest")
