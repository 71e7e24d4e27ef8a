from __future__ import annotations

import pytest
import torch

from gencore.data.toys.diagrams import counting, diagrams, moving, series, turning


def test_a_stroke_moves_wraps_and_stays_on_its_row() -> None:
    panel = moving(torch.tensor([[0, 6]]), torch.tensor([2]), 8)[0]
    assert panel[0].nonzero().tolist() == [[2, 0], [2, 1], [2, 2]]
    assert panel[1].nonzero().tolist() == [[2, 0], [2, 6], [2, 7]]


def test_strokes_are_counted() -> None:
    panel = counting(torch.tensor([[0, 7]]), torch.tensor([3]), 8)[0]
    assert panel[0].nonzero().tolist() == [[3, 0], [4, 0]]
    assert panel[1].sum() == 16


def test_a_hand_turns_clockwise_from_the_right() -> None:
    right, down, left, up = turning(torch.tensor([[0, 2, 4, 6]]), 8)[0]
    assert right[4, 4:].all() or right[3, 4:].all()
    assert down[4:].sum() > 2 * down[:4].sum()
    assert left[:, :4].sum() > 2 * left[:, 4:].sum()
    assert up[:4].sum() > 2 * up[4:].sum()
    assert len(turning(torch.arange(8)[None], 8)[0].unique(dim=0)) == 8


@pytest.mark.parametrize(("panels", "size"), [(5, 8), (4, 8), (6, 12)])
def test_the_answer_is_the_next_panel_and_no_option_comes_twice(panels: int, size: int) -> None:
    source = diagrams(600, panels=panels, size=size)
    options, answer = source.further["options"], source.further["answer"]
    assert torch.equal(options[torch.arange(600), answer], source.x[:, 0])
    for i in range(4):
        for j in range(i):
            assert (options[:, i] != options[:, j]).flatten(1).any(1).all()
    assert (answer.bincount(minlength=4) - 150).abs().max() < 55
    assert source.shape == (1, size, size)
    assert source.conditions[0].shape == (panels - 1, size, size)


def test_the_last_panel_alone_cannot_tell_the_next() -> None:
    drawn, rule = series(torch.arange(10_000))
    after: dict[tuple[float, ...], set[tuple[float, ...]]] = {}
    for before, following in zip(drawn[rule == 0, 3], drawn[rule == 0, 4], strict=True):
        after.setdefault(tuple(before.flatten().tolist()), set()).add(tuple(following.flatten().tolist()))
    assert min(len(followers) for followers in after.values()) == 4


def test_a_series_has_one_velocity() -> None:
    drawn, rule = series(torch.arange(400))
    count = drawn[rule == 2].amax(2).sum(2)
    step = count.diff(dim=1) % 8
    assert (step == step[:, :1]).all()
    assert set(step.unique().tolist()) == {1, 2, 6, 7}


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="panels is 3; expected at least 4"):
        diagrams(5, panels=3)
    with pytest.raises(ValueError, match="size is 6; expected at least 8"):
        diagrams(5, size=6)
