"""A run's settings: checked, written as a command that gives them again, and turned into the recipe."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.data.images import to_pil
from gencore.errors import GencoreError
from gencore.paths import user_path
from gencore.training import run
from gencore.training import settings as settings_module
from gencore.training.run import RunSettings
from gencore.training.trajectory import Trajectory

COUNT = st.integers(1, 10**6)
WORD = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1)
SETTINGS = st.builds(
    RunSettings,
    system=st.sampled_from(["wgan-gp", "vq-vae"]),
    data=st.none() | WORD,
    second_data=st.none() | WORD,
    set=st.lists(WORD, max_size=3).map(tuple),
    seed=st.integers(0, 2**40),
    data_range=st.none() | st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)),
    condition=st.none() | WORD,
    precision=st.sampled_from(["no", "bf16"]),
    tracker=st.sampled_from(["none", "tensorboard"]),
    **dict.fromkeys(("steps", "batch_size", "image_size", "evaluate_every"), st.none() | COUNT),
    **dict.fromkeys(("checkpoint_every", "sample_every", "log_every", "keep", "accumulation"), COUNT),
    **dict.fromkeys(("skip_corrupt", "compile", "shard"), st.booleans()),
)


@settings(deadline=None, max_examples=50)
@given(SETTINGS, WORD)
def test_the_command_gives_the_settings_again(wanted: RunSettings, out: str) -> None:
    caught: list[tuple[Any, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "train", lambda *arguments, **options: caught.append((*arguments, options)))
        program, *arguments = shlex.split(wanted.command(Path(out)))
        done = CliRunner().invoke(app, arguments)
    assert program == "gencore"
    assert done.exit_code == 0, done.output
    lasting = settings_module.lasting
    expected = dataclasses.replace(wanted, data=lasting(wanted.data), second_data=lasting(wanted.second_data))
    assert caught == [(expected, user_path(out), {"resume": False, "quiet": False})]


def test_a_command_names_what_differs_from_the_defaults() -> None:
    assert RunSettings(system="gan", steps=5).command(Path("a b")) == "gencore train gan --steps 5 --out 'a b'"
    assert run.resume_command(Path("a b")) == "gencore train --resume --out 'a b'"


@pytest.mark.parametrize(
    "name",
    ["checkpoint_every", "sample_every", "log_every", "keep", "accumulation", "steps", "batch_size", "image_size"],
)
def test_counts_are_at_least_one(name: str) -> None:
    RunSettings(system="gan", **{name: 1})
    with pytest.raises(GencoreError, match=f"{name} is 0; expected at least 1"):
        RunSettings(system="gan", **{name: 0})


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(GencoreError, match="seed is -1; expected 0 or more"):
        RunSettings(system="gan", seed=-1)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("width=4", {"width": 4}),
        ("learning-rate=1e-3", {"learning_rate": 1e-3}),
        ("hidden=[4, 5]", {"hidden": (4, 5)}),
        ("loss=wasserstein", {"loss": "wasserstein"}),
        ("name=a=b", {"name": "a=b"}),
        ("note=", {"note": ""}),
    ],
)
def test_an_override_is_json_or_text(pair: str, expected: dict[str, Any]) -> None:
    assert run.parse_overrides((pair,)) == expected


@pytest.mark.parametrize("pair", ["width", "=4", ""])
def test_an_override_has_a_name_and_a_value(pair: str) -> None:
    with pytest.raises(GencoreError, match=r"expected name=value"):
        run.parse_overrides((pair,))


def test_a_recipe_is_fitted_to_its_data_and_the_user_has_the_last_word() -> None:
    source = SimpleNamespace(shape=(1, 8, 8), num_classes=10)
    made = run.make_recipe(RunSettings(system="ddpm", steps=7, batch_size=3), source)
    assert (made.config.data_shape, made.config.num_classes) == ((1, 8, 8), 10)
    assert (made.stages[0].steps, made.batch_size) == (7, 3)
    made = run.make_recipe(RunSettings(system="ddpm", steps=7, set=("steps=9", "num_classes=null")), source)
    assert (made.stages[0].steps, made.config.num_classes) == (9, None)
    unlabelled = SimpleNamespace(shape=(1, 8, 8), num_classes=None)
    assert run.make_recipe(RunSettings(system="ddpm"), unlabelled).config.num_classes is None
    run.make_recipe(RunSettings(system="wgan-gp"), source)  # has no such argument


def test_the_next_command_shows_what_the_system_can_do() -> None:
    commands = [
        run.next_command(RunSettings(system=name), Path("a b"))
        for name in ("gan", "deep-autoencoder", "noisy-classifier")
    ]
    for command, expected in zip(
        commands, ("gencore sample 'a b'", "gencore reconstruct 'a b'", "python -c"), strict=True
    ):
        assert command.startswith(expected)
    assert "gencore.from_pretrained('a b')" in shlex.split(commands[2])[2]


def test_the_next_command_tells_what_samples_must_be_told(tmp_path: Path) -> None:
    """A sentence of the model's words, or a file; classes are drawn in turn."""
    shown = {}
    for name, config in (("gan-cls", {}), ("wavenet", {"input_shape": (1, 4, 32)}), ("cgan", {})):
        gencore.create(name, **config).save_pretrained(tmp_path / name)
        shown[name] = shlex.split(run.next_command(RunSettings(system=name), tmp_path / name))[3:]
    told = gencore.from_pretrained(tmp_path / "gan-cls").condition
    assert shown["gan-cls"][0] == "--condition"
    assert told.check(shown["gan-cls"][1], 2).shape == (2, told.length)
    assert shown["wavenet"] == ["--condition", "FILE"]
    assert shown["cgan"] == []


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match=r"no run\.json: there is no run to resume"):
        run.train(RunSettings(system="gan"), tmp_path, resume=True)


def test_what_a_resume_may_change() -> None:
    """Each option is used, or refused by name: all refused ones in one error."""
    mine = RunSettings(system="gan", steps=5)
    used = {"steps": 6, "keep": 3, "data": "/moved", "log_every": 1, "tracker": "tensorboard"}
    assert mine.changed(used, Path("r")) == dataclasses.replace(mine, **used)
    assert mine.changed({"seed": 0, "precision": "no"}, Path("r")) == mine
    everything = {field.name for field in dataclasses.fields(mine)}
    other: dict[str, Any] = {"system": "wgan", "seed": 9, "precision": "bf16", "compile": True, "shard": True}
    other |= {"batch_size": 7, "set": ("width=1",), "init_from": "x", "image_size": 4, "data_range": (0.0, 1.0)}
    other |= {"accumulation": 2, "condition": "none"}
    assert other.keys() | {"steps", *settings_module.CHANGEABLE} == everything
    with pytest.raises(GencoreError, match="cannot be resumed with other settings") as caught:
        mine.changed({**used, **other}, Path("r"))
    for name in other:
        assert f"{name} was " in str(caught.value)
    assert not any(f"{name} was " in str(caught.value) for name in used)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "[" * 100_000, '{"system": "gan", "stepz": 5}', '{"system": "gan", "keep": 0}']
)
def test_settings_that_cannot_be_read_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(GencoreError, match=r"run\.json cannot be read"):
        run.load_settings(tmp_path)


def test_every_setting_reaches_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gencore.data
    from gencore.training import trainer
    from gencore.training.callbacks import Checkpoints, GracefulStop, MetricsLog, ProgressBar, SampleGrids

    class CaughtError(Exception):
        pass

    def catch(*arguments: object, **options: object) -> None:
        raise CaughtError(arguments, options)

    opened: list[Any] = []
    source = SimpleNamespace(shape=(1, 8, 8), num_classes=10, name="folder")
    monkeypatch.setattr(
        gencore.data, "open_source", lambda name, **options: (opened.append((name, options)), source)[1]
    )
    monkeypatch.setattr(trainer, "Trainer", catch)
    chosen = RunSettings(
        system="gan",
        data="folder",
        second_data="another",
        steps=3,
        seed=4,
        image_size=5,
        skip_corrupt=True,
        data_range=(0.0, 9.0),
        condition="c",
        cache="/kept",
        checkpoint_every=6,
        sample_every=7,
        log_every=8,
        keep=9,
        accumulation=10,
        precision="bf16",
        compile=True,
        shard=True,
        tracker="tensorboard",
    )
    with pytest.raises(CaughtError) as caught:
        run.train(chosen, tmp_path, quiet=True)
    (recipe, given_source), options = caught.value.args
    plainly = {"data_range": None, "condition": None, "second": None, "cache": None, "split": "train"}
    wanted = {"image_size": 5, "skip_corrupt": True, "data_range": (0.0, 9.0), "condition": "c", "second": "another"}
    wanted["cache"] = "/kept"
    assert opened == [("folder", {**wanted, "split": "train"})]
    assert given_source is source
    assert recipe.stages[0].steps == 3
    callbacks = {type(callback): callback for callback in options.pop("callbacks")}
    assert options == {"seed": 4, "accumulation": 10, "precision": "bf16", "compile": True, "shard": True}
    assert list(callbacks) == [MetricsLog, ProgressBar, GracefulStop, Checkpoints, SampleGrids, Trajectory]
    assert (callbacks[MetricsLog].every, callbacks[MetricsLog].trackers) == (8, True)
    assert callbacks[ProgressBar].quiet
    assert (callbacks[SampleGrids].every, callbacks[SampleGrids].seed) == (7, 4)
    assert callbacks[Trajectory].every == 7
    assert (callbacks[Checkpoints].every, callbacks[Checkpoints].keep) == (6, 9)
    source.shape = (500,)
    with pytest.raises(CaughtError) as caught:
        run.train(RunSettings(system="document-autoencoder"), tmp_path)
    data = gencore.recipe("document-autoencoder").data
    assert opened[1] == (data, {"image_size": None, "skip_corrupt": False, **plainly})
    plain = {type(callback): callback for callback in caught.value.args[1]["callbacks"]}
    assert not plain[MetricsLog].trackers
    assert not plain[ProgressBar].quiet


def test_a_later_checkpoint_is_resumed(tmp_path: Path) -> None:
    few = RunSettings(system="gan", steps=4, batch_size=8, set=("hidden=[4]",), checkpoint_every=1, keep=4)
    run.train(few, tmp_path / "new" / "run", quiet=True)
    out = tmp_path / "new" / "run"
    lines = (out / "metrics.jsonl").read_text()
    weights = (out / "model.safetensors").read_bytes()
    for path in out.iterdir():  # a kill between the last checkpoint and the model
        if path.is_file() and path.name not in ("run.json", "run.lock", "metrics.jsonl"):
            path.unlink()
    run.train(few, out, resume=True, quiet=True)  # at its end: nothing is trained, the model is written again
    assert (out / "metrics.jsonl").read_text() == lines
    assert (out / "model.safetensors").read_bytes() == weights
    assert (out / "samples.png").is_file()
    card = (out / "README.md").read_text()
    assert few.command(out) in card
    assert "Trained for 4 of 4 iterations." in card
    assert "examples of shape" in card


def test_two_domains_that_any_two_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--data A --second-data B`: kept in the run, taken on a resume from elsewhere, and refused where it is another.

    Another is told by its names and sizes.
    """
    from PIL import Image

    for name, value in (("one", 40), ("two", 200), ("other", 90)):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("L", (8, 8), value + number).save(tmp_path / name / f"{name[0]}{number}.png")
    monkeypatch.chdir(tmp_path)
    sizes = ["--set", "width=4", "--set", "critic_width=4", "--set", "pool_size=4", "--batch-size", "2"]
    words = ["train", "cyclegan", "--data", "one", "--second-data", "two", *sizes, "--steps", "1", "--out", "run", "-q"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    kept = run.load_settings(Path("run"))
    assert (kept.data, kept.second_data) == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert f"--second-data {tmp_path / 'two'}" in (tmp_path / "run" / "README.md").read_text()
    more = ["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "2", "-q"]
    monkeypatch.chdir("/")
    with pytest.raises(GencoreError, match="is not what this run has trained on"):
        CliRunner().invoke(app, [*more, "--second-data", str(tmp_path / "other")], catch_exceptions=False)
    (tmp_path / "two").rename(tmp_path / "moved")
    moved = ["--second-data", str(tmp_path / "moved")]
    assert CliRunner().invoke(app, [*more, *moved], catch_exceptions=False).exit_code == 0
    assert run.load_settings(tmp_path / "run").second_data == str(tmp_path / "moved")


def test_classes_keep_their_names(tmp_path: Path) -> None:
    """Said at the start, stored with run, model and card, and taken after --label."""
    import json

    from PIL import Image

    import gencore

    for name in ("cat", "dog", "cow\x1b[2J"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), 100 + number).save(tmp_path / "data" / name / f"{number}.png")
    out = tmp_path / "run"
    words = ["train", "cdcgan", "--data", tmp_path / "data", "--set", "width=4", "--batch-size", "2", "--steps", "1"]
    done = CliRunner().invoke(app, [str(word) for word in [*words, "--out", out]], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    named = "cat=0, cow\\x1b[2J=1, dog=2"
    assert f"classes: {named}\n" in done.output
    assert json.loads((out / "run.json").read_text())["fingerprint"]["class_names"][2] == "dog"
    assert "dog=2" in (out / "README.md").read_text()
    model = gencore.from_pretrained(out)
    assert model.class_names == ("cat", "cow\\x1b[2J", "dog")
    assert (model.sample(2, condition="dog") == model.sample(2, condition=2)).all()
    with pytest.raises(GencoreError, match="'dig'; expected a number from 0 to 2 or one of cat.* Did you mean 'dog'"):
        model.sample(2, condition="dig")
    taken = CliRunner().invoke(app, ["sample", str(out), "-n", "2", "--label", "dog", "-o", str(tmp_path / "a.png")])
    assert taken.exit_code == 0, taken.exception


def test_what_could_not_be_loaded_again_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of another class than the system's, or a config that config.json does not hold as it is."""
    import gencore
    from gencore import api
    from gencore.errors import PluginError

    source = SimpleNamespace(shape=(1, 8, 8), num_classes=None)
    made = gencore.recipe("gan", data_shape=(1, 8, 8))
    other = gencore.recipe("dcgan", data_shape=(1, 8, 8))
    wrong = dataclasses.replace(made, model=other.model, config=other.config)
    monkeypatch.setattr(api, "recipe", lambda *names, **options: wrong)
    with pytest.raises(PluginError, match="its SYSTEM says that the model is"):
        run.make_recipe(RunSettings(system="gan"), source)
    object.__setattr__(made.config, "latent_dim", 4.5)
    monkeypatch.setattr(api, "recipe", lambda *names, **options: made)
    with pytest.raises(PluginError, match=r"does not come back from config.json as it is: .*latent_dim"):
        run.make_recipe(RunSettings(system="gan"), source)


def test_a_column_gives_the_classes_of_a_system_that_takes_classes(tmp_path: Path) -> None:
    """Its values are the classes, also beside class folders; several columns are refused."""
    rows = ["2", "red round"]
    for k in range(8):
        place = tmp_path / "data" / ("a" if k < 4 else "b") / f"{k}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        to_pil(torch.full((1, 8, 8), k / 4 - 1)).save(place)
        rows.append(f"{'a' if k < 4 else 'b'}/{k}.png {1 if k % 3 else -1} {1 if k % 2 else -1}")
    (tmp_path / "data" / "list_attr_celeba.txt").write_text("\n".join(["8", *rows[1:]]) + "\n")
    settings = RunSettings(system="cgan", data=str(tmp_path / "data"), condition="red", set=("hidden=[4]",))
    source = run.open_data(settings)
    batch = source.fetch(torch.arange(8))
    assert batch["label"].tolist() == [0, 1, 1, 0, 1, 1, 0, 1]
    assert run.make_recipe(settings, source).config.num_classes == 2
    folders = dataclasses.replace(settings, condition=None)
    with pytest.warns(UserWarning, match="left out of account"):
        assert run.open_data(folders).fetch(torch.arange(8))["label"].tolist() == [0] * 4 + [1] * 4
    with pytest.raises(GencoreError, match="gives red, round, and cgan is conditioned on one class a picture"):
        run.open_data(dataclasses.replace(settings, condition="red,round"))
