from __future__ import annotations

import torch

from gencore.data.toys.scenes import NIGHT_RGB, layouts, paint, scenes, weather

N = torch.arange(2000)


def test_layouts_are_one_hot_with_the_shares_that_were_measured() -> None:
    layout = layouts(N)
    assert torch.equal(layout.sum(1), torch.ones(2000, 16, 16))
    shares = layout.mean((0, 2, 3))
    torch.testing.assert_close(shares, torch.tensor([0.46, 0.44, 0.11]), rtol=0, atol=0.015)


def test_every_hut_is_whole_and_stands_on_the_ground() -> None:
    sky, ground, hut = layouts(N).bool().unbind(1)
    assert not hut[:, 0].any()
    width = hut.any(1).sum(1)
    assert width.min() == 4
    assert width.max() == 7
    below = hut[:, :-1] & ~hut[:, 1:]
    assert not (below & sky[:, 1:]).any()
    assert ground[:, -1].all()


def test_weather_is_independent_of_itself_and_even() -> None:
    attributes = weather(torch.arange(20_000))
    assert set(attributes.unique().tolist()) == {0.0, 1.0}
    assert (attributes.mean(0) - 0.5).abs().max() < 0.02
    assert (attributes.T.corrcoef() - torch.eye(3)).abs().max() < 0.04


def test_the_truth_of_an_edit_keeps_the_place() -> None:
    """Night multiplies every channel by a constant, so day and night of one scene are proportional where unclipped."""
    layout, attributes = layouts(N), weather(N)
    pictures = [(paint(layout, attributes.index_fill(1, torch.tensor(0), value), N) + 1) / 2 for value in (0.0, 1.0)]
    day, night = pictures
    inside = (day > 0) & (day < 1)
    expected = day * torch.tensor(NIGHT_RGB).view(3, 1, 1)
    torch.testing.assert_close(night[inside], expected[inside], rtol=0, atol=1e-6)
    assert abs((night - day).mean().item() * 2 + 0.91) < 0.02


def test_fog_is_a_weighted_mean_with_grey() -> None:
    layout, clear = layouts(N), torch.zeros(2000, 3)
    fog = clear.index_fill(1, torch.tensor(1), 1.0)
    before, after = ((paint(layout, a, N) + 1) / 2 for a in (clear, fog))
    share = (0.65 - 0.2 * torch.arange(16) / 16).view(16, 1)
    inside = (before > 0) & (before < 1)
    expected = before * (1 - share) + 0.8 * share
    torch.testing.assert_close(after[inside], expected[inside], rtol=0, atol=1e-6)


def test_a_part_of_a_source_can_be_painted_again() -> None:
    source, part = scenes(50, seed=4), torch.tensor([33, 2])
    batch = source.fetch(part)
    torch.testing.assert_close(paint(batch["x_input"], batch["attributes"], part, seed=4), batch["x"])


def test_flakes_fall_in_snow_alone() -> None:
    layout, clear = layouts(N), torch.zeros(2000, 3)
    snow = clear.index_fill(1, torch.tensor(2), 1.0)
    shares = [(paint(layout, a, N) == 1).all(1)[layout[:, 0] == 1].float().mean().item() for a in (clear, snow)]
    assert shares[0] == 0
    assert abs(shares[1] - 0.06) < 0.005
