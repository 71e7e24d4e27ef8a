"""The objective: each paper's loss, the minimiser of score matching, and labels that are dropped."""

from __future__ import annotations

import numpy
import pytest
import torch
from torch import Tensor

import gencore
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.edm import EDM, EDMConfig
from gencore_diffusion.ncsn import NCSN, NCSNConfig
from gencore_diffusion.parts.objective import DenoisingScoreMatching
from tests.plugins.diffusion.diffusion_models import SMALL, awake


@pytest.mark.parametrize(
    ("model", "explicit"),
    [
        (DDPM(DDPMConfig(data_shape=(4,), network=SMALL)), lambda x0, eps, s, out: eps),
        (DDPM(DDPMConfig(data_shape=(4,), network=SMALL, prediction="x0")), lambda x0, eps, s, out: x0),
        (
            DDPM(DDPMConfig(data_shape=(4,), network=SMALL, prediction="v")),
            lambda x0, eps, s, out: (eps - s * x0) / (1 + s**2).sqrt(),
        ),
        (NCSN(NCSNConfig(data_shape=(4,), network=SMALL)), lambda x0, eps, s, out: -eps),
        (
            EDM(EDMConfig(data_shape=(4,), network=SMALL, sigma_data=0.7)),
            lambda x0, eps, s, out: (s / 0.7 * x0 - 0.7 * eps) / (s**2 + 0.7**2).sqrt(),
        ),
    ],
    ids=["eps", "x0", "v", "score", "edm"],
)
def test_loss_is_the_paper_s(model: gencore.Model, explicit: object) -> None:
    """The objective on a batch equals || F - target ||^2 with each paper's own target; and the weighted x0 loss."""
    awake(model)
    x0 = torch.randn(64, 4, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(7)
    loss = DenoisingScoreMatching().loss(model, "denoiser", {"x": x0}).total
    torch.manual_seed(7)
    sigma = model.draw_sigma(64)
    eps = torch.randn_like(x0)
    s = sigma[:, None].float()
    x = x0 + s * eps
    out = model.predict(x, sigma, None)
    torch.testing.assert_close(loss, (out - explicit(x0, eps, s, out)).square().mean(), rtol=1e-3, atol=1e-4)
    weight = 1 / model.scalings(sigma).out.float().square()[:, None]
    weighted = weight * (model.denoise(x, sigma) - x0).square()
    torch.testing.assert_close(loss, weighted.mean(), rtol=1e-3, atol=1e-4)


def test_dsm_has_the_minimiser_of_score_matching() -> None:
    """Vincent's theorem on a Gaussian, by quadrature: E || s - grad log q(x | x0) ||^2 (denoising), E || s - grad log
    p(x) ||^2 (explicit) and E[ 2 div s + || s ||^2 ] (implicit, Hyvarinen) differ by the same number for every s."""
    nodes, weights = (torch.from_numpy(values) for values in numpy.polynomial.hermite_e.hermegauss(40))
    x0, eps = torch.meshgrid(nodes, nodes, indexing="ij")
    mass = weights[:, None] * weights / weights.sum() ** 2
    sigma = 0.8
    x = (x0 + sigma * eps).requires_grad_()
    truth = -x / (1 + sigma**2)

    def mean(values: Tensor) -> float:
        return (mass * values).sum().item()

    explicit_gaps, implicit_gaps = [], []
    for s in (truth, 0 * x, -0.3 * x, 0.5 - 0.1 * x**3):
        denoising = mean((s + eps / sigma).square())
        (slope,) = torch.autograd.grad(s.sum(), x, retain_graph=True)
        explicit_gaps.append(denoising - mean((s - truth).square()))
        implicit_gaps.append(denoising - mean(2 * slope + s.square()))
    assert explicit_gaps == pytest.approx([1 / sigma**2 - 1 / (1 + sigma**2)] * 4, abs=1e-9)
    assert implicit_gaps == pytest.approx([1 / sigma**2] * 4, abs=1e-9)


def test_label_drop_and_its_absence() -> None:
    """The objective shows the null label as often as asked."""
    model = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_classes=3))
    batch = {"x": torch.zeros(4000, 4), "label": torch.zeros(4000, dtype=torch.int64)}
    torch.manual_seed(0)
    for drop in (0.0, 0.2, 1.0):
        labels = DenoisingScoreMatching(label_drop=drop).labels(model, batch)
        assert (labels == 3).float().mean().item() == pytest.approx(drop, abs=0.02)
    with pytest.raises(GencoreError, match="the data have none"):
        DenoisingScoreMatching().loss(model, "denoiser", {"x": torch.zeros(2, 4)})
    with pytest.raises(GencoreError, match="integers from 0 to 2"):
        DenoisingScoreMatching().loss(model, "denoiser", {"x": torch.zeros(1, 4), "label": torch.tensor([5])})
