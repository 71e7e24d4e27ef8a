"""A GIF goes through its frames there and back, for ever."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from gencore.data.animation import there_and_back
from gencore.errors import GencoreError


def test_frames_there_and_back() -> None:
    shades = torch.linspace(-1, 1, 4).view(1, 4, 1, 1, 1).expand(3, 4, 1, 5, 5)
    content = there_and_back(shades, columns=3)
    assert content == there_and_back(shades, columns=3)
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (3 * 7 + 2, 9)
        assert image.n_frames == 6
        assert image.info["loop"] == 0
        seen = []
        for frame in range(6):
            image.seek(frame)
            seen.append(image.convert("L").getpixel((4, 4)))
    assert seen == [0, 85, 170, 255, 170, 85]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(GencoreError, match="T at least 2"):
        there_and_back(torch.zeros(3, 1, 1, 5, 5))
    with pytest.raises(GencoreError, match="at least 20"):
        there_and_back(torch.zeros(3, 2, 1, 5, 5), milliseconds=1)
