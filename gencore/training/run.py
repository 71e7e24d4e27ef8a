"""A run directory: settings, metrics, sample grids, checkpoints, and the trained model as it stands.

run.json                    the settings, and what the data are, so that `--resume` needs only the directory
run.lock                    held by the training that is under way
metrics.jsonl               one object every `log_every` iterations
samples/step-XXXXXXXX.png   a grid at iterations 1, 10 and 100 of a longer training, and every `sample_every`
samples/trajectory.png      of a model with two parameters: their path, and its numbers in trajectory.npy
checkpoints/step-XXXXXXXX   everything that a resume needs
config.json model.safetensors README.md samples.png   the model at the last checkpoint: `gencore sample RUN`
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gencore.conditions import Attributes, Image, Tokens
from gencore.errors import GencoreError, NonFiniteError, PluginError
from gencore.paths import user_path
from gencore.training import directory
from gencore.training.progress import is_first_process as is_first_process
from gencore.training.settings import RunSettings as RunSettings
from gencore.training.settings import lasting, lasting_model, lasting_path, load_fingerprint, store
from gencore.training.settings import load_settings as load_settings
from gencore.training.settings import parse_overrides as parse_overrides
from gencore_hub.foreign import shown

PATHS = (("data", lasting), ("second_data", lasting), ("init_from", lasting_model), ("cache", lasting_path))


def make_recipe(settings: RunSettings, source: Any, initial: Any = None) -> Any:
    """The system's recipe, fitted to the data: their shape, and their conditions where it takes such. With a model to
    begin from (`initial`), that model's own config, which the data must fit."""
    from gencore.api import arguments, recipe
    from gencore.registry import default_registry

    known = arguments(default_registry().resolve(settings.system, "recipe"))
    overrides = {name: value for name, value in from_data(known, source).items() if name in known}
    for name in ("steps", "batch_size"):
        if getattr(settings, name) is not None:
            overrides[name] = getattr(settings, name)
    made = recipe(settings.system, **overrides | parse_overrides(settings.set))
    _check_loadable(made)
    return made if initial is None else _fitted(made, initial, settings)


def _column_of_classes(settings: RunSettings, source: Any) -> str | None:
    """The key of the column that was asked for, where the system is conditioned on classes and would else take those
    of the folders. Raises GencoreError for several columns."""
    from gencore.api import arguments
    from gencore.data.source import conditions_of
    from gencore.registry import default_registry

    kinds = [kind for kind in conditions_of(source) if isinstance(kind, Attributes | Tokens)]
    known = arguments(default_registry().resolve(settings.system, "recipe"))
    if settings.condition in (None, "none") or not kinds or "num_classes" not in known:
        return None
    taken = known["condition"].default if "condition" in known else None
    if any(isinstance(taken, type(kind)) for kind in kinds):
        return None
    names = [name for kind in kinds for name in (kind.names if isinstance(kind, Attributes) else (Tokens.key,))]
    if len(names) > 1:
        raise GencoreError(
            f"--condition {settings.condition} gives {', '.join(names)}, and {settings.system} is conditioned on one "
            "class a picture: name one column, or take a system that is conditioned on such columns "
            "(docs/conditional.md)."
        )
    return names[0]


def _check_loadable(made: Any) -> None:
    """Raise PluginError, before anything is trained, unless what the training saves is what its system's name loads."""
    from gencore.config import from_json, to_json
    from gencore.registry import default_registry

    registered = default_registry().resolve(made.name, "model")
    if registered is not made.model:
        raise PluginError(
            f"The recipe of {made.name!r} trains a {made.model.__name__}, and its SYSTEM says that the model is "
            f"{registered.__name__}: nobody could load what it saves. Report it to the plugin's authors."
        )
    try:
        again = from_json(type(made.config), to_json(made.config), version=type(made.config).version)
    except ValueError as error:
        again = error
    if again != made.config:
        raise PluginError(
            f"The config of {made.name!r} does not come back from config.json as it is: {again}. Report it to the "
            "plugin's authors: a field's value is not of the type that the field is declared with."
        )


def _fitted(made: Any, initial: Any, settings: RunSettings) -> Any:
    """The recipe with the config of the model that it begins from. Raises GencoreError for another kind of model, and
    for data or settings that ask for another shape, other classes or another condition than it has."""
    where = f"--init-from {settings.init_from}"
    if type(initial) is not made.model:
        raise GencoreError(
            f"{where} holds a {type(initial).__name__}; {settings.system} trains a {made.model.__name__}. Name the "
            "system that it was trained with."
        )
    given = parse_overrides(settings.set)
    asked = [name for name in ("data_shape", "num_classes", "condition", "input_shape") if hasattr(made.config, name)]
    different = [
        f"{field.name} is {getattr(initial.config, field.name)!r} there and {getattr(made.config, field.name)!r} here"
        for field in dataclasses.fields(made.config)
        if field.name in (*asked, *given) and getattr(initial.config, field.name) != getattr(made.config, field.name)
    ]
    if different:
        raise GencoreError(f"{where} does not fit the data and settings: {'; '.join(different)}.")
    return dataclasses.replace(made, config=initial.config)


def from_data(known: Mapping[str, Any], source: Any) -> dict[str, Any]:
    """What data say of a recipe's arguments: `data_shape`, `num_classes`, `vocabulary`, `sample_rate`, and `condition`
    or `input_shape` of the kind that the recipe asks for."""
    from gencore.data.source import conditions_of

    told: dict[str, Any] = {"data_shape": tuple(source.shape)}
    if source.num_classes:
        told["num_classes"] = source.num_classes
    for name in ("vocabulary", "sample_rate"):
        if value := getattr(source, name, None):
            told[name] = value
    for condition in conditions_of(source):
        if "condition" in known and isinstance(known["condition"].default, type(condition)):
            told["condition"] = condition
        if isinstance(condition, Image):
            told["input_shape"] = condition.shape
    return told


def train(settings: RunSettings, out: Path, *, resume: bool = False, quiet: bool = False) -> str | None:
    """Train, or resume, in directory `out`; returns the name of the signal that stopped it, None at its end.

    Relative paths in the settings are taken from the working directory, once. Raises GencoreError for bad settings, an
    existing run without `resume`, a resume with other settings or other data, and where the run is under way.
    """
    out = user_path(out)
    stored = load_settings(out) if resume else None
    for name, read in PATHS:
        if stored is None or getattr(settings, name) != getattr(stored, name):
            changed: dict[str, Any] = {name: read(getattr(settings, name))}
            settings = dataclasses.replace(settings, **changed)
    if stored is not None:
        given = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
        settings = stored.changed(given, out)
    # Before the lock where there was never a run: data that cannot be opened, and settings that no recipe takes, then
    # leave nothing behind.
    source = None if (out / directory.LOCK).exists() else open_data(settings)
    if source is not None:
        make_recipe(settings, source)
    with directory.held(out) if is_first_process() else contextlib.nullcontext():
        if not resume and is_first_process() and directory.refuse_occupied(out):
            _say(f"{out} holds a run that ended before its first checkpoint: it is begun anew.")
        return _train(settings, stored, out, open_data(settings) if source is None else source, quiet)


def _train(settings: RunSettings, stored: RunSettings | None, out: Path, source: Any, quiet: bool) -> str | None:
    """`train` inside the lock; `stored`: the settings of the run that is resumed."""
    from gencore.data import fingerprint
    from gencore.training import callbacks as parts
    from gencore.training.trajectory import Trajectory

    known = None if stored is None else load_fingerprint(out)
    if known is not None:
        _check_data(known, source, out)
    initial = _initial(settings, out)
    log = parts.MetricsLog(out / directory.METRICS, every=settings.log_every, trackers=settings.tracker != "none")
    if not quiet and (names := class_names(source)):
        _say(f"classes: {numbered(names)}")
    bar, stopper = parts.ProgressBar(quiet=quiet), parts.GracefulStop()
    grids = parts.SampleGrids(out / directory.SAMPLES, every=settings.sample_every, seed=settings.seed, stopper=stopper)
    keeper = parts.Checkpoints(
        out / directory.CHECKPOINTS,
        every=settings.checkpoint_every,
        keep=settings.keep,
        publish=lambda trainer: publish(trainer, settings, out, stopper),
    )
    # Pictures may take minutes: the checkpoint comes before them, and a signal ends them.
    looks = (log, bar, stopper, keeper, grids, Trajectory(out / directory.SAMPLES, every=settings.sample_every))
    trainer = make_trainer(settings, source, initial, (*_heldout(settings, source), *looks))
    main = trainer.accelerator.is_main_process
    with stopper:
        try:
            if stored is not None:
                _restore(trainer, stored, source, initial, out)
            trainer.accelerator.wait_for_everyone()
            if main:
                log.rewind(trainer.iteration, _say)
                if settings != stored or known is None:
                    store(settings, known or fingerprint(source), out)
            if settings.tracker != "none":
                _start_tracker(trainer, settings, out)
            if stored is not None:
                grids.make_up(trainer)
            trainer.fit()
        except NonFiniteError as error:
            log.stopped(trainer, str(error))
            raise
        finally:
            bar.stop()
        if keeper.latest is None and trainer.stop is None:
            publish(trainer, settings, out, stopper)  # resumed at its end: the kill may have come before this
        trainer.close()
    return trainer.stop or stopper.received  # one that came while the last pictures were drawn has left them out


def _heldout(settings: RunSettings, source: Any) -> tuple[Any, ...]:
    """What looks at the data's test part: where that is asked for, and unless it is refused where there is one."""
    from gencore.data.names import has_test_part
    from gencore.training import heldout

    def part() -> Any:
        return heldout.check_apart(open_data(settings, split="test"), source)

    def part_if_any() -> Any:
        with contextlib.suppress(GencoreError):
            return part()
        return None

    asked = settings.evaluate_every
    if asked:
        heldout.check_alone(shard=settings.shard)
        known = part()
        look = heldout.HeldOut(lambda: known, every=asked, log_every=settings.log_every, seed=settings.seed)
        return (look,)
    named = has_test_part(settings.data or _default_data(settings.system))
    if asked == 0 or not (named and heldout.alone(shard=settings.shard)):
        return ()
    return (heldout.HeldOut(part_if_any, every=heldout.EVERY, log_every=settings.log_every, seed=settings.seed),)


def _initial(settings: RunSettings, out: Path) -> Any:
    """The model that the training begins from, None for a new one. A run that has a model already takes that, whose
    weights its checkpoint replaces: what it began from may be gone."""
    from gencore.api import from_pretrained
    from gencore.training.checkpoint import checkpoints

    if settings.init_from is None:
        return None
    own = checkpoints(out / directory.CHECKPOINTS) and (out / "config.json").exists()
    return from_pretrained(out if own else settings.init_from)


def make_trainer(settings: RunSettings, source: Any, initial: Any, callbacks: tuple[Any, ...]) -> Any:
    """The trainer of these settings, with the weights of `initial` if it is given."""
    from gencore.training.trainer import Trainer

    trainer = Trainer(
        make_recipe(settings, source, initial),
        source,
        seed=settings.seed,
        accumulation=settings.accumulation,
        precision=settings.precision,
        compile=settings.compile,
        shard=settings.shard,
        callbacks=callbacks,
    )
    if initial is not None:
        trainer.begin_from(initial)
    return trainer


def open_data(settings: RunSettings, *, split: Literal["train", "test"] = "train") -> Any:
    """The source that the settings name, or the system's own; with the values of a column as its classes, where one is
    asked for and the system is conditioned on classes."""
    from gencore.data.by_attribute import by_attribute

    source = _opened(settings, split)
    column = _column_of_classes(settings, source)
    return source if column is None else by_attribute(source, column)


def _opened(settings: RunSettings, split: Literal["train", "test"]) -> Any:
    """The source as it is. Of a folder of pictures of mixed sizes, a system that cuts squares from pictures (its recipe
    takes `crop`) gets squares of that side, unless an image_size is given."""
    from gencore.data import open_source
    from gencore.data.sources.folder import MixedSizesError

    options: dict[str, Any] = {
        "split": split,
        "skip_corrupt": settings.skip_corrupt,
        "data_range": settings.data_range,
        "condition": settings.condition,
        "second": settings.second_data,
        "cache": settings.cache,
    }
    data = settings.data or _default_data(settings.system)
    try:
        return open_source(data, image_size=settings.image_size, **options)
    except MixedSizesError:
        side = _crop(settings)
        if not side or settings.second_data is not None or data.startswith(("paired:", "unpaired:")):
            raise
        return open_source(f"squares:{data}", image_size=side, **options)


def _crop(settings: RunSettings) -> int:
    """The side of the squares that the system cuts from pictures; 0 where it takes them whole."""
    from gencore.api import arguments
    from gencore.registry import default_registry

    known = arguments(default_registry().resolve(settings.system, "recipe"))
    if "crop" not in known:
        return 0
    side = parse_overrides(settings.set).get("crop", known["crop"].default)
    return side if isinstance(side, int) else 0


def resume_command(out: Path) -> str:
    """The command line that continues the run in `out`."""
    return shlex.join(["gencore", "train", "--resume", "--out", str(out)])


def next_command(settings: RunSettings, out: Path) -> str:
    """A command line that shows what was trained."""
    from gencore.registry import default_registry

    spec = default_registry().owner(settings.system)[1]
    model, data = str(out), ["--data", settings.data] if settings.data else []
    if "sampler" in spec.roles:
        return shlex.join(["gencore", "sample", model, *_told(out)])
    if "translate" in spec.traits:
        return shlex.join(["gencore", "translate", model, "PICTURE.png", "-o", "translated.png"])
    if "reconstruct" in spec.traits:
        return shlex.join(["gencore", "reconstruct", model, *data, "-o", "reconstructions.png"])
    if "classify" in spec.traits:
        return shlex.join(["gencore", "classify", model, *data])
    if "encoder" in spec.roles:
        return shlex.join(["gencore", "map", model, *data, "-o", "map.png"])
    return shlex.join(["python", "-c", f"import gencore; print(gencore.from_pretrained({model!r}))"])


def _told(out: Path) -> list[str]:
    """What samples of the model in `out` must be told, as options: a sentence of its words, or a file. Classes and
    attributes are drawn where nobody tells them."""
    from gencore_hub.config_file import read_config

    config = read_config(out)["config"] if (out / "config.json").is_file() else {}
    condition = config.get("condition")
    if isinstance(condition, dict) and "words" in condition:
        return ["--condition", " ".join(condition["words"][: condition["length"]])]
    return ["--condition", "FILE"] if config.get("input_shape") else []


def class_names(source: Any) -> tuple[str, ...]:
    """The names of the source's classes, as text that any file can hold."""
    from gencore.data.source import class_names_of

    return tuple(shown(name, line=True) for name in class_names_of(source))


def numbered(names: tuple[str, ...], most: int = 20) -> str:
    """ "cat=0, dog=1": at most so many."""
    listed = [f"{name}={number}" for number, name in enumerate(names[:most])]
    return ", ".join([*listed, *([f"and {len(names) - most} more"] if len(names) > most else [])])


def publish(trainer: Any, settings: RunSettings, out: Path, stopper: Any = None) -> None:
    """Write the model as it stands, with its card, into the run directory. Call it on every process: one writes.

    A signal that `stopper` (GracefulStop) holds leaves the picture out.
    """
    with trainer.published() as model:
        if trainer.accelerator.is_main_process:
            _write_model(model, trainer, settings, out, stopper)


def _write_model(model: Any, trainer: Any, settings: RunSettings, out: Path, stopper: Any) -> None:
    from gencore.cards import card_for
    from gencore.training.callbacks import drawable, preview

    pictured = drawable(trainer.source.shape)
    samples = preview(model, trainer.stage_source, settings.seed, stopper=stopper) if pictured else None
    data = f"{trainer.source.name}, {len(trainer.source):,} examples of shape {tuple(trainer.source.shape)}"
    if model.named_condition is not None or hasattr(model, "classify"):
        model.class_names = class_names(trainer.source)
    if model.class_names:
        data = f"{data}; classes {numbered(model.class_names)}"
    card = card_for(
        model,
        name=str(out),
        data=data,
        command=settings.command(out),
        limitations=(f"Trained for {trainer.iteration:,} of {trainer.iterations:,} iterations.",),
        has_samples=samples is not None,
    )
    model.save_pretrained(out, card=card, samples=samples)


def _default_data(system: str) -> str:
    from gencore.api import recipe

    return recipe(system).data


def _check_data(known: Mapping[str, Any], source: Any, out: Path) -> None:
    from gencore.data.fingerprints import check_fingerprint

    try:
        check_fingerprint(known, source)
    except GencoreError as error:
        raise GencoreError(f"{out} cannot be resumed: {error}") from error


def _restore(trainer: Any, stored: RunSettings, source: Any, initial: Any, out: Path) -> None:
    """Load the newest checkpoint. What follows from a longer training, such as its schedule, may differ: it is said."""
    from gencore.training import identity
    from gencore.training.checkpoint import checkpoints, read

    found = checkpoints(out / directory.CHECKPOINTS)
    if not found:
        return
    before = identity.describe(make_recipe(stored, source, initial))
    follows = identity.differences(before, identity.describe(trainer.recipe))
    trainer.load_state(read(found[-1]), allowed=follows)
    further = [text for path, text in follows.items() if not identity.is_length(path)]
    if further:
        _say(f"The new number of iterations changes, from iteration {trainer.iteration:,} on: {'; '.join(further)}.")


def _start_tracker(trainer: Any, settings: RunSettings, out: Path) -> None:
    """What a killed run has told the tracker of later iterations is taken back: they come again."""
    trainer.accelerator.log_with = [settings.tracker]
    trainer.accelerator.project_configuration.set_directories(str(out))
    options = {"tensorboard": {"purge_step": trainer.iteration + 1}} if trainer.iteration else {}
    trainer.accelerator.init_trackers(directory.TRACKER, init_kwargs=options)


def _say(text: str) -> None:
    if is_first_process():
        sys.stderr.write(f"{shown(text)}\n")
