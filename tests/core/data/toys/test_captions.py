from __future__ import annotations

import pytest
import torch

from gencore.data import check_batch
from gencore.data.toys.captions import (
    ALL,
    FACTORS,
    HELD_OUT,
    SEEN,
    VOCABULARY,
    boxed,
    captions,
    condition,
    corner_boxes,
    coverage,
    draw_factors,
    free_boxes,
    multi_hot,
    near_factors,
    other_factors,
    paint,
    sentences,
    tokens,
    true_of_box,
)

N = torch.arange(3000)


def test_every_value_of_every_factor_is_seen_and_held_out_evenly() -> None:
    assert (len(ALL), len(SEEN), len(HELD_OUT), len(VOCABULARY)) == (96, 84, 12, 13)
    assert HELD_OUT[:, 0].bincount().tolist() == [3, 3, 3, 3]
    assert HELD_OUT[:, 1].bincount().tolist() == [4, 4, 4]
    for column in range(4):
        assert torch.equal(SEEN[:, column].unique(), ALL[:, column].unique())
    assert not (SEEN[:, None] == HELD_OUT).all(2).any()


def test_a_sentence_its_tokens_and_words() -> None:
    factors = torch.tensor([[0, 0, 0, 0], [3, 2, 1, 3]])
    assert sentences(factors) == ["a small red circle, top left", "a large yellow triangle, bottom right"]
    written = tokens(factors)
    assert condition().text(written[1]) == "a large yellow triangle bottom right"
    chosen = [{VOCABULARY[i] for i in row.nonzero()[:, 0]} for row in multi_hot(written)]
    assert chosen[0] == {"small", "red", "circle", "top", "left"}
    assert chosen[1] == {"large", "yellow", "triangle", "bottom", "right"}


def test_tokens_of_all_combinations_differ() -> None:
    assert len(tokens(ALL).unique(dim=0)) == 96


def test_wrong_captions_are_never_right_and_as_often_each() -> None:
    factors = draw_factors(N)
    other = other_factors(factors, N)
    assert (other != factors).any(1).all()
    assert len(other.unique(dim=0)) == len(SEEN)
    outside = other_factors(HELD_OUT, torch.arange(12))
    assert (outside[:, None] == SEEN).all(2).any(1).all()
    fixed = other_factors(SEEN[:1].expand(83_000, 4), torch.arange(83_000))
    _, counts = fixed.unique(dim=0, return_counts=True)
    assert len(counts) == 83
    assert (counts - 1000).abs().max() < 5 * 1000**0.5


def test_near_captions_differ_in_one_factor_each_as_often() -> None:
    factors = draw_factors(N)
    changed = near_factors(factors, N) != factors
    assert (changed.sum(1) == 1).all()
    assert (changed.float().mean(0) - 0.25).abs().max() < 0.05


def test_corner_boxes_lie_in_their_quarter() -> None:
    factors = draw_factors(N, among=ALL)
    box = corner_boxes(factors, N)
    assert torch.equal(true_of_box(factors, box), factors)
    assert box.min() >= 0
    assert box.max() <= 16
    torch.testing.assert_close(box[:, 2] - box[:, 0], torch.tensor([4.0, 7.0])[factors[:, 2]])
    torch.testing.assert_close(box[:, 3] - box[:, 1], box[:, 2] - box[:, 0])


def test_free_boxes_fill_the_picture_and_keep_captions_true() -> None:
    box = free_boxes(N)
    assert 0 <= box.min() < 0.1
    assert 15.9 < box.max() <= 16
    source = captions(300, free=True)
    factors, box = source.further["factors"], source.further["box"]
    assert torch.equal(true_of_box(factors, box), factors)


def test_boxed_shapes_are_told_what_but_not_where() -> None:
    """The pictures and boxes of `captions`, free; sentences of 12 kinds, in words of the same vocabulary."""
    source, free = boxed(300), captions(300, combinations="all", free=True)
    batch = source.fetch(torch.arange(300))
    check_batch(batch, source)
    assert torch.equal(batch["x"], free.x)
    assert torch.equal(batch["box"], free.further["box"])
    assert torch.equal(batch["factors"], free.further["factors"][:, :2])
    colour, shape = batch["factors"][7].tolist()
    said = condition().text(batch["tokens"][7])
    assert said == f"a {FACTORS['colour'][colour]} {FACTORS['shape'][shape]}"
    assert len(batch["tokens"].unique(dim=0)) == 12


@pytest.mark.parametrize(("shape", "area"), [(0, torch.pi), (1, 4 * 0.9**2), (2, 1.95**2 / 2)])
def test_shapes_have_their_area_and_stay_in_their_box(shape: int, area: float) -> None:
    """The triangle's sides are 2 |x| = y + 1 up to y = 0.95: height and base 1.95. Soft edges round its corners."""
    box = torch.tensor([[4.0, 4.0, 11.0, 11.0], [1.0, 6.0, 8.0, 13.0]])
    covered = coverage(torch.full((2,), shape), box)
    torch.testing.assert_close(covered.sum((1, 2)), torch.full((2,), area * 3.5**2), rtol=0.05, atol=0)
    torch.testing.assert_close(covered[0], covered[1].roll((-2, 3), (0, 1)))
    inside = torch.zeros(16, 16)
    inside[4:11, 4:11] = 1
    assert (covered[0] * (1 - inside)).max() < 0.51


def test_the_colour_stands_in_the_middle_of_the_box() -> None:
    index = torch.arange(4)
    factors = torch.tensor([[c, 0, 1, 0] for c in range(4)])
    picture = paint(factors, torch.tensor([[4.0, 4.0, 12.0, 12.0]]).expand(4, 4), index)
    middle = picture[:, :, 7:9, 7:9].mean((2, 3))
    expected = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])
    assert torch.equal(middle.sign().int(), expected.int())
    corner = picture[:, :, 0, 0]
    assert (corner.max(1).values - corner.min(1).values).max() < 0.25


def test_a_source_names_its_combinations() -> None:
    held = captions(50, combinations="held out")
    assert (held.further["factors"][:, None] == HELD_OUT).all(2).any(1).all()
    assert (held.further["tokens"] != held.further["tokens_wrong"]).any(1).all()
    with pytest.raises(ValueError, match="combinations is 'some'; expected one of 'seen', 'held out', 'all'"):
        captions(5, combinations="some")
