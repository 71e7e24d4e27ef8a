"""The "reality check" of self-supervision, small: seven ways to pre-train one encoder, judged by one linear probe.

python -m tools.selfsup_table                                     the bundled digits
python -m tools.selfsup_table --data mnist:FOLDER -o docs/selfsup.md

The rows are those of the table of Pathak et al. 2016 (arXiv:1604.07379): labels, nothing, an autoencoder, egomotion,
context prediction, motion and context encoders. All train the same encoder, for the same number of steps, on the same
pictures. A fresh softmax regression on a few labels reads the codes.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gencore
from gencore import Adam, Loss, Objective, Phase, Recipe, Stage
from gencore.config import check
from gencore.data import InMemory, open_source
from gencore.data.by_class import balanced_rows
from gencore.data.images import resize_images
from gencore.errors import GencoreError
from gencore.evaluation.probe import accuracy, linear_probe
from gencore.evaluation.retrieval import nearest, recall_at
from gencore.nn.conv import conv_decoder
from gencore.training.trainer import Trainer
from gencore_representation.context_encoder import middle
from gencore_representation.context_prediction import which_place
from gencore_representation.egomotion import which_motion
from gencore_representation.parts.networks import Embedding, EncoderConfig
from gencore_representation.video_triplet import track_ends

NUM_TRACKS = 200
PATCHES = 4
"""Times that a picture is enlarged for context prediction: then its patches are as large as the encoder's pictures."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`train` and `test`: labelled pictures (N, C, S, S), S a power of 2 from 8. `steps` of `batch_size` pictures for
    every row. `num_labels`: what the probe is given, evenly of every class."""

    train: InMemory
    test: InMemory
    steps: int
    batch_size: int = 64
    code_dim: int = 64
    width: int = 32
    num_labels: int = 200

    def __post_init__(self) -> None:
        if self.train.label is None or self.test.label is None:
            raise GencoreError(f"{self.train.name} has no labels: the probe and the first row need them.")
        check(self.steps >= 1, "steps", self.steps, "at least 1")
        check(len(self.test) >= NUM_TRACKS, "test pictures", len(self.test), f"at least {NUM_TRACKS}")

    def config(self, kind: type[EncoderConfig] = EncoderConfig, **more: Any) -> Any:
        """The encoder's, the same in every row."""
        return kind(data_shape=self.train.shape, code_dim=self.code_dim, width=self.width, **more)

    def recipe(self, system: str, **more: Any) -> Recipe:
        """A system's, with this encoder and these steps."""
        sizes = {"data_shape": self.train.shape, "code_dim": self.code_dim, "width": self.width}
        return gencore.recipe(system, **{**sizes, "steps": self.steps, "batch_size": self.batch_size, **more})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedConfig(EncoderConfig):
    """`num_classes`: of the labels."""

    num_classes: int = 10


class Supervised(Embedding):
    """The encoder, and a linear head that names the class."""

    config_class = SupervisedConfig

    def __init__(self, config: SupervisedConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.code_dim, config.num_classes)

    def answer(self, x: Tensor) -> Tensor:
        """Pictures -> logits (N, num_classes)."""
        return self.head(self.encode(x).relu())


class Autoencoder(Embedding):
    """The encoder, and its mirror image."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.head = conv_decoder(config.data_shape, width=config.width, inputs=config.code_dim)

    def answer(self, x: Tensor) -> Tensor:
        """Pictures -> pictures of the same shape."""
        return torch.tanh(self.head(self.encode(x))[:, 0])


class Baseline(Objective):
    """Phase "baseline": error(model.answer(x), batch[target])."""

    def __init__(self, error: Callable[[Tensor, Tensor], Tensor], target: str) -> None:
        super().__init__()
        self.error, self.target = error, target

    def baseline(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and what is to be answered."""
        return Loss(self.error(model.answer(batch["x"]), batch[self.target]))


def _baseline(setting: Setting, model: Any, config: EncoderConfig, error: Any, target: str) -> Recipe:
    phase = Phase(name="baseline", parts=("encoder", "head"), optimizer=Adam(learning_rate=1e-3))
    stage = Stage(objective=Baseline(error, target), phases=(phase,), steps=setting.steps)
    return Recipe(name="baseline", model=model, config=config, stages=(stage,), batch_size=setting.batch_size)


def _fit(recipe: Recipe, source: InMemory, seed: int) -> Any:
    return Trainer(recipe, source, seed=seed, cpu=True).fit().eval().requires_grad_(False)


Trained = tuple[nn.Module, str, float | None]
"""The encoder, what its own task is judged by, and that figure on the test pictures."""


def supervised(setting: Setting, seed: int) -> Trained:
    """Names of the classes, all labels given."""
    config = setting.config(SupervisedConfig, num_classes=setting.train.num_classes)
    model = _fit(_baseline(setting, Supervised, config, F.cross_entropy, "label"), setting.train, seed)
    right = model.answer(setting.test.x).argmax(1) == setting.test.label
    return model.encoder, "classes named right", right.float().mean().item()


def untrained(setting: Setting, seed: int) -> Trained:
    """Random weights."""
    torch.manual_seed(seed)
    return Embedding(setting.config()).requires_grad_(False).encoder, "", None


def autoencoder(setting: Setting, seed: int) -> Trained:
    """The picture itself."""
    model = _fit(_baseline(setting, Autoencoder, setting.config(), F.mse_loss, "x"), setting.train, seed)
    x = setting.test.x
    share = F.mse_loss(model.answer(x), x) / (x - setting.train.x.mean(0)).square().mean()
    return model.encoder, "squared error over the mean picture's", share.item()


def _tasks(model: Any, ask: Any, x: Tensor) -> float:
    """The mean share of right answers to a pretext task's questions."""
    return statistics.fmean((task.logits.argmax(1) == task.target).float().mean().item() for task in ask(model, x))


def egomotion(setting: Setting, seed: int) -> Trained:
    """How a second view was moved and turned."""
    recipe = setting.recipe("egomotion", max_shift=max(1, setting.train.shape[-1] // 8))
    model = _fit(recipe, setting.train, seed)
    return model.encoder, "shifts and turns named right", _tasks(model, which_motion, setting.test.x)


def context(setting: Setting, seed: int) -> Trained:
    """Where a patch lies beside another: of enlarged pictures, so that a patch is what the encoder takes."""
    channels, size, _ = setting.train.shape
    train, test = (resize_images(part.x, PATCHES * size) for part in (setting.train, setting.test))
    patches = {"patch_size": size, "gap": size // 4, "jitter": size // 8}
    recipe = setting.recipe("context-prediction", data_shape=(channels, *train.shape[2:]), **patches)
    model = _fit(recipe, dataclasses.replace(setting.train, x=train), seed)
    return model.encoder, "places named right (chance 0.125)", _tasks(model, which_place, test)


def motion(setting: Setting, seed: int) -> Trained:
    """First and last frame of a track."""
    model = _fit(setting.recipe("video-triplet"), setting.train, seed)
    first, last = (model.encode(frame) for frame in track_ends(setting.test.x[:NUM_TRACKS], motion=1.0))
    found = recall_at(nearest(first, last, 1, metric="cosine")[0], torch.arange(NUM_TRACKS))
    return model.encoder, f"last frames found among {NUM_TRACKS}", found


def inpainting(setting: Setting, seed: int) -> Trained:
    """The missing middle."""
    model = _fit(setting.recipe("context-encoder"), setting.train, seed)
    hole, mean = middle(setting.test.x), middle(setting.train.x.mean(0, keepdim=True))
    share = F.mse_loss(model.generate(model.encode(setting.test.x)), hole) / (hole - mean).square().mean()
    return model.encoder, "squared error in the hole over the mean picture's", share.item()


ROWS: tuple[tuple[str, str, Callable[[Setting, int], Trained]], ...] = (
    ("labels", "all labels", supervised),
    ("random weights", "nothing", untrained),
    ("autoencoder", "the picture", autoencoder),
    ("egomotion (Agrawal et al. 2015)", "shift and turn", egomotion),
    ("context prediction (Doersch et al. 2015)", "places of patches", context),
    ("motion (Wang & Gupta 2015)", "made tracks", motion),
    ("context encoder (Pathak et al. 2016)", "the middle", inpainting),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One pre-training over all seeds: accuracies of the probe, the task's own figures, CPU-seconds of training."""

    name: str
    supervision: str
    probe: tuple[float, ...]
    task: str = ""
    own: tuple[float, ...] = ()
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Of the probe."""
        return statistics.fmean(self.probe)


def probed(encode: Callable[[Tensor], Tensor], setting: Setting, seed: int) -> float:
    """Accuracy on the test pictures of a probe of `num_labels` training pictures, drawn from `seed`."""
    assert setting.train.label is not None
    assert setting.test.label is not None
    assert setting.train.num_classes is not None
    rows = balanced_rows(setting.train.label, tuple(range(setting.train.num_classes)), setting.num_labels, seed=seed)
    z, held_out = encode(setting.train.x[rows]), encode(setting.test.x)
    return accuracy(linear_probe(z, setting.train.label[rows]), held_out, setting.test.label)


def measure(setting: Setting, seeds: int) -> list[Row]:
    """The seven rows, and raw pixels as an eighth."""
    table = []
    for name, supervision, train in ROWS:
        began, results = time.process_time(), [train(setting, seed) for seed in range(seeds)]
        seconds = (time.process_time() - began) / seeds
        probe = tuple(probed(encoder, setting, seed) for seed, (encoder, _, _) in enumerate(results))
        own = tuple(figure for _, _, figure in results if figure is not None)
        table.append(Row(name=name, supervision=supervision, probe=probe, task=results[0][1], own=own, seconds=seconds))
        sys.stderr.write(f"{name}: {table[-1].mean:.3f}\n")
    raw = tuple(probed(lambda x: x.flatten(1), setting, seed) for seed in range(seeds))
    return [*table, Row(name="no encoder", supervision="raw pixels", probe=raw)]


def spread(figures: tuple[float, ...]) -> float:
    """Standard deviation; 0 of one."""
    return statistics.stdev(figures) if len(figures) > 1 else 0.0


def better(row: Row, than: Row) -> bool:
    """By more than both spreads together."""
    return row.mean - spread(row.probe) > than.mean + spread(than.probe)


def table(setting: Setting, rows: list[Row]) -> str:
    """A Markdown table, a line a row."""
    lines = [
        f"| pre-training | supervision | probe, {setting.num_labels} labels | its own task | CPU-seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        own = f"{statistics.fmean(row.own):.3f} ± {spread(row.own):.3f} {row.task}" if row.own else "-"
        probe = f"{100 * row.mean:.1f} ± {100 * spread(row.probe):.1f} %"
        seconds = f"{row.seconds:.0f}" if row.seconds >= 0.5 else "-"
        lines.append(f"| {row.name} | {row.supervision} | {probe} | {own} | {seconds} |")
    return "\n".join(lines)


def findings(rows: list[Row]) -> str:
    """How the rows stand to labels, to random weights and to raw pixels: a Markdown list."""
    labels, random, *pretexts, raw = rows

    def beside(reference: Row, others: list[Row]) -> str:
        kinds = {
            "better": [row.name for row in others if better(row, reference)],
            "worse": [row.name for row in others if better(reference, row)],
        }
        kinds["neither"] = [row.name for row in others if row.name not in kinds["better"] + kinds["worse"]]
        return "; ".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in kinds.items())

    return "\n".join(
        f"- Beside {reference.name if reference is not raw else 'raw pixels'}: {beside(reference, others)}."
        for reference, others in ((labels, [random, *pretexts]), (random, pretexts), (raw, [random, *pretexts]))
    )


def page(setting: Setting, rows: list[Row]) -> str:
    """The table and what follows from it, in Markdown."""
    train, test, size = setting.train, setting.test, setting.train.shape[-1]
    return f"""# Self-supervision: a small reality check

By `python -m tools.selfsup_table`: {train.name}, {len(train):,} pictures of {size} x {size} to train on and
{len(test):,} to judge by. Every row trains the same convolutional encoder, {setting.code_dim} numbers a code,
for {setting.steps:,} steps of {setting.batch_size} pictures. A fresh softmax regression then learns the classes from
the codes of {setting.num_labels} pictures. Mean and standard deviation over {len(rows[0].probe)} seeds.

{table(setting, rows)}

What it shows; a difference counts where it is larger than both spreads together:

{findings(rows)}

What it does not show: which of these pretexts is the best. One small encoder, few steps, centred digits, and no
fine-tuning, detection or segmentation are far from photographs and deep networks. A task that is solved says little
about what its codes are good for. The tracks are made from still pictures.
"""


def settings_of(arguments: argparse.Namespace) -> Setting:
    """From the command line's. Raises GencoreError."""
    parts = []
    for split, most in (("train", arguments.pictures), ("test", arguments.test_pictures)):
        source = open_source(arguments.data, image_size=arguments.image_size, split=split)
        batch = source.fetch(torch.arange(min(most, len(source))))
        label = batch.get("label")
        name = arguments.data.partition(":")[0]
        parts.append(InMemory(x=batch["x"], label=label, num_classes=source.num_classes, name=name))
    return Setting(train=parts[0], test=parts[1], steps=arguments.steps, num_labels=arguments.labels)


def main(given: list[str] | None = None) -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m tools.selfsup_table", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="digits", help="labelled pictures with a test part, as of gencore train")
    parser.add_argument("--image-size", type=int, default=16, help="to which they are resized: 8, 16, 32 ...")
    parser.add_argument("--pictures", type=int, default=10_000, help="training pictures, at most")
    parser.add_argument("--test-pictures", type=int, default=5_000, help="test pictures, at most")
    parser.add_argument("--labels", type=int, default=200, help="labels that the probe is given")
    parser.add_argument("--steps", type=int, default=1500, help="of every training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of every row")
    parser.add_argument("-o", "--output", type=Path, help="where to write the table, Markdown")
    arguments = parser.parse_args(given)
    try:
        check(arguments.seeds >= 1, "seeds", arguments.seeds, "at least 1")
        setting = settings_of(arguments)
        text = page(setting, measure(setting, arguments.seeds))
    except GencoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
