"""DiscoGAN: its schedule, its turns, its feature term, and a held-out cycle that only the cycle term closes."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore_translation.unpaired.discogan import Discovery, mean_feature_distance, outputs

from .contrast import cycle_error, trained, translation_error


def test_the_cycles_share_rises_and_the_critics_have_every_third_turn() -> None:
    objective = Discovery(early_rate=0.01, rate=0.5, early_steps=4)
    rates, turns = [], []
    for _ in range(7):
        rates.append(objective.rate)
        turns.append(objective.critics_turn)
        objective.after_step(None, "critics", [])
    assert rates == [0.01] * 4 + [0.5] * 3
    assert turns == [True, False, False, True, False, False, True]
    assert "iteration" in objective.state_dict(), "so that a resume goes on in the schedule"


def test_one_phase_steps_in_an_iteration() -> None:
    critics, translators = gencore.recipe("discogan").stages[0].phases
    objective = Discovery(early_rate=0.0, rate=0.0, early_steps=0)
    for _ in range(4):
        assert critics.gate(objective) != translators.gate(objective)
        objective.after_step(None, "critics", [])


def test_features_are_matched_in_the_mean() -> None:
    real, fake = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 3.0], [0.0, 5.0]])
    assert mean_feature_distance([real], [fake]).item() == pytest.approx((2**2 + (-1) ** 2) / 2)
    assert mean_feature_distance([real, real], [real, real.flip(0)]).item() == 0


def test_outputs_end_with_the_logits() -> None:
    model = gencore.create("discogan", width=4, critic_width=4)
    x = torch.rand(2, 1, 8, 8)
    *hidden, judged = outputs(model.critics[1], x)
    torch.testing.assert_close(judged, model.judge(x))
    assert [h.shape[1] for h in hidden] == [4, 8]


@pytest.mark.behaviour
def test_there_and_back_is_the_picture_itself(measured) -> None:
    """After 360 steps at seed 0: 0.211, without the cycle 0.509."""
    page = trained("discogan", seed=0, steps=360)
    twin = trained("discogan", seed=0, steps=360, early_rate=0.0, rate=0.0)
    assert translation_error(page) < 0.3
    measured(
        "discogan",
        "mean error of a held-out picture translated there and back",
        figure=cycle_error(page),
        twin=cycle_error(twin),
        bar=0.35,
        better="lower",
    )
