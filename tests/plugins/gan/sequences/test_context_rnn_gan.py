"""Context-RNN-GAN: what each step of both players sees, and the losses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.diagrams import diagrams
from gencore.errors import GencoreError
from gencore_gan.sequences.context_rnn_gan import ContextRNNGAN, Series


def model_of(**arguments: Any) -> Any:
    """A small model."""
    torch.manual_seed(0)
    recipe = gencore.recipe("context-rnn-gan", width=8, **arguments)
    return recipe.model(recipe.config)


def changed(panels: torch.Tensor, place: int) -> torch.Tensor:
    """Panels (1, 4, 64) with another one at `place`."""
    other = panels.clone()
    other[:, place] = -other[:, place]
    return other


@pytest.mark.parametrize("place", range(4))
def test_each_step_sees_the_panels_up_to_it(place: int) -> None:
    """A change of panel t moves what both say from step t on, and nothing before."""
    model, panels, following = model_of(), torch.randn(1, 4, 64), torch.randn(1, 4, 64)
    drawn, redrawn = model.continued(panels), model.continued(changed(panels, place))
    judged, rejudged = (model.in_context(given, following) for given in (panels, changed(panels, place)))
    moved = (drawn != redrawn).any(2)[0].tolist()
    assert moved == [step >= place for step in range(4)]
    assert (judged != rejudged)[0].tolist() == moved
    alone = model.in_context(panels, changed(following, place))
    assert (judged != alone)[0].tolist() == [step == place for step in range(4)]


def test_without_context_the_critic_sees_the_panel_alone() -> None:
    """The panels before it move nothing."""
    model, panels, following = model_of(contextual=False), torch.randn(1, 4, 64), torch.randn(1, 4, 64)
    assert torch.equal(model.in_context(panels, following), model.in_context(changed(panels, 0), following))


def test_judge_and_translate_are_of_the_last_step() -> None:
    """Of pictures."""
    model, given, x = model_of(), torch.randn(2, 4, 8, 8), torch.randn(2, 1, 8, 8)
    series = torch.cat([given, x], 1).flatten(2)
    torch.testing.assert_close(model.judge(x, condition=given), model.in_context(series[:, :4], series[:, 1:])[:, 3])
    torch.testing.assert_close(model.translate(given).flatten(1), model.continued(series[:, :4])[:, 3])
    with pytest.raises(GencoreError, match="panels"):
        model.translate(torch.randn(2, 4, 6, 6))


def test_the_losses_of_blank_players() -> None:
    """2 log 2; a grey panel of 0 is off by 1 in each pixel: 0.5 log 2 + 3 * 1."""
    model = model_of()
    for reader in (model.generator, model.critic):
        torch.nn.init.zeros_(reader.head[-1].weight)
        torch.nn.init.zeros_(reader.head[-1].bias)
    batch = {"x": torch.ones(2, 1, 8, 8), "x_input": -torch.ones(2, 4, 8, 8)}
    objective = Series(adversarial_weight=0.5, reconstruction_weight=3.0)
    assert objective.critic(model, batch).total.item() == pytest.approx(2 * math.log(2), rel=1e-5)
    assert objective.generator(model, batch).total.item() == pytest.approx(0.5 * math.log(2) + 3, rel=1e-5)


class Borrowing(ContextRNNGAN):
    """Draws panels of another series: nothing is wrong with them but their context."""

    def continued(self, panels: torch.Tensor) -> torch.Tensor:
        """Panels (N, t, pixels) -> those of the next series, one step on, (N, t, pixels)."""
        return panels.roll(1, 0).roll(-1, 1)


@pytest.mark.behaviour
def test_a_panel_that_is_out_of_place_gives_itself_away(measured: Any) -> None:
    """150 steps of the critic against a generator that stands still and draws good panels of other series. The share of
    1000 held-out series whose next panel the critic finds likelier than another series' next panel: 0.954; without
    context 0.491. With a generator that learns, the twin is not separated: the squared error alone finds the next
    panel."""
    test, ranked = diagrams(1000, split="test"), []
    for contextual in (True, False):
        recipe = gencore.recipe("context-rnn-gan", steps=150, width=64, critic_rate=2e-3, contextual=contextual)
        stage = recipe.stages[0]
        alone = dataclasses.replace(stage, phases=stage.phases[:1])
        recipe = dataclasses.replace(recipe, model=Borrowing, stages=(alone,))
        model = gencore.Trainer(recipe, diagrams(4000), seed=0, cpu=True).fit().eval()
        with torch.no_grad():
            own, other = (model.judge(x, condition=test.further["x_input"]) for x in (test.x, test.x.roll(1, 0)))
        ranked.append((own > other).float().mean().item())
    measured(
        "context-rnn-gan",
        "next panels that the critic ranks above those of another series",
        figure=ranked[0],
        twin=ranked[1],
        bar=0.75,
        better="higher",
    )
