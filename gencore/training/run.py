"""A run directory: settings, metrics, sample grids, checkpoints, and the trained model as it stands.

run.json                    the settings, so that `--resume` needs only the directory
metrics.jsonl               one object every `log_every` iterations
samples/step-XXXXXXXX.png   one grid every `sample_every` iterations
checkpoints/step-XXXXXXXX   everything that a resume needs
config.json model.safetensors README.md samples.png   the model at the last checkpoint: `gencore sample RUN`
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gencore.conditions import Image
from gencore.config import from_json, to_json
from gencore.errors import GencoreError
from gencore_hub.atomic import atomic_write


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The settings of one training, as `gencore train` takes them. None: the recipe's own value."""

    system: str
    data: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    set: tuple[str, ...] = ()
    """Further arguments of the recipe, "name=value", the value in JSON (or a bare word)."""
    seed: int = 0
    image_size: int | None = None
    skip_corrupt: bool = False
    checkpoint_every: int = 1000
    sample_every: int = 1000
    log_every: int = 50
    keep: int = 2
    accumulation: int = 1
    precision: Literal["no", "bf16"] = "no"
    compile: bool = False
    shard: bool = False
    tracker: Literal["none", "tensorboard"] = "none"

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "sample_every", "log_every", "keep", "accumulation"):
            if getattr(self, name) < 1:
                raise GencoreError(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name in ("steps", "batch_size", "image_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise GencoreError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.seed < 0:
            raise GencoreError(f"seed is {self.seed}; expected 0 or more.")

    def command(self, out: Path) -> str:
        """The command line that repeats the run."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        words = ["gencore", "train", self.system]
        for name, value in to_json(self).items():
            option = "--" + name.replace("_", "-")
            if name == "system" or value == defaults[name]:
                continue
            if isinstance(value, list):
                words += [word for item in value for word in (option, item)]
            else:
                words += [option] if value is True else [option, str(value)]
        return shlex.join([*words, "--out", str(out)])


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    """{"name": value} from "name=value" pairs; values are JSON, or text where that is no JSON."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise GencoreError(f"--set got {pair!r}; expected name=value, such as latent_dim=32.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        overrides[name.replace("-", "_")] = tuple(value) if isinstance(value, list) else value
    return overrides


def make_recipe(settings: RunSettings, source: Any) -> Any:
    """The system's recipe, fitted to the data: their shape, and their conditions where it takes such."""
    from gencore.api import arguments, recipe
    from gencore.registry import default_registry

    known = arguments(default_registry().resolve(settings.system, "recipe"))
    overrides = {name: value for name, value in from_data(known, source).items() if name in known}
    for name in ("steps", "batch_size"):
        if getattr(settings, name) is not None:
            overrides[name] = getattr(settings, name)
    return recipe(settings.system, **overrides | parse_overrides(settings.set))


def from_data(known: Mapping[str, Any], source: Any) -> dict[str, Any]:
    """What data say of a recipe's arguments: `data_shape`, `num_classes`, and `condition` or `input_shape` of the kind
    that the recipe asks for."""
    from gencore.data.source import conditions_of

    told: dict[str, Any] = {"data_shape": tuple(source.shape)}
    if source.num_classes:
        told["num_classes"] = source.num_classes
    for condition in conditions_of(source):
        if "condition" in known and isinstance(known["condition"].default, type(condition)):
            told["condition"] = condition
        if isinstance(condition, Image):
            told["input_shape"] = condition.shape
    return told


def load_settings(out: Path) -> RunSettings:
    """The settings of an existing run. Raises GencoreError where there is none."""
    path = out / "run.json"
    if not path.is_file():
        raise GencoreError(f"{out} holds no run.json: there is no run to resume. Start one with gencore train NAME.")
    try:
        return from_json(RunSettings, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise GencoreError(f"{path} cannot be read: {error}") from error


def train(settings: RunSettings, out: Path, *, resume: bool = False, quiet: bool = False) -> str | None:
    """Train, or resume, in directory `out`; returns the name of the signal that stopped it, None at its end.

    Raises GencoreError for bad settings, an existing run without `resume`, or a resume with other settings.
    """
    from gencore.data import open_source
    from gencore.training import callbacks as parts
    from gencore.training.trainer import Trainer

    _check_directory(settings, out, resume)
    source = open_source(
        settings.data or _default_data(settings.system),
        image_size=settings.image_size,
        skip_corrupt=settings.skip_corrupt,
    )
    log = parts.MetricsLog(out / "metrics.jsonl", every=settings.log_every, trackers=settings.tracker != "none")
    bar = parts.ProgressBar(quiet=quiet)
    stopper = parts.GracefulStop()
    keeper = parts.Checkpoints(
        out / "checkpoints",
        every=settings.checkpoint_every,
        keep=settings.keep,
        publish=lambda trainer: publish(trainer, settings, out),
    )
    trainer = Trainer(
        make_recipe(settings, source),
        source,
        seed=settings.seed,
        accumulation=settings.accumulation,
        precision=settings.precision,
        compile=settings.compile,
        shard=settings.shard,
        callbacks=(
            log,
            bar,
            parts.SampleGrids(out / "samples", every=settings.sample_every, seed=settings.seed),
            stopper,
            keeper,
        ),
    )
    if settings.tracker != "none":
        trainer.accelerator.log_with = [settings.tracker]
        trainer.accelerator.project_configuration.set_directories(str(out))
        trainer.accelerator.init_trackers("tracker")
    with stopper:
        try:
            if resume:
                _restore(trainer, out)
            elif trainer.accelerator.is_main_process:
                out.mkdir(parents=True, exist_ok=True)
                atomic_write(out / "run.json", (json.dumps(to_json(settings), indent=1) + "\n").encode())
            trainer.accelerator.wait_for_everyone()
            if trainer.accelerator.is_main_process:
                log.rewind(trainer.iteration)
            trainer.fit()
        finally:
            bar.stop()
        if keeper.latest is None and trainer.stop is None:
            publish(trainer, settings, out)  # resumed at its end: the kill may have come before this was written
        trainer.close()
    return trainer.stop


def resume_command(out: Path) -> str:
    """The command line that continues the run in `out`."""
    return shlex.join(["gencore", "train", "--resume", "--out", str(out)])


def next_command(settings: RunSettings, out: Path) -> str:
    """A command line that shows what was trained."""
    from gencore.registry import default_registry

    spec = default_registry().owner(settings.system)[1]
    model, data = str(out), ["--data", settings.data] if settings.data else []
    if "sampler" in spec.roles:
        return shlex.join(["gencore", "sample", model, "-n", "64", "-o", "samples.png"])
    if "translate" in spec.traits:
        return shlex.join(["gencore", "translate", model, "PICTURE.png", "-o", "translated.png"])
    if "reconstruct" in spec.traits:
        return shlex.join(["gencore", "reconstruct", model, *data, "-o", "reconstructions.png"])
    if "classify" in spec.traits:
        return shlex.join(["gencore", "classify", model, *data])
    if "encoder" in spec.roles:
        return shlex.join(["gencore", "map", model, *data, "-o", "map.png"])
    return shlex.join(["python", "-c", f"import gencore; print(gencore.from_pretrained({model!r}))"])


def is_first_process() -> bool:
    """Whether this is the process that writes, as torchrun and accelerate launch number them."""
    return int(os.environ.get("RANK", "0")) == 0


def publish(trainer: Any, settings: RunSettings, out: Path) -> None:
    """Write the model as it stands, with its card, into the run directory. Call it on every process: one writes."""
    with trainer.published() as model:
        if trainer.accelerator.is_main_process:
            _write_model(model, trainer, settings, out)


def _write_model(model: Any, trainer: Any, settings: RunSettings, out: Path) -> None:
    from gencore.cards import card_for
    from gencore.training.callbacks import preview

    samples = preview(model, trainer.stage_source, settings.seed) if len(trainer.source.shape) == 3 else None
    card = card_for(
        model,
        name=str(out),
        data=f"{trainer.source.name}, {len(trainer.source):,} examples of shape {tuple(trainer.source.shape)}",
        command=settings.command(out),
        limitations=(f"Trained for {trainer.iteration:,} of {trainer.iterations:,} iterations.",),
        has_samples=samples is not None,
    )
    model.save_pretrained(out, card=card, samples=samples)


def _default_data(system: str) -> str:
    from gencore.api import recipe

    return recipe(system).data


def _check_directory(settings: RunSettings, out: Path, resume: bool) -> None:
    """A resume needs a run with the same settings there, a new run needs that there is none."""
    if resume:
        stored = load_settings(out)
        different = [
            f"{field.name} was {getattr(stored, field.name)!r}, now {getattr(settings, field.name)!r}"
            for field in dataclasses.fields(settings)
            if getattr(stored, field.name) != getattr(settings, field.name)
        ]
        if different:
            raise GencoreError(f"{out} cannot be resumed with other settings: {'; '.join(different)}.")
        return
    if is_first_process() and (out / "run.json").exists():
        raise GencoreError(f"{out} holds a run already. Add --resume to continue it, or choose another --out.")


def _restore(trainer: Any, out: Path) -> None:
    from gencore.training.checkpoint import checkpoints, read

    found = checkpoints(out / "checkpoints")
    if found:
        trainer.load_state(read(found[-1]))
