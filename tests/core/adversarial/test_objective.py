"""The adversarial objective, on a model whose loss can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gencore import Adam, Loss
from gencore.adversarial.losses import wasserstein
from gencore.adversarial.objective import Adversarial, AdversarialLosses, generator_average, two_players
from gencore.adversarial.penalties import GradientPenalty
from gencore.noise import NoiseSource

X = {"x": torch.tensor([[1.0, 2.0], [3.0, 5.0]])}


class Toy(nn.Module):
    """D(x) = c . x, G(z) = b for every z, with c = (1, 2) and b = (3, -1): D(G(z)) = 1."""

    condition = None

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.generator = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0, -1.0]))

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        return noise.normal(4)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return x @ self.critic

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        assert z.shape == (2, 4)
        return self.generator.expand(len(z), 2)


def fixed(value: float, name: str) -> Any:
    return lambda judge, real, fake: Loss(value * judge(real - fake).sum(), {name: torch.tensor(value)})


def test_the_critics_loss_is_the_sum_of_its_terms() -> None:
    """D(x) is 5 and 13, D(G(z)) 1; each penalty sees the two examples and the two generated ones."""
    model = Toy()
    loss = Adversarial(wasserstein, penalties=(fixed(0.25, "a"), fixed(10.0, "b"))).loss(model, "critic", X)
    assert loss.total.item() == (1 - 9) + 0.25 * 16 + 10 * 16
    assert {name: value.item() for name, value in loss.metrics.items()} == {"real": 9, "fake": 1, "a": 0.25, "b": 10}
    loss.total.backward()
    assert model.generator.grad is None
    assert model.critic.grad is not None


def test_the_generators_loss_is_of_generated_examples() -> None:
    model = Toy()
    loss = Adversarial(wasserstein, penalties=(fixed(10.0, "a"),)).loss(model, "generator", X)
    assert loss.total.item() == -1
    loss.total.backward()
    torch.testing.assert_close(model.generator.grad, torch.tensor([-1.0, -2.0]))


def test_judgements_are_float32_in_the_losses() -> None:
    seen = []
    losses = AdversarialLosses(
        lambda real, fake: seen.extend([real.dtype, fake.dtype]) or fake.sum(), lambda fake: seen.append(fake.dtype)
    )
    model, half = Toy().bfloat16(), {"x": X["x"].bfloat16()}
    Adversarial(losses).loss(model, "critic", half)
    Adversarial(losses).loss(model, "generator", half)
    assert seen == [torch.float32] * 3


def test_what_follows_the_critics_step() -> None:
    called: list[Any] = []
    objective, model = Adversarial(wasserstein, after_critic=called.append), Toy()
    objective.after_step(model, "generator", [])
    assert called == []
    objective.after_step(model, "critic", [])
    assert called == [model]
    Adversarial(wasserstein).after_step(model, "critic", [])


def test_a_penalty_differentiates_the_critic_twice() -> None:
    assert Adversarial(wasserstein).double_backward == ()
    assert Adversarial(wasserstein, penalties=(GradientPenalty(),)).double_backward == ("critic",)


def test_two_players_take_turns() -> None:
    objective, optimizer = Adversarial(wasserstein), Adam()
    (stage,) = two_players(objective, optimizer, steps=7, critic_steps=5)
    assert (stage.steps, stage.objective) == (7, objective)
    turns = [(phase.name, phase.parts, phase.repeats, phase.optimizer) for phase in stage.phases]
    assert turns == [("critic", ("critic",), 5, optimizer), ("generator", ("generator",), 1, optimizer)]


def test_the_generators_average() -> None:
    (average,) = generator_average(0.9)
    assert (average.decay, average.parts) == (0.9, ("generator",))
    assert generator_average(0.0) == ()


def test_the_penalty_draws_one_place_on_each_segment() -> None:
    """From (0, 0) to (1, 1) the points are t (1, 1), all along; D(u) = |u|^2 / 2 has slope sqrt(2) t there."""
    real, fake = torch.ones(20_000, 2, dtype=torch.float64), torch.zeros(20_000, 2, dtype=torch.float64)
    seen = []

    def judge(u: Tensor) -> Tensor:
        seen.append(u.detach())
        return u.square().sum(1) / 2

    torch.manual_seed(0)
    loss = GradientPenalty(weight=1.0, center=0.0)(judge, real, fake)
    assert loss.total.item() == pytest.approx(2 / 3, abs=0.02)
    (points,) = seen
    torch.testing.assert_close(points[:, 0], points[:, 1])
    assert points.min() < 0.01
    assert points.max() > 0.99
