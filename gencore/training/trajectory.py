"""The path of a model that has two numbers in all, such as the Dirac-GAN's players: a picture of its spiral."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencore.training.trainer import Trainer

NAME = "trajectory"


class Trajectory:
    """Keeps the two parameters after every iteration: `folder/trajectory.npy`, rows (iteration, first, second), and
    the picture `folder/trajectory.png`, written every so many iterations and at the end. Does nothing for a model of
    more parameters, or of fewer.
    """

    def __init__(self, folder: Path, *, every: int) -> None:
        self.folder, self.every = folder, every
        self.rows: list[tuple[float, ...]] = []

    def after_step(self, trainer: Trainer) -> None:
        """One row more; the main process writes."""
        parameters = list(trainer.model.parameters())
        if sum(p.numel() for p in parameters) != 2 or not trainer.accelerator.is_main_process:
            return
        if not self.rows:
            self.rows = self._earlier(trainer.iteration)
        values = [value for p in parameters for value in p.detach().flatten().tolist()]
        self.rows.append((trainer.iteration, *values))
        if trainer.iteration % self.every == 0 or trainer.iteration == trainer.iterations or trainer.stop:
            self._write()

    def _earlier(self, iteration: int) -> list[tuple[float, ...]]:
        """The rows of a run that is resumed: those before this iteration."""
        import numpy as np

        path = self.folder / f"{NAME}.npy"
        if iteration == 1 or path.is_symlink() or not path.is_file():
            return []
        return [tuple(row) for row in np.load(path, allow_pickle=False).tolist() if row[0] < iteration]

    def _write(self) -> None:
        import numpy as np
        import torch

        from gencore_hub.atomic import atomic_write

        self.folder.mkdir(parents=True, exist_ok=True)
        table, drawn = io.BytesIO(), io.BytesIO()
        np.save(table, np.array(self.rows))
        path(torch.tensor(self.rows)[:, 1:]).save(drawn, format="PNG")
        atomic_write(self.folder / f"{NAME}.npy", table.getvalue())
        atomic_write(self.folder / f"{NAME}.png", drawn.getvalue())


def path(places: Any, *, size: int = 400) -> Any:
    """A picture (PIL), `size` pixels square, of places (N, 2) in their order: from light to dark, a ring where it
    begins, a dot where it ends, and a cross at (0, 0)."""
    import torch
    from PIL import Image, ImageDraw

    from gencore.latent.maps import pixels_of

    pixels = pixels_of(torch.cat([places, torch.zeros(1, 2)]), size=size)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    *points, (x, y) = [tuple(point) for point in pixels.tolist()]
    draw.line((x - 6, y, x + 6, y), fill="black")
    draw.line((x, y - 6, x, y + 6), fill="black")
    for position, (start, end) in enumerate(itertools.pairwise(points)):
        shade = round(200 * (1 - position / len(points)))
        draw.line((*start, *end), fill=(shade, shade, 220), width=2)
    for (x, y), fill in ((points[0], None), (points[-1], "black")):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline="black", fill=fill)
    return image
