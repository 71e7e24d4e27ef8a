"""CoGAN: shared layers are one object, and make pairs of what was never shown as pairs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from tests.plugins.default_sampler import draws_nearer

from .contrast import trained


def test_both_domains_go_through_the_shared_layers() -> None:
    """A thought that is lost is lost for both; without sharing, for one."""
    for shared, lost in ((True, (0, 1)), (False, (0,))):
        model: Any = gencore.create("cogan", width=4, shared=shared)
        z = torch.randn(3, 32)
        before = [model.paint(z, domain) for domain in (0, 1)]
        for parameter in model.thoughts[0].parameters():
            parameter.data.zero_()
        after = [model.paint(z, domain) for domain in (0, 1)]
        assert tuple(d for d in (0, 1) if not torch.equal(before[d], after[d])) == lost


def test_each_domain_is_drawn_and_judged_by_its_own_layers() -> None:
    model: Any = gencore.create("cogan", width=4)
    z, domains = torch.randn(2, 32), torch.tensor([1, 0])
    x = model.generate(z, condition=domains)
    torch.testing.assert_close(x, torch.stack([model.paint(z, 1)[0], model.paint(z, 0)[1]]))
    judged = model.judge(x, condition=domains)
    torch.testing.assert_close(judged, torch.stack([model.verdict(x, 1)[0], model.verdict(x, 0)[1]]))
    with pytest.raises(GencoreError, match="condition"):
        model.generate(z)


def pair_correlation(model: Any, n: int = 300) -> float:
    """The mean correlation of the two pictures of one z, the second inverted."""
    z = model.draw_prior(gencore.Noise(1, 0, n))
    with torch.no_grad():
        first, second = model.paint(z, 0).flatten(1), -model.paint(z, 1).flatten(1)
    first, second = (x - x.mean(1, keepdim=True) for x in (first, second))
    return torch.nn.functional.cosine_similarity(first, second).mean().item()


@pytest.mark.behaviour
def test_the_two_pictures_of_one_z_are_a_pair(measured) -> None:
    """After 600 steps of 32 at seed 0: 0.854, without sharing 0.124; after 800: 0.904, 0.412 (the data's mean picture
    is in both)."""
    page, twin = (trained("cogan", seed=0, steps=600, batch_size=32, shared=shared) for shared in (True, False))
    x = digits("test").x
    draws_nearer(page, torch.cat([x, -x]))
    measured(
        "cogan",
        "correlation of the two pictures of one code, the second inverted",
        figure=pair_correlation(page),
        twin=pair_correlation(twin),
        bar=0.7,
        better="higher",
    )
