"""Virtual batch normalisation against torch's batch normalisation of the reference batch and one example."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import gencore
from gencore.errors import GencoreError
from gencore_gan.parts.virtual_batch_norm import VirtualBatchNorm


def test_is_batch_normalisation_with_the_reference_batch() -> None:
    torch.manual_seed(0)
    layer = VirtualBatchNorm(3, 5).double()
    torch.nn.init.normal_(layer.weight), torch.nn.init.normal_(layer.bias)
    reference, x = 2 + torch.randn(5, 3, 4, 4, dtype=torch.float64), 3 * torch.randn(2, 3, 4, 4, dtype=torch.float64)

    def batch_norm(rows: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(rows, None, None, layer.weight, layer.bias, training=True)

    passed = layer(torch.cat([reference, x]))
    torch.testing.assert_close(passed[:5], batch_norm(reference))
    for row, got in zip(x, passed[5:], strict=True):
        torch.testing.assert_close(got, batch_norm(torch.cat([reference, row[None]]))[5])


def test_others_in_the_batch_do_not_matter() -> None:
    """In training mode, too, where batch normalisation mixes them."""
    torch.manual_seed(0)
    z = torch.randn(6, 64)
    for reference_batch, alone in ((8, True), (0, False)):
        recipe = gencore.recipe("improved-gan", width=8, reference_batch=reference_batch)
        model = recipe.model(recipe.config).train()
        assert torch.allclose(model.generate(z)[:2], model.generate(z[:2]), atol=1e-5) == alone


def test_reference_batch_is_kept_with_the_model(tmp_path) -> None:
    model = gencore.create("improved-gan", width=8, reference_batch=4).eval()
    model.save_pretrained(tmp_path / "saved")
    loaded = gencore.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded.generator[0].reference, model.generator[0].reference)
    assert torch.equal(loaded.sample(2), model.sample(2))


@pytest.mark.parametrize("wrong", [{"reference_batch": 1}, {"reference_batch": 4, "generator_norm": "none"}])
def test_bad_arguments(wrong: dict) -> None:
    with pytest.raises(GencoreError, match=list(wrong)[-1]):
        gencore.recipe("improved-gan", **wrong)
