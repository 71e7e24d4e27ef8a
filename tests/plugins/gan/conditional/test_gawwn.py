"""GAWWN: cutting and pasting, boxes in both players and in codes, what is drawn where."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data.toys.captions import boxed
from gencore.errors import GencoreError
from gencore_gan.conditional.gawwn import PlacedGame, cut, paste
from tests.judges.captions import drawn_box, shape_in_box
from tests.plugins.default_sampler import draws_nearer

BATCH = boxed(64).fetch(torch.arange(8))
SHORT = {"steps": 60, "game_steps": 400, "batch_size": 8, "learning_rate": 2e-3}


def small(**arguments: Any) -> Any:
    torch.manual_seed(0)
    return gencore.create("gawwn", width=4, text_dim=8, latent_dim=4, **arguments)


def test_what_is_cut_and_pasted_is_the_same_inside_and_nothing_outside() -> None:
    """Boxes on whole pixels, as large as what is cut: to rounding."""
    x, box = torch.randn(2, 3, 16, 16), torch.tensor([[4.0, 2.0, 12.0, 10.0], [0.0, 8.0, 8.0, 16.0]])
    part = cut(x, box, (8, 8))
    torch.testing.assert_close(part[0], x[0, :, 2:10, 4:12])
    torch.testing.assert_close(part[1], x[1, :, 8:16, 0:8])
    back = paste(part, box, (16, 16))
    inside = torch.zeros(2, 1, 16, 16)
    inside[0, :, 2:10, 4:12] = inside[1, :, 8:16, 0:8] = 1
    torch.testing.assert_close(back, x * inside)


def test_boxes_of_other_sizes_are_scaled_to_what_is_cut() -> None:
    """A ramp stays a ramp: at x the value x, cut out of 2 ... 10 into 4 columns: 3, 5, 7, 9; wide and high apart."""
    x = (torch.arange(16) + 0.5).expand(1, 1, 16, 16)
    part = cut(x, torch.tensor([[2.0, 4.0, 10.0, 8.0]]), (4, 4))
    torch.testing.assert_close(part, torch.tensor([3.0, 5.0, 7.0, 9.0]).expand(1, 1, 4, 4))
    placed = paste(torch.ones(1, 1, 4, 4), torch.tensor([[2.0, 4.0, 10.0, 8.0]]), (16, 16))
    assert placed[0, 0, 5:7, 4:8].min() == 1
    outside = placed.clone()
    outside[0, 0, 3:9, 1:11] = 0
    assert outside.abs().max() == 0


def test_a_box_that_nobody_tells_is_drawn_within_the_picture() -> None:
    model = small(sides=(0.25, 0.5))
    box = model.draw_prior(gencore.Noise(0, 0, 500))[:, 4:]
    sides = box[:, 2:] - box[:, :2]
    torch.testing.assert_close(sides[:, 0], sides[:, 1])
    assert 4 <= sides.min() < 4.1 < 7.9 < sides.max() <= 8
    assert box.min() >= 0
    assert box.max() <= 16
    assert model.sample(2, condition="a red circle").shape == (2, 3, 16, 16)


def test_a_code_s_box_is_changed_and_its_noise_kept() -> None:
    """What is drawn moves with its box; boxes that are empty or leave the picture are refused."""
    model, told = small(), BATCH["tokens"][:2]
    z = model.draw_prior(gencore.Noise(0, 0, 2))
    moved = model.at(z, [8, 8, 16, 16])
    assert torch.equal(moved[:, :4], z[:, :4])
    assert moved[:, 4:].tolist() == [[8, 8, 16, 16]] * 2
    with torch.no_grad():
        left, right = (model.generate(model.at(z, box), condition=told) for box in ([0, 0, 8, 8], [8, 8, 16, 16]))
    assert (left[..., :7, :7] - right[..., :7, :7]).abs().amax() > 1e-3
    for box in ([0, 0, 17, 8], [8, 8, 8, 16], [0, 0, 8], [[0, 0, 8, 8]] * 3, [math.nan, 0, 8, 8]):
        with pytest.raises(GencoreError, match="boxes are"):
            model.at(z, box)


def test_the_critic_judges_by_the_box_and_by_the_sentence() -> None:
    model, x, told, box = small(), BATCH["x"], BATCH["tokens"], BATCH["box"]
    judged = model.judge(x, condition=told, box=box)
    assert judged.shape == (8,)
    assert (judged - model.judge(x, condition=told, box=box.flip(0))).abs().max() > 1e-5
    assert (judged - model.judge(x, condition=told.flip(0), box=box)).abs().max() > 1e-5
    whole = torch.tensor([[0.0, 0.0, 16.0, 16.0]]).expand(8, 4)
    assert torch.equal(model.judge(x, condition=told), model.judge(x, condition=told, box=whole))
    with pytest.raises(GencoreError, match="give condition"):
        model.judge(x)


@pytest.mark.parametrize("sees", [True, False])
def test_losses_are_gan_cls_s_and_a_blind_critic_knows_no_box(sees: bool) -> None:
    """log 2 and log 2 for a critic that knows nothing. Other boxes change what a seeing critic says of real ones."""
    model, game = small(), PlacedGame(wrong_weight=0.5, critic_sees=sees)
    real = [
        game.loss(model, "critic", {**BATCH, "box": box}).metrics["real"] for box in (BATCH["box"], BATCH["box"] / 2)
    ]
    assert (abs(real[0] - real[1]) > 1e-6) == sees
    assert game.loss(model, "generator", BATCH).total.requires_grad
    torch.nn.init.zeros_(model.critic.head[1][-1].weight)
    torch.nn.init.zeros_(model.critic.head[1][-1].bias)
    assert game.loss(model, "critic", BATCH).total.item() == pytest.approx(2 * math.log(2), rel=1e-5)


def test_data_without_boxes_are_refused() -> None:
    with pytest.raises(GencoreError, match="no 'box'"):
        PlacedGame(wrong_weight=0.5, critic_sees=True).loss(
            small(), "critic", {"x": BATCH["x"], "tokens": BATCH["tokens"]}
        )


def overlap(a: Tensor, b: Tensor) -> float:
    """The mean intersection over union of boxes (N, 4)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    both = (high - low).clamp_min(0).prod(1)
    sizes = [(box[:, 2:] - box[:, :2]).prod(1) for box in (a, b)]
    return (both / (sizes[0] + sizes[1] - both)).mean().item()


def drawn(model: Any, tokens: Tensor, box: Tensor) -> Tensor:
    """Pictures of these sentences in these boxes."""
    with torch.no_grad():
        return model.generate(model.at(model.draw_prior(gencore.Noise(1, 0, len(box))), box), condition=tokens)


@pytest.mark.behaviour
def test_what_is_told_stands_where_it_is_told(measured: Any) -> None:
    """Seeds 0, 1, 2, after 400 steps of 8: 0.642, 0.595, 0.644; with a critic that sees no box 0.372, 0.401, 0.458.
    That colour lies where it is told is mostly the pasting's doing: the drawn extent and the box overlap by 0.77 (0.72
    with the other critic), and likewise in boxes of other pictures."""
    train, test = boxed(6000), boxed(1000, split="test")
    tokens, box, shape = (test.further[key] for key in ("tokens", "box", "factors"))
    right = []
    for sees in (True, False):
        trainer = gencore.Trainer(gencore.recipe("gawwn", critic_sees=sees, **SHORT), train, seed=0, cpu=True)
        trainer.fit()
        with trainer.published() as model:
            x = drawn(model.eval(), tokens, box)
            right.append((shape_in_box(x, box) == shape[:, 1]).float().mean().item())
            if sees:
                assert (shape_in_box(test.x, box) == shape[:, 1]).all(), "the judge is right on real pictures"
                assert overlap(drawn_box(x), box) > 0.5
                assert overlap(drawn_box(drawn(model, tokens, box.flip(0))), box.flip(0)) > 0.5
                draws_nearer(model, train.fetch(torch.arange(1000))["x"], condition=train.further["tokens"])
    measured(
        "gawwn",
        "share of pictures whose shape, in a box that is told, is the one that the sentence names",
        figure=right[0],
        twin=right[1],
        bar=0.5,
        better="higher",
    )
