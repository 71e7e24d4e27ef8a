"""Figures of merit: the distance by hand, and a model that names some."""

from __future__ import annotations

import scipy.stats
import torch
from torch import Tensor

import gencore
from gencore.data.toys.showers import showers
from gencore.evaluation import Options, evaluate
from gencore.evaluation.merits import quantile_distance


def test_distance_is_scipy_s_and_zero_for_the_same() -> None:
    a, b = torch.randn(60, 2), torch.randn(60, 2) * 2 + 1
    expected = [scipy.stats.wasserstein_distance(a[:, i], b[:, i]) for i in range(2)]
    torch.testing.assert_close(quantile_distance(a, b), torch.tensor(expected), check_dtype=False)
    assert quantile_distance(a, torch.cat([a, a])).max() < 1e-6


def test_of_a_calogan() -> None:
    """One figure a figure of merit, under the real showers' energies; a shower machine that draws them all again, and
    one that leaves half of the energy behind."""
    source = showers(64, split="test")
    model = gencore.create("calogan", hidden=[8], width=1, latent_dim=4).eval()

    def drawn(share: float) -> dict[str, float]:
        def generate(z: Tensor, *, condition: Tensor | None = None) -> Tensor:
            assert condition is not None
            at = (source.further["attributes"] - condition[:, None, 0, None]).abs().squeeze(-1).argmin(1)
            return share * source.x[at]

        model.generate = generate
        report = evaluate(model, source, metrics=("merit",), options=Options(n=64, resamples=5))
        for figure in report.figures:
            assert figure.low <= figure.value <= figure.high
            assert figure.measured["distance"] == "Wasserstein-1"
        return {figure.name: figure.value for figure in report.figures}

    same, half = drawn(1.0), drawn(0.5)
    assert {"response", "layer 0 fraction", "layer 2 sparsity", "layer 1 width eta"} <= same.keys()
    assert max(same.values()) < 1e-6
    assert half["response"] > 0.3
    assert half["layer 0 fraction"] < 1e-6
