"""Bodies with a head: what is drawn where the key points say."""

from __future__ import annotations

import torch

from gencore_gan.parts.posed import BODY, HEAD, points, posed


def test_parts_lie_at_their_points() -> None:
    """The cell of a head is white, that of a body coloured; heads touch bodies; hidden ones are outside and all 0."""
    source = posed(500)
    x, places = source.x, source.further["keypoints"]
    true = points(torch.arange(500))
    torch.testing.assert_close((true[:, 0] - true[:, 1]).norm(dim=1), torch.full((500,), BODY + HEAD))
    seen = places[:, 1, 2] == 1
    outside = ((true[:, 1] < 0) | (true[:, 1] > 16)).any(1)
    assert torch.equal(~seen, outside)
    assert 0.8 < seen.float().mean() < 0.95
    assert not places[~seen, 1].any()
    column, row = places[:, :, :2].long().clamp(max=15).unbind(2)
    every = torch.arange(500)
    assert x[every, :, row[:, 1], column[:, 1]][seen].min() > 0.6
    body = x[every, :, row[:, 0], column[:, 0]]
    assert (body.amax(1) - body.amin(1)).min() > 0.7


def test_the_sentence_says_the_body() -> None:
    """Other examples in the test part."""
    source, other = posed(50), posed(50, split="test")
    said = [source.conditions[0].text(row) for row in source.further["tokens"]]
    names = ("red", "green", "blue", "yellow"), ("circle", "square", "triangle")
    for sentence, (colour, shape) in zip(said, source.further["factors"].tolist(), strict=True):
        assert sentence == f"a {names[0][colour]} {names[1][shape]}"
    assert not torch.equal(source.x, other.x)
