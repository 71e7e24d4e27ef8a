"""The long fuzzing of `python -m tools.faults fuzz`: what is drawn for which door, and what must not happen there."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from tests.faults.fuzzing import Fuzzing

CONFIG_SYSTEMS = ("dcgan", "gan", "vae", "iaf-vae", "pixel-vae", "aae", "vq-vae", "ddpm", "edm", "conv-autoencoder")
MOST_MEMORY = 256
"""MiB that the whole of one target may add to the most that the process ever held."""


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """`count` cases: of models four fifths (config.json 40 %, weights and names 10 % each, cards and odd places 8 %
    each), of data, runs and a terminal's text the rest."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    run = Fuzzing(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for part in (_models, _places_of_models, _data, _places_of_data, _checkpoints, _runs, _texts):
            held = _peak()
            first = len(run.rows)
            part(run, root / part.__name__, count)
            if (added := _peak() - held) > MOST_MEMORY:
                run.rows[-1]["failures"].append(f"{added} MiB of memory")
            run.rows[first:] = [row | {"peak_mib": _peak()} for row in run.rows[first:]]
    return {"seed": seed, "targets": run.rows, "passed": not any(row["failures"] for row in run.rows)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _models(run: Fuzzing, root: Path, count: int) -> None:
    """Contents of the files of a model's directory, and the names under which models are asked for."""
    import gencore
    import gencore_hub
    from gencore.cli.hub import _license, _text
    from gencore.cli.show import shown
    from gencore.testing.conformance import tiny_model
    from tests.faults.hostile import configs, lay_traps
    from tests.faults.hostile_files import cards, names, weights

    for system in CONFIG_SYSTEMS:
        target = root / system
        tiny_model(system).save_pretrained(target)
        lay_traps(target)
        load = functools.partial(gencore.from_pretrained, target)
        strategy = configs(json.loads((target / "config.json").read_text()))
        share = count * 2 // 5 // len(CONFIG_SYSTEMS)
        run.files(f"config.json of {system}", target / "config.json", load, strategy, share)
    target = root / "gan"
    load = functools.partial(gencore.from_pretrained, target)
    file = target / "model.safetensors"
    run.files("model.safetensors", file, load, weights(file.read_bytes()), count // 10)
    show = lambda: (shown(_text(target)), _license(target))  # noqa: E731
    run.files("README.md", target / "README.md", show, cards, count * 2 // 25)
    both = st.tuples(names, st.none() | names)
    run.values("names and revisions", lambda pair: gencore_hub.resolve(*pair), both, count // 10)


def _places_of_models(run: Fuzzing, root: Path, count: int) -> None:
    """Something else in the place of a file: neither loaded nor pushed, though a like lies behind a link."""
    import gencore
    from gencore.testing.conformance import tiny_model
    from gencore_hub import read_config
    from gencore_hub.upload import _additions
    from tests.faults import hostile_places as places

    like, model = root / "like", root / "model"
    tiny_model("gan").save_pretrained(like)
    (root / "secret").write_text("secret")

    def push() -> object:
        return _additions(model, read_config(model), "org/name")

    files = {"load": ["config.json", "model.safetensors"], "push": places.inside(like)[1]}
    for what, call in (("load", functools.partial(gencore.from_pretrained, model)), ("push", push)):

        def prepare(change: places.Change) -> None:
            shutil.rmtree(model, ignore_errors=True)
            shutil.copytree(like, model)
            places.change(model, change, like)

        run.values(
            f"odd places of a model: {what}",
            lambda change, call=call: call(),
            places.changes(files[what], files=[]),
            count // 25,
            prepare=prepare,
            may_be_taken=False,
        )


def _data(run: Fuzzing, root: Path, count: int) -> None:
    """Damaged and lying files of each kind of data."""
    from tests.faults.hostile_data import damaged, data_files, lay_pictures, read_data

    kinds = data_files()
    for what, file in kinds.items():
        folder = root / what
        lay_pictures(folder)
        (folder / file.name).write_bytes(file.content)
        read = functools.partial(read_data, folder, file)
        read()
        run.files(what, folder / file.name, read, damaged(file), count // 10 // len(kinds))


def _places_of_data(run: Fuzzing, root: Path, count: int) -> None:
    """Something else in the place of a picture: named, and with skip_corrupt left out; a link to a picture is one."""
    import torch

    from gencore.data import image_folder
    from tests.faults import hostile_places as places
    from tests.faults.hostile_data import lay_pictures

    lay_pictures(root / "like")
    (root / "secret").write_text("secret")
    folder = root / "folder"

    def prepare(change: places.Change) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        lay_pictures(folder)
        places.change(folder, change, root / "like")

    def read(change: places.Change) -> None:
        source = image_folder(folder, skip_corrupt=True)
        left = 4 if change[1] == "link to a like" else 3
        assert len(source) == left, f"{len(source)} pictures"
        source.fetch(torch.arange(left))

    names = places.changes(["0.png", "1.png", "2.png", "3.png"], files=[])
    run.values("odd places of data", read, names, count // 50, prepare=prepare)


def _checkpoints(run: Fuzzing, root: Path, count: int) -> None:
    """A flipped bit, other contents or another thing in the place of any file of a checkpoint: never read."""
    import torch

    from gencore.training.checkpoint import Checkpoint, read, write
    from tests.faults import hostile_places as places

    whole = Checkpoint(
        tensors={"a": torch.arange(300.0), "b": torch.ones(3, 3)}, values={"step": 1, "seed": 5, "x": "y"}
    )
    like = write(root / "like", 1, whole, keep=1)
    (root / "like" / "secret").write_text("secret")
    every, files = places.inside(like)
    folder = root / "step-00000001"

    def prepare(change: places.Change) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(like, folder)
        places.change(folder, change, like)

    for what, drawn in (
        ("flipped bits of a checkpoint", st.tuples(st.sampled_from(files), st.just("flip"), st.integers(0, 2**30))),
        ("odd places of a checkpoint", places.changes(every, files=files).filter(lambda change: change[1] != "flip")),
    ):
        run.values(what, lambda change: read(folder), drawn, count // 50, prepare=prepare, may_be_taken=False)


def _runs(run: Fuzzing, root: Path, count: int) -> None:
    """Something else anywhere in a run directory, then a resume: an error, or the bits of the run left alone; nothing
    that lies outside is changed."""
    from gencore.training.run import RunSettings, train
    from tests.faults import hostile_places as places

    like, folder = root / "like", root / "run"
    settings: dict[str, Any] = {
        "system": "gan",
        "data": "digits",
        "steps": 2,
        "batch_size": 4,
        "checkpoint_every": 1,
        "log_every": 1,
    }
    small = RunSettings(**settings, set=("hidden=[4]", "latent_dim=2"), sample_every=1000)
    train(small, like, quiet=True)
    (root / "secret").write_text("secret")
    longer = dataclasses.replace(small, steps=3)
    shutil.copytree(like, root / "whole")
    with contextlib.redirect_stderr(io.StringIO()):
        train(longer, root / "whole", resume=True, quiet=True)
    final = "checkpoints/step-00000003/state.safetensors"
    expected, outside = (root / "whole" / final).read_bytes(), places.seen(like)

    def prepare(change: places.Change) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(like, folder)
        places.change(folder, change, like)

    def resume(change: places.Change) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            train(longer, folder, resume=True, quiet=True)
        assert (folder / final).read_bytes() == expected, "other weights"

    every, files = places.inside(like)
    drawn = places.changes(every, files=files)
    unchanged = lambda: places.seen(like) == outside and (root / "secret").read_text() == "secret"  # noqa: E731
    run.values("run directories", resume, drawn, count // 50, prepare=prepare, unchanged=unchanged, watched=False)


def _texts(run: Fuzzing, root: Path, count: int) -> None:
    """Names with escapes and markup through tables, sentences and errors: text comes out, and all of it."""
    from gencore.cli.show import print_rows, say
    from gencore.errors import GencoreError
    from tests.faults.hostile_files import hostile_texts

    def show(text: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            print_rows(text, ("name", "licence"), [(text, text)], as_json=False)
            say(text)
        shown = printed.getvalue() + str(GencoreError(text))
        odd = {sign for sign in shown if not sign.isprintable() and sign not in "\n\t"}
        assert not odd, f"{odd} reach the terminal"
        assert shown.count("[") >= 5 * text.count("["), "markup was interpreted"

    with mock.patch.dict(os.environ, COLUMNS="2000"):  # a table crops what a narrow terminal has no room for
        run.values("text on a terminal", show, hostile_texts, count * 3 // 50)


if __name__ == "__main__":
    sys.exit("Run python -m tools.faults fuzz.")
