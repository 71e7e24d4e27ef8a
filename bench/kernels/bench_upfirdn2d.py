"""StyleGAN2's resamplings, forward and backward, against the textbook form: insert zeros, pad, filter, drop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gencore_kernels.upfirdn2d import setup_filter, upfirdn2d

RESAMPLINGS = {  # up, down, padding on all sides' left or top, right or bottom
    "up 2": (2, 1, (2, 1)),
    "down 2": (1, 2, (1, 1)),
    "blur": (1, 1, (2, 1)),
}
SHAPES = [(8, 128, 32, 32), (8, 3, 64, 64), (4, 512, 8, 8), (2, 64, 128, 128)]


def textbook(up: int, down: int, padding: tuple[int, int], gain: float) -> Callable[[Tensor, Tensor], Tensor]:
    def run(x: Tensor, f: Tensor) -> Tensor:
        n, c, h, w = x.shape
        inserted = functional.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1))
        padded = functional.pad(inserted.reshape(n, c, h * up, w * up), padding * 2)
        weight = (torch.outer(f, f) * gain).flip(0, 1).to(x.dtype).expand(c, 1, -1, -1)
        return functional.conv2d(padded, weight, groups=c)[:, :, ::down, ::down]

    return run


def with_gradient(form: Callable[[Tensor, Tensor], Tensor], x: Tensor, f: Tensor, g: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(form(leaf, f), leaf, g)[0]

    return run


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", RESAMPLINGS)
def test_forward_and_backward(race, name, shape) -> None:
    up, down, padding = RESAMPLINGS[name]
    gain = float(up * up)
    form = textbook(up, down, padding, gain)
    x, f = torch.randn(shape), setup_filter((1, 3, 3, 1))
    g = torch.randn_like(form(x, f))
    forms = {
        "gencore": lambda x, f: upfirdn2d(x, f, up, down, padding * 2, gain=gain),
        "textbook form": form,
        "torch.compile of it": torch.compile(form),
    }
    contestants = {who: with_gradient(run, x, f, g) for who, run in forms.items()}
    exact = with_gradient(form, x.double(), f.double(), g.double())()
    race(
        "upfirdn2d",
        f"{name}, {'x'.join(map(str, shape))}",
        contestants,
        error=lambda grad: ((grad.double() - exact).abs().max() / exact.abs().max()).item(),
        error_unit="rel. to largest",
    )
