"""3D-GAN: the critic's accuracy and its gate, the two losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.voxels import voxels
from gencore.errors import GencoreError
from gencore_gan.parts.accuracy_gate import AccuracyGate, critic_accuracy
from gencore_gan.volumes.gan_3d import RestingCritic


def test_accuracy_counts_both_sides() -> None:
    """Two of three real logits above 0, one of two generated ones below: 3 / 5. 0 is wrong on either side."""
    real, fake = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([-3.0, 0.5])
    assert critic_accuracy(real, fake).item() == pytest.approx(0.6)
    assert critic_accuracy(torch.zeros(2), torch.zeros(2)).item() == 0.0


@pytest.mark.parametrize(("accuracy", "steps"), [(0.0, True), (0.79, True), (0.81, False), (1.0, False)])
def test_the_critic_rests_above_its_limit(accuracy: float, steps: bool) -> None:
    """By the mean of the accumulated batches of the generator's phase; the critic's own phase changes nothing."""
    gate = AccuracyGate(0.8)
    assert gate.gate(), "before the first batch"
    gate.after_step(None, "generator", [torch.tensor(accuracy - 0.0), torch.tensor(accuracy)])
    assert gate.accuracy.item() == pytest.approx(accuracy)
    assert gate.gate() is steps
    gate.after_step(None, "critic", [])
    assert gate.gate() is steps


def test_a_limit_of_one_never_rests() -> None:
    """And one out of range is refused."""
    gate = AccuracyGate(1.0)
    gate.after_step(None, "generator", [torch.tensor(1.0)])
    assert gate.gate()
    for most in (0.0, 1.1):
        with pytest.raises(GencoreError, match="most_accurate"):
            AccuracyGate(most)


def game(bias: float) -> tuple[RestingCritic, Any, dict[str, torch.Tensor]]:
    """A critic that says `bias` to everything."""
    torch.manual_seed(0)
    recipe = gencore.recipe("3d-gan", latent_dim=4, width=2)
    model = recipe.model(recipe.config)
    torch.nn.init.zeros_(model.critic[-1].weight)
    torch.nn.init.constant_(model.critic[-1].bias, bias)
    return RestingCritic(0.8), model, {"x": torch.rand(3, 1, 12, 12, 12).round()}


def test_the_losses_of_a_critic_that_says_one_to_everything() -> None:
    """sp(-1) + sp(1), sp(-1); it is right on all real shapes and on no generated one."""
    objective, model, batch = game(1.0)
    low, high = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    assert objective.critic(model, batch).total.item() == pytest.approx(low + high, rel=1e-5)
    loss = objective.generator(model, batch)
    assert loss.total.item() == pytest.approx(low, rel=1e-5)
    assert loss.seen.item() == 0.5


def test_shapes_are_occupancies() -> None:
    """In [0, 1], and a grid that is not cubic, or that 4 does not divide, is refused."""
    _, model, _ = game(0.0)
    shapes = model.eval().sample(3)
    assert shapes.shape == (3, 1, 12, 12, 12)
    assert shapes.min() >= 0
    assert shapes.max() <= 1
    for wrong in ((1, 12, 12, 8), (1, 10, 10, 10), (12, 12, 12)):
        with pytest.raises(GencoreError, match="data_shape"):
            gencore.recipe("3d-gan", data_shape=wrong)


def test_the_critic_learns_slowly_by_default() -> None:
    """Its rate is a fraction of the generator's."""
    phases = {phase.name: phase.optimizer for phase in gencore.recipe("3d-gan").stages[0].phases}
    assert phases["critic"].learning_rate == pytest.approx(3e-4)
    assert phases["generator"].learning_rate == pytest.approx(2.5e-3)


@pytest.mark.behaviour
def test_the_critic_does_not_run_away(measured: Any) -> None:
    """80 steps of the game with a generator that hardly learns. The difference of the critic's mean logits on 200 real
    and generated shapes: 0.5; the twin's critic never rests: 9.8. With a generator that learns as fast as the default
    one, what comes out is as good without the gate."""
    real, margins = voxels(200, split="test").x, []
    for most in (0.8, 1.0):
        recipe = gencore.recipe("3d-gan", steps=80, width=8, most_accurate=most, generator_rate=1e-6)
        model: Any = gencore.Trainer(recipe, voxels(2000), seed=0, cpu=True).fit().eval()
        with torch.no_grad():
            margins.append((model.judge(real).mean() - model.judge(model.sample(200, seed=1)).mean()).item())
    assert margins[0] > 0
    measured(
        "3d-gan",
        "logits by which the critic parts real shapes from those of a generator that hardly learns",
        figure=margins[0],
        twin=margins[1],
        bar=4.0,
        better="lower",
    )
