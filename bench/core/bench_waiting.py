"""What share of a training the trainer spends on fetching its batches, by the clock: of each bundled model's system
with that model's sizes on the data that come with gencore, and of dcgan on a folder of JPEGs, decoded on the way and
from a cache.

By the clock, since batches may come from threads: other processes on the machine make the share larger or smaller.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gencore
from bench.core.bench_data import write_photographs
from gencore.data import Batch, image_folder, open_source
from gencore_hub.names import bundled

BEGIN, STEPS, MOST = 5, 20, 0.1


class Watched(gencore.Trainer):
    """Sums up the seconds of its iterations, and those of them in which it fetches."""

    waited = 0.0

    def _batch(self, run: Any) -> Batch:
        began = time.perf_counter()
        batch = super()._batch(run)
        self.waited += time.perf_counter() - began
        return batch


def share(recipe: gencore.Recipe, source: Any) -> float:
    """Of the seconds of STEPS iterations, after BEGIN others."""
    marks: list[tuple[float, float]] = []

    class Marks:
        def after_step(self, trainer: Watched) -> None:
            marks.append((time.perf_counter(), trainer.waited))

    Watched(recipe, source, cpu=True, callbacks=(Marks(),)).fit()
    (began, waited_before), (ended, waited) = marks[BEGIN - 1], marks[-1]
    return (waited - waited_before) / (ended - began)


@pytest.mark.parametrize("name", bundled())
def test_bundled_sizes(name: str) -> None:
    """Bar: 10 %: a batch takes tenths of a millisecond, a step of the smallest models three."""
    model = gencore.from_pretrained(name)
    system, shape = model.system, getattr(model.config, "data_shape", ())
    picture = len(shape) == 3 and system != "gated-pixelcnn"  # which takes the digits' own 17 levels of grey
    recipe = gencore.recipe(system, steps=BEGIN + STEPS, **({"data_shape": shape} if picture else {}))
    found = share(recipe, open_source(recipe.data, image_size=shape[-1] if picture else None))
    sys.stdout.write(f"{system}: {found:.2%} of its time on fetching batches of {recipe.data}\n")
    assert found < MOST


@pytest.mark.parametrize("cached", [True, False])
def test_folder_of_jpegs(cached: bool, tmp_path: Path) -> None:
    """Bar: 10 %, from a cache and without one."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    write_photographs(folder)
    source = image_folder(folder, 64)
    found = share(
        gencore.recipe("dcgan", data_shape=(3, 64, 64), width=16, batch_size=32, steps=BEGIN + STEPS),
        source.decoded_in(tmp_path / "kept") if cached else source,
    )
    sys.stdout.write(f"dcgan, JPEGs of 500 x 400 to 64, {'cached' if cached else 'decoded'}: {found:.2%}\n")
    assert found < MOST
