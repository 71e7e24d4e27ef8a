"""Pictures of curves of rates, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gencore.config import check

if TYPE_CHECKING:
    from PIL.Image import Image

    from gencore.evaluation.verification import Roc

COLOURS = ((200, 40, 40), (40, 90, 180), (60, 150, 60), (150, 80, 160))


def draw_roc(curves: Mapping[str, Roc], *, size: int = 600) -> Image:
    """VAL over FAR, both from 0 to 1, with a legend and the line of chance; `size` pixels square."""
    from PIL import Image, ImageDraw

    check(1 <= len(curves) <= len(COLOURS), "the number of curves", len(curves), f"1 to {len(COLOURS)}")
    check(size >= 100, "size", size, "at least 100 pixels")
    border = size // 10
    length = size - 2 * border
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    for tick in range(6):
        place, words = border + length * tick // 5, f"{tick / 5:.1f}"
        draw.line((place, border, place, size - border), fill=(225, 225, 225))
        draw.line((border, place, size - border, place), fill=(225, 225, 225))
        draw.text((place - 8, size - border + 6), words, fill="black")
        draw.text((border - 24, size - place - 6), words, fill="black")
    draw.line((border, size - border, size - border, border), fill=(160, 160, 160))
    for colour, (name, curve), row in zip(COLOURS, curves.items(), range(len(curves)), strict=False):
        far, val = curve.far.tolist(), curve.val.tolist()
        corners = [(border + length * x, size - border - length * y) for x, y in zip(far, val, strict=True)]
        draw.line(corners, fill=colour, width=2)
        line = size - border - 16 * (len(curves) - row)
        draw.rectangle((size - border - 150, line, size - border - 140, line + 10), fill=colour)
        draw.text((size - border - 134, line - 1), name, fill="black")
    draw.text((size // 2 - 10, size - border // 2), "FAR", fill="black")
    draw.text((6, border // 2), "VAL", fill="black")
    return image
