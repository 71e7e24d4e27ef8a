"""GoGAN: rank losses by hand, stages that begin as copies, and a critic that ranks two given generators."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import gencore
from gencore.data import gaussian
from gencore_gan.objectives.gogan import GoGAN, GoGANConfig, Ranking, begin_stage, rank_loss

TINY = GoGANConfig(data_shape=(2,), latent_dim=3, hidden=(8,), num_stages=3)


def test_the_rank_loss_by_hand() -> None:
    """Margins 0.5 + 1 - 2 < 0, 0.5 + 1 - 1 and 0.5 + 3 - 1."""
    loss = rank_loss(torch.tensor([2.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 3.0]), 0.5)
    assert loss.item() == pytest.approx((0 + 0.5 + 2.5) / 3)
    assert rank_loss(torch.tensor([3.0]), torch.tensor([1.0]), 1.0).item() == 0


def test_the_phases_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    model, x = GoGAN(TINY), torch.randn(6, 2)
    model.stage.fill_(1)
    torch.manual_seed(1)
    z = torch.randn(6, 3)
    real, new, old = model.judge(x), model.judge(model.generate_of(1, z)), model.judge(model.generate_of(0, z))
    ranked = (0.3 + new - real).clamp(min=0).mean() + (0.6 + old - real).clamp(min=0).mean()
    first = (0.3 + old - real).clamp(min=0).mean()
    for stage, expected in ((1, ranked), (0, first)):
        objective = Ranking(stage=stage, margin=0.3, gradient_penalty=0.0)
        torch.manual_seed(1)
        torch.testing.assert_close(objective.loss(model, "critic", {"x": x}).total, expected)
    torch.manual_seed(1)
    loss = Ranking(stage=1, margin=0.3, gradient_penalty=0.0).loss(model, "generator", {"x": x})
    torch.testing.assert_close(loss.total, -new.mean())


def test_the_critics_gradient_stops_at_the_generators() -> None:
    model = GoGAN(TINY)
    Ranking(stage=1, margin=1.0, gradient_penalty=1.0).loss(model, "critic", {"x": torch.randn(6, 2)}).total.backward()
    assert all(parameter.grad is None for parameter in model.generators.parameters())


def test_the_penalty_is_added() -> None:
    model, batch = GoGAN(TINY), {"x": torch.randn(6, 2)}
    totals = []
    for weight in (0.0, 1.0, 3.0):
        torch.manual_seed(1)
        objective = Ranking(stage=0, margin=1.0, gradient_penalty=weight)
        totals.append(objective.loss(model, "critic", batch).total.item())
    assert totals[2] - totals[0] == pytest.approx(3 * (totals[1] - totals[0]), rel=1e-3)
    assert totals[1] > totals[0]


def test_a_stage_begins_as_a_copy_of_the_one_before() -> None:
    torch.manual_seed(0)
    model, z = GoGAN(TINY), torch.randn(4, 3)
    generated = [model.generate_of(stage, z) for stage in range(3)]
    begin_stage(model, stage=0)
    torch.testing.assert_close(model.generate(z), generated[0])
    begin_stage(model, stage=1)
    torch.testing.assert_close(model.generate(z), generated[0])
    torch.testing.assert_close(model.generate_of(2, z), generated[2])
    with torch.no_grad():
        model.generators[1][0][0].bias.add_(1.0)
    torch.testing.assert_close(model.generate_of(0, z), generated[0])
    assert not torch.allclose(model.generate(z), generated[0])


def test_one_stage_each() -> None:
    recipe = gencore.recipe("gogan", num_stages=3, steps=7)
    assert [stage.steps for stage in recipe.stages] == [7, 7, 7]
    assert [stage.objective.stage for stage in recipe.stages] == [0, 1, 2]
    assert [stage.phases[1].parts for stage in recipe.stages] == [(f"generators.{i}",) for i in range(3)]


@pytest.mark.parametrize(
    ("name", "value"), [("margin", 0.0), ("gradient_penalty", -1.0), ("num_stages", 0), ("hidden", ())]
)
def test_bad_arguments(name: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=name):
        gencore.recipe("gogan", **{name: value})


class Given(nn.Module):
    """mean + 0.5 z."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, z: Tensor) -> Tensor:
        return self.mean + 0.5 * z


class GivenGenerators(GoGAN):
    """The new generator makes N(1, 0.5^2), the old one N(-2, 0.5^2), on the far side of the data at N(0, 0.5^2)."""

    def __init__(self, config: GoGANConfig) -> None:
        super().__init__(config)
        self.generators = nn.ModuleList([Given(-2.0), Given(1.0)])


def ordered_share(objective: Ranking, seed: int, steps: int = 500) -> float:
    """The share of 200 batches of 64 on which D(x) > D(new) > D(old), in the mean."""
    critic = gencore.recipe("gogan").stages[1].phases[0]
    phase = dataclasses.replace(critic, optimizer=gencore.Adam(learning_rate=1e-3), repeats=1)
    recipe = gencore.Recipe(
        name="toy",
        model=GivenGenerators,
        config=GoGANConfig(data_shape=(1,), latent_dim=1, hidden=(64, 64)),
        stages=(gencore.Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=128,
    )
    model = gencore.Trainer(recipe, gaussian(0.0, 0.5), seed=seed, cpu=True).fit()
    z = torch.randn(200 * 64, 1, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        real, new, old = (
            model.judge(batch).view(200, 64).mean(1) for batch in (0.5 * z.flip(0), 1.0 + 0.5 * z, -2.0 + 0.5 * z)
        )
    return ((real > new) & (new > old)).float().mean().item()


class WithoutRank(Ranking):
    """The ranking loss without its term on the older generator."""

    def critic(self, model: GoGAN, batch: dict[str, Tensor]) -> gencore.Loss:
        z = torch.randn(len(batch["x"]), 1)
        fake = model.generate_of(1, z)
        penalty = self.penalty(model.judge, batch["x"], fake)
        return gencore.Loss(rank_loss(model.judge(batch["x"]), model.judge(fake), self.margin) + penalty.total)


@pytest.mark.behaviour
def test_the_critic_ranks_two_given_generators(measured) -> None:
    """Stage 2's loss on generators that are given; the penalty is off, since on a line the slope would have to pass 0
    at the data, where it is highest. Twin: without the rank term, which puts the old generator above the data.

    Measured at seeds 0, 1, 2: page 1.00, 1.00, 1.00; twin 0, 0, 0; untrained 0, 0, 0.
    """
    objective = gencore.recipe("gogan", gradient_penalty=0.0).stages[1].objective
    twin = WithoutRank(stage=1, margin=objective.margin, gradient_penalty=0.0)
    measured(
        "gogan",
        "share of batches ranked data > new generator > old one",
        figure=ordered_share(objective, 0),
        twin=ordered_share(twin, 0),
        bar=0.9,
        better="higher",
    )
