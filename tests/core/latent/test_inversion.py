"""The search for a code, against least squares in closed form: the generator is a matrix."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.conditions import ClassLabel
from gencore.errors import GencoreError, NonFiniteError
from gencore.latent.inversion import Likeness, Search, distance, invert
from gencore.noise import NoiseSource

LBFGS = Search(method="lbfgs", steps=30, learning_rate=1.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MatrixConfig(ModelConfig):
    data_shape: tuple[int, ...] = (6,)
    with_classes: bool = False


class Matrix(Model):
    """G(z) = W z, E(x) = V x; with classes, W differs from class to class."""

    config_class = MatrixConfig
    config: Any

    def __init__(self, config: MatrixConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, 6, 3, generator=generator))
        self.back = nn.Parameter(torch.randn(3, 6, generator=generator))
        self.dropout = nn.Dropout(0.5)

    @property
    def condition(self) -> ClassLabel | None:
        return ClassLabel(count=2) if self.config.with_classes else None

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        return noise.normal(3)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return x @ self.back.T

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        label = torch.zeros(len(z), dtype=torch.int64) if condition is None else condition
        return self.dropout(torch.einsum("nij,nj->ni", self.weight[label], z))


def made(**fields: Any) -> tuple[Matrix, Tensor]:
    return Matrix(MatrixConfig(**fields)), torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("search", [LBFGS, Search(steps=1500, learning_rate=0.02)])
def test_every_term_against_the_normal_equations(search: Search) -> None:
    """a |W z - x|^2 + b |A W z - A x|^2 + c/2 |z - z0|^2: (a W'W + b W'A'A W + c/2) z = a W'x + b W'A'A x + c/2 z0."""
    model, x = made()
    features = torch.randn(2, 6, generator=torch.Generator().manual_seed(2))
    center = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    a, b, c = 0.5, 0.3, 1.4
    likeness = Likeness(
        pixel_weight=a, feature_weight=b, prior_weight=c, center=center, features=lambda x: x @ features.T
    )
    found = invert(model, x, likeness=likeness, search=search)
    w, f, target = model.weight[0].double().detach(), features.double(), x.double()
    left = a * w.T @ w + b * w.T @ f.T @ f @ w + c / 2 * torch.eye(3)
    right = a * target @ w + b * target @ f.T @ f @ w + c / 2 * center.double()
    expected = torch.linalg.solve(left, right.T).T
    torch.testing.assert_close(found.z.double(), expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.x, found.z @ model.weight[0].T.detach())
    loss = (
        a * (found.x - x).square().sum(1)
        + b * ((found.x - x) @ features.T).square().sum(1)
        + c / 2 * (found.z - center).square().sum(1)
    )
    torch.testing.assert_close(found.loss, loss)


def test_the_prior_draws_codes_to_the_origin() -> None:
    """Ridge: (W'W + c/2) z = W'x; a weight of 1e6 leaves nothing of them."""
    model, x = made()
    w = model.weight[0].detach()
    found = invert(model, x, likeness=Likeness(prior_weight=3.0), search=LBFGS)
    expected = torch.linalg.solve(w.T @ w + 1.5 * torch.eye(3), (x @ w).T).T
    torch.testing.assert_close(found.z, expected, atol=1e-3, rtol=0)
    far = invert(model, x, likeness=Likeness(prior_weight=1e6), search=LBFGS)
    assert far.z.abs().max() < 1e-3


def test_masked_pixels_do_not_count() -> None:
    """With three of six pixels the code of three numbers fits them exactly, whatever the others hold."""
    model, x = made()
    mask = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = invert(model, x, likeness=Likeness(mask=mask), search=Search(method="lbfgs", steps=60, learning_rate=1.0))
    torch.testing.assert_close(found.x[:, :3], x[:, :3], atol=1e-2, rtol=0)
    each = invert(model, x, likeness=Likeness(mask=mask.expand(4, 6)), search=LBFGS)
    whole = invert(model, x, likeness=Likeness(mask=mask), search=LBFGS)
    torch.testing.assert_close(each.z, whole.z)


def test_l1_and_l2() -> None:
    a, b = torch.tensor([[[1.0, -2.0]], [[0.0, 0.0]]]), torch.tensor([[[0.0, 1.0]], [[0.0, 0.5]]])
    assert distance(a, b, "l1").tolist() == [4.0, 0.5]
    assert distance(a, b, "l2").tolist() == [10.0, 0.25]
    model, x = made()
    found = invert(model, x, likeness=Likeness(norm="l1"), search=Search(steps=50))
    torch.testing.assert_close(found.loss, (found.x - x).abs().sum(1))


@pytest.mark.parametrize("search", [Search(steps=20), Search(method="lbfgs", steps=3, learning_rate=0.5)])
def test_an_example_does_not_depend_on_its_batch(search: Search) -> None:
    model, x = made()
    together, first = invert(model, x, search=search), invert(model, x[:1], search=search)
    torch.testing.assert_close(together.z[:1], first.z, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together.z[0], invert(model, x[:1], search=search, seed=1).z[0])


def test_the_result_is_never_worse_than_the_start() -> None:
    """A rate at which Adam flies off: the start, the optimum here, is kept."""
    model, x = made()
    w = model.weight[0].detach()
    good = x @ torch.linalg.pinv(w).T
    found = invert(model, x, start=good, search=Search(steps=3, learning_rate=100.0))
    torch.testing.assert_close(found.z, good)
    torch.testing.assert_close(found.loss, found.first_loss)
    torch.testing.assert_close(found.loss, (good @ w.T - x).square().sum(1))
    fallen = invert(model, x, search=Search(steps=20))
    assert (fallen.loss < 0.9 * fallen.first_loss).all()


def test_starts() -> None:
    """With no steps the code is the start: the encoder's guess, the prior's draw, or what was given."""
    model, x = made()
    none = Search(steps=0)
    torch.testing.assert_close(invert(model, x, start="encoder", search=none).z, model.encode(x).detach())
    given = torch.ones(4, 3)
    assert torch.equal(invert(model, x, start=given, search=none).z, given)
    assert not torch.equal(invert(model, x, search=none).z, invert(model, x, search=none, seed=1).z)


def test_the_model_and_the_random_state_stay_as_they_are() -> None:
    """No gradient in the parameters, the mode as before (dropout off meanwhile), codes without a graph."""
    model, x = made()
    model.train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    found = invert(model, x, search=Search(steps=5))
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert not found.z.requires_grad
    assert not found.x.requires_grad
    torch.testing.assert_close(found.z, invert(model, x, search=Search(steps=5)).z)


def test_conditions_are_held() -> None:
    model, x = made(with_classes=True)
    label = torch.tensor([0, 1, 1, 0])
    found = invert(model, x, search=LBFGS, condition=label)
    for row in range(4):
        expected = torch.linalg.lstsq(model.weight[label[row]].detach(), x[row, :, None]).solution[:, 0]
        torch.testing.assert_close(found.z[row], expected, atol=1e-3, rtol=0)


def test_bad_arguments() -> None:
    model, x = made()
    for arguments, match in (
        ({"start": "nowhere"}, "start"),
        ({"start": torch.zeros(3, 3)}, "each of 4"),
        ({"condition": torch.zeros(4, dtype=torch.int64)}, "unconditional"),
    ):
        with pytest.raises(GencoreError, match=match):
            invert(model, x, **arguments)
    with pytest.raises(GencoreError, match="no features"):
        Likeness(feature_weight=1.0)
    with pytest.raises(GencoreError, match="prior_weight"):
        Likeness(prior_weight=-1.0)
    with pytest.raises(GencoreError, match="steps"):
        Search(steps=-1)
    with pytest.raises(GencoreError, match="no generator"):
        invert(nn.Linear(2, 2), x)
    model.weight.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError):
        invert(model, x)
