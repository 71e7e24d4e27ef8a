"""Five stable GANs beside one another on digits: Frechet distance, precision and recall for the steps and CPU-seconds.

python -m tools.gan_table --data mnist:FOLDER --runs build/gan_table -o docs/gans.md

Every system trains with its own defaults but for what SYSTEMS says, which gives each about the same CPU-seconds. The
figures are those of `gencore evaluate` with the shipped extractor, on the data's test part. A system that is measured
leaves a file in --runs and is not trained again; all of the page outside of the table's two marks is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import gencore
from gencore.config import check
from gencore.data import open_source
from gencore.errors import GencoreError
from gencore.evaluation import Options, evaluate
from gencore.training.trainer import Trainer
from gencore_hub.atomic import atomic_write

SYSTEMS: dict[str, dict[str, float]] = {
    "dcgan": {"steps": 5000},
    "sn-gan": {"steps": 2000},
    "gan-r1": {"steps": 4500},
    "stylegan2": {"steps": 2500, "width": 16},
    "wgan-gp": {"steps": 1500, "batch_size": 32, "learning_rate": 1e-3},
}
"""Arguments of the recipes: two to four CPU-minutes each at 16 x 16 pixels."""
BEGIN, END = "<!-- table: python -m tools.gan_table -->", "<!-- end of table -->"
METRICS = ("frechet", "precision-recall")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`share`: of the steps in SYSTEMS. `samples`: of each trained model, held against the whole test part."""

    data: str
    image_size: int
    share: float = 1.0
    samples: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.share > 0, "share", self.share, "a positive number")
        check(self.samples >= 16, "samples", self.samples, "at least 16")

    @property
    def name(self) -> str:
        """Of the data, without the folder."""
        return self.data.partition(":")[0]

    def arguments(self, system: str) -> dict[str, float]:
        """The recipe's, at least one step."""
        return {**SYSTEMS[system], "steps": max(1, round(self.share * SYSTEMS[system]["steps"]))}


def measure(system: str, setting: Setting) -> dict[str, Any]:
    """One system's row: {"system", "settings", "seconds" of CPU in training, "real" against real, figure: [value, low,
    high]}. Raises GencoreError for data that the system does not take."""
    train, test = (open_source(setting.data, image_size=setting.image_size, split=part) for part in ("train", "test"))
    recipe = gencore.recipe(system, data_shape=tuple(train.shape), **setting.arguments(system))
    began = time.process_time()
    trainer = Trainer(recipe, train, seed=setting.seed, cpu=True)
    trainer.fit()
    seconds = time.process_time() - began
    with trainer.published() as model:
        options = Options(n=setting.samples, seed=setting.seed)
        report = evaluate(model, test, metrics=METRICS, options=options, about={"weights": "as published"})
    trainer.close()
    figures = {figure.name: [figure.value, figure.low, figure.high] for figure in report.figures}
    return {
        "system": system,
        "settings": setting.arguments(system),
        "batch_size": recipe.batch_size,
        "seconds": round(seconds, 1),
        "real": report.figures[0].beside["real against real"],
        **figures,
    }


def rows(setting: Setting, runs: Path) -> list[dict[str, Any]]:
    """All systems' rows, each from its file in `runs` where one of the same setting is there, measured otherwise."""
    runs.mkdir(parents=True, exist_ok=True)
    found = []
    for system in SYSTEMS:
        file, asked = runs / f"{system}.json", {**dataclasses.asdict(setting), "data": setting.name}
        stored = json.loads(file.read_text()) if file.is_file() else {}
        if stored.get("setting") != asked or stored["row"]["settings"] != setting.arguments(system):
            stored = {"setting": asked, "row": measure(system, setting)}
            atomic_write(file, (json.dumps(stored, indent=1) + "\n").encode())
        found.append(stored["row"])
        sys.stderr.write(f"{system}: {found[-1]['frechet'][0]:.3f}\n")
    return found


def table(setting: Setting, found: list[dict[str, Any]]) -> str:
    """Markdown, the least Frechet distance first, and below it what was measured."""
    lines = [
        "| system | Frechet distance | 95 % interval | precision | recall | steps | batch | set | CPU-seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(found, key=lambda row: row["frechet"][0]):
        value, low, high = row["frechet"]
        others = ", ".join(f"{name}={value}" for name, value in row["settings"].items() if name != "steps")
        lines.append(
            f"| `{row['system']}` | {value:.2f} | {low:.2f} to {high:.2f} | {row['precision'][0]:.2f} | "
            f"{row['recall'][0]:.2f} | {row['settings']['steps']:,} | {row['batch_size']} | {others or '-'} | "
            f"{row['seconds']:.0f} |"
        )
    about = (
        f"{setting.name}, {setting.image_size} x {setting.image_size} pixels, {setting.samples:,} samples, seed "
        f"{setting.seed}, one thread. Two halves of the real test part are {found[0]['real']:.2f} apart."
    )
    return "\n".join([*lines, "", about])


def written(page: str, made: str) -> str:
    """The page with the table between its marks; a page without marks has it at its end."""
    block = f"{BEGIN}\n{made}\n{END}"
    if BEGIN in page and END in page:
        before, _, rest = page.partition(BEGIN)
        return before + block + rest.partition(END)[2]
    return f"{page.rstrip()}\n\n{block}\n".lstrip()


def main(given: list[str] | None = None) -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m tools.gan_table", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="digits", help="pictures with a test part, as of gencore train")
    parser.add_argument("--image-size", type=int, default=16, help="to which they are resized: 8, 16, 32 ...")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, which take minutes")
    parser.add_argument("--samples", type=int, default=5000, help="of each trained model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("build/gan_table"), help="where what is measured is kept")
    parser.add_argument("-o", "--output", type=Path, help="the page whose table is replaced, Markdown")
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    try:
        setting = Setting(
            data=arguments.data,
            image_size=arguments.image_size,
            share=arguments.share,
            samples=arguments.samples,
            seed=arguments.seed,
        )
        made = table(setting, rows(setting, arguments.runs))
    except GencoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(made + "\n")
    if arguments.output:
        page = arguments.output.read_text() if arguments.output.is_file() else "# GANs, which one\n"
        atomic_write(arguments.output, written(page, made).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
