"""The prior over codes: a distribution, causal, and sampled as it scores; also over two books."""

from __future__ import annotations

import itertools

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from gencore_vq.parts.prior import CodePrior, code_nats


def prior(num_classes: int | None = None) -> CodePrior:
    torch.manual_seed(0)
    made = CodePrior(num_codes=3, length=4, width=8, layers=2, num_classes=num_classes)
    for parameter in made.parameters():
        parameter.data.normal_(0, 0.7)
    return made.double().eval()


@pytest.mark.parametrize("label", [None, 1])
def test_sums_to_one(label: int | None) -> None:
    """Over all 3^4 sequences; a prior that saw the current code would not."""
    made = prior(None if label is None else 2)
    codes = torch.tensor(list(itertools.product(range(3), repeat=4)))
    labels = None if label is None else torch.full((len(codes),), label)
    log_prob = -code_nats(made(codes[:, :-1], labels), codes).sum(1)
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert log_prob.exp().std() > 1e-3, "not the uniform distribution"


def test_causal() -> None:
    """The logits of place i depend on every code before it, and on none from i on."""
    made = prior()
    embedded = made.code.weight[torch.tensor([[0, 1, 2]])].detach().requires_grad_()
    made.code.forward = lambda codes: embedded
    logits = made(torch.tensor([[0, 1, 2]]))
    for place in range(4):
        gradient = torch.autograd.grad(logits[0, place].square().sum(), embedded, retain_graph=True)[0][0]
        reached = gradient.abs().sum(1) > 0
        assert reached.tolist() == [past < place for past in range(3)]


def test_samples_follow_the_scores() -> None:
    """The mean log p of samples is minus the entropy, by enumeration, within four standard errors."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], num_codes=3, width=4, prior_width=8, prior_layers=1)
    for parameter in model.prior.parameters():
        parameter.data.normal_(0, 0.7)
    model.generate = lambda codes, condition=None: codes.flatten(1).float()
    samples = model.sample(2000, seed=0, batch_size=500).long()
    with torch.no_grad():
        scores = -code_nats(model.prior(samples[:, :-1]), samples).sum(1)
        every = torch.tensor(list(itertools.product(range(3), repeat=4)))
        log_prob = -code_nats(model.prior(every[:, :-1]), every).sum(1)
    entropy = -(log_prob.exp() * log_prob).sum()
    assert abs(scores.mean() + entropy) < 4 * scores.std() / 2000**0.5


def test_labels() -> None:
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=4, prior_width=8, prior_layers=1, num_classes=3)
    assert model.sample(4, condition=2).shape == (4, 1, 8, 8)
    assert model.sample(4).shape == (4, 1, 8, 8)
    with pytest.raises(GencoreError, match="from 0 to 2"):
        model.sample(4, condition=3)
    with pytest.raises(GencoreError, match="takes a label"):
        gencore.recipe("vq-vae").stages[1].objective.loss(model, "prior", {"x": torch.zeros(2, 1, 8, 8)})


def two_books() -> CodePrior:
    torch.manual_seed(0)
    made = CodePrior(num_codes=3, length=4, width=8, layers=2, num_classes=None, books=2)
    for parameter in made.parameters():
        parameter.data.normal_(0, 0.7)
    return made.double().eval()


def test_prior_over_two_books_sums_to_one() -> None:
    made = two_books()
    codes = torch.tensor(list(itertools.product(range(3), repeat=4)))
    log_prob = -code_nats(made(codes[:, :-1]), codes).sum(1)
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_each_book_has_its_own_embeddings_and_logits() -> None:
    """Places 0 and 1 belong to the first book, 2 and 3 to the second."""
    made = two_books()
    codes = torch.tensor([[1, 1, 1]])
    before = made(codes)[0]
    with torch.no_grad():
        made.code.weight[3:] += torch.linspace(-1, 1, 8)
        made.logits.bias[:3] += torch.tensor([1.0, 0.0, 0.0])
    after = made(codes)[0]
    shift = torch.tensor([1.0, 0.0, 0.0]).double()
    torch.testing.assert_close(after[:2], before[:2] + shift)
    torch.testing.assert_close(after[2], before[2])
    assert not torch.allclose(after[3], before[3]), "place 3 sees the code of place 2, which is the second book's"
