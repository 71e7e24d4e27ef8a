"""What happens beside the training, one callback at a time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from toys import data, phase, recipe

import gencore
from gencore.data import InMemory
from gencore.data.sources.volumes import three_views
from gencore.data.toys.voxels import voxels
from gencore.errors import GencoreError
from gencore.training.callbacks import GracefulStop, MetricsLog, ProgressBar, SampleGrids, drawable, preview
from gencore_hub import StorageError


def falling(steps: int) -> gencore.Recipe:
    return recipe(lambda o, m, n, b: m.theta.sum(), phase("generator"), steps=steps)


def logged(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_log_is_cut_behind_the_iteration_that_is_resumed(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", every=2)
    log.rewind(0)
    gencore.Trainer(falling(7), data(), cpu=True, callbacks=(log,)).fit()
    assert logged(log.path) == [2, 4, 6, 7]
    log.rewind(4)
    assert logged(log.path) == [2, 4]


LINES = '{"step": 1, "seconds": 5.0}\n{"step": 2, "seconds": 9.0}\n'


@pytest.mark.parametrize("torn", ['{"step": 3, "sec', "\0" * 50, "\n\n", '{"step": 3', '"step"', "[" * 9999, "\xff"])
def test_a_torn_end_is_dropped_and_said(torn: str, tmp_path: Path) -> None:
    log, told = MetricsLog(tmp_path / "metrics.jsonl", every=1), []
    log.path.write_text(LINES + torn, encoding="latin-1")
    log.rewind(2, told.append)
    assert logged(log.path) == [1, 2]
    assert told == [f"{log.path}: a line was cut short, and {len(torn)} bytes of it are dropped."]
    log.path.write_text(LINES[:-1])
    log.rewind(2, told.append)
    assert (log.path.read_text(), len(told)) == (LINES, 1), "a newline alone is added without a word"


def test_a_broken_line_before_the_end_is_named(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", every=1)
    log.path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(GencoreError, match=r"metrics\.jsonl, line 2, cannot be read"):
        log.rewind(3)


def test_the_log_is_rewritten_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up meanwhile leaves the old one."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    log = MetricsLog(tmp_path / "metrics.jsonl", every=1)
    log.path.write_text(LINES)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError):
        log.rewind(1)
    assert log.path.read_text() == LINES


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", every=1)
    log.path.write_text(LINES)
    write = os.write
    monkeypatch.setattr("os.write", lambda descriptor, data: write(descriptor, data[:10]))
    with pytest.raises(StorageError, match="Free some space"):
        gencore.Trainer(falling(1), data(), cpu=True, callbacks=(log,)).fit()
    assert log.path.read_text() == LINES


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(LINES)
    log = MetricsLog(tmp_path / "metrics.jsonl", every=1)
    log.path.symlink_to(tmp_path / "secret")
    with pytest.raises(GencoreError, match="not followed"):
        log.rewind(0)
    with pytest.raises(StorageError):
        gencore.Trainer(falling(1), data(), cpu=True, callbacks=(log,)).fit()
    assert (tmp_path / "secret").read_text() == LINES


def test_the_seconds_go_on_after_a_resume(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", every=1)
    log.path.write_text(LINES)
    log.rewind(2)
    gencore.Trainer(falling(1), data(), cpu=True, callbacks=(log,)).fit()
    assert 9.0 <= json.loads(log.path.read_text().splitlines()[-1])["seconds"] < 60


class Clock:
    """Ten seconds pass between two looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def test_off_a_terminal_a_line_is_written_every_so_often(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mean of the losses so far: 1, 0.9, 0.8 ..."""
    monkeypatch.setattr("time.monotonic", Clock())
    for quiet in (False, True):
        gencore.Trainer(falling(8), data(), cpu=True, callbacks=(ProgressBar(quiet=quiet, seconds=30),)).fit()
    lines = capsys.readouterr().err.splitlines()
    assert [line[: line.index(" of ")] for line in lines] == ["toy training: 4", "toy training: 7"]
    assert "4 of 8, 0.1 a second, 0.7 minutes left, generator/loss 0.85" in lines[0]
    assert lines[1].endswith("generator/loss 0.7")


def test_a_signal_ends_the_drawing_of_a_grid(tmp_path: Path) -> None:
    """Within one inner step of a slow sampler; the grid that is missing is made up."""
    made = gencore.recipe("ddpm", data_shape=(1, 8, 8), width=8, batch_size=8, steps=1, num_timesteps=20)
    stopper = GracefulStop()
    grids = SampleGrids(tmp_path, every=1, seed=0, stopper=stopper)
    trainer = gencore.Trainer(made, gencore.data.digits("train"), cpu=True, callbacks=(grids,))
    seen = []
    predict = type(trainer.model).evaluate

    def signalled(self: Any, *arguments: Any) -> Any:
        seen.append(1)
        if not torch.is_grad_enabled() and stopper.received is None:
            stopper.received = "SIGTERM"
        return predict(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.model), "evaluate", signalled)
        trainer.fit()
    assert not list(tmp_path.iterdir())
    assert stopper.received == "SIGTERM"
    assert len(seen) <= 3
    assert trainer.model.training
    stopper.received = None
    grids.make_up(trainer)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.png"]


def test_trackers_get_what_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    log = MetricsLog(tmp_path / "metrics.jsonl", every=1, trackers=True)
    trainer = gencore.Trainer(falling(2), data(), cpu=True, callbacks=(log,))
    monkeypatch.setattr(trainer.accelerator, "log", lambda values, step: told.append((step, values["generator/loss"])))
    trainer.fit()
    assert told == [(1, 1.0), (2, pytest.approx(0.9))]


def test_a_preview_lies_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    source = gencore.data.digits("train")
    made = gencore.recipe("ddpm", data_shape=(1, 8, 8), num_classes=3, width=8)
    model = made.model(made.config)
    asked = {}

    def sample(count: int, **options: object) -> torch.Tensor:
        asked.update(options)
        return torch.linspace(-3, 3, count)[:, None, None, None].expand(count, 1, 8, 8)

    monkeypatch.setattr(model, "sample", sample)
    drawn = preview(model, source, seed=5)
    assert drawn.shape == (64, 1, 8, 8)
    assert (drawn.min().item(), drawn.max().item()) == (-1.0, 1.0)
    assert asked["condition"] is None, "a model draws its classes in turn by itself"
    assert asked["seed"] == 5


def test_the_preview_of_what_cannot_sample_is_pairs() -> None:
    """Rows of eight pictures, each above what the model makes of it."""
    source = gencore.data.digits("train")
    model = gencore.create("linear-autoencoder", data_shape=[1, 8, 8]).train()
    shown, x = preview(model, source, seed=5), source.fetch(torch.arange(16))["x"]
    assert shown.shape == (64, 1, 8, 8)
    torch.testing.assert_close(shown[:8], x[:8])
    torch.testing.assert_close(shown[8:16], model.reconstruct(x[:8]).clamp(-1, 1))
    torch.testing.assert_close(shown[16:24], x[8:16])
    assert model.training
    assert preview(gencore.create("noisy-classifier"), source, seed=5) is None


def test_small_and_grey_inputs_stand_above_what_becomes_of_them() -> None:
    """Enlarged, not smoothed; a grey one in three equal channels; of many channels the first."""

    class Larger(gencore.Model):
        config_class = gencore.ModelConfig

        def translate(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 3, 4, 4), 0.5)

    for channels in (1, 3, 7):
        x = torch.linspace(-1, 1, 8 * channels * 4).reshape(8, channels, 2, 2)
        shown = preview(Larger(gencore.ModelConfig()), InMemory(name="x", x=x), seed=0, n=16)
        assert shown.shape == (16, 3, 4, 4)
        wide = x[:, :3].expand(-1, 3, -1, -1)
        assert torch.equal(shown[:8, :, ::2, ::2], wide)
        assert torch.equal(shown[:8, :, 1::2, 1::2], wide)
        assert (shown[8:] == 0.5).all()


@pytest.mark.parametrize(("steps", "shown"), [(105, [1, 10, 60, 100, 105]), (30, [30])])
def test_a_longer_training_is_looked_at_early(tmp_path: Path, steps: int, shown: list[int]) -> None:
    made = gencore.recipe("gan", hidden=(4,), latent_dim=2, steps=steps, batch_size=4)
    grids = SampleGrids(tmp_path, every=60, seed=0)
    gencore.Trainer(made, gencore.data.digits("train"), cpu=True, callbacks=(grids,)).fit()
    assert sorted(int(path.stem.removeprefix("step-")) for path in tmp_path.iterdir()) == shown
    first = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(set(first.values())) == len(shown)


def test_the_early_pictures_change_nothing(tmp_path: Path) -> None:
    made = gencore.recipe("gan", hidden=(4,), latent_dim=2, steps=101, batch_size=4)
    weights = []
    for callbacks in ((), (SampleGrids(tmp_path, every=1000, seed=0),)):
        trainer = gencore.Trainer(made, gencore.data.digits("train"), cpu=True, callbacks=callbacks)
        weights.append(trainer.fit().state_dict())
    assert len(list(tmp_path.iterdir())) == 4
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_data_that_are_no_images_have_no_sample_grids(tmp_path: Path) -> None:
    made = gencore.recipe("gan", data_shape=(2,), hidden=(8,), steps=2, batch_size=8)
    grids = SampleGrids(tmp_path / "samples", every=1, seed=0)
    gencore.Trainer(made, gencore.data.ring(), cpu=True, callbacks=(grids,)).fit()
    assert not (tmp_path / "samples").exists()


def test_volumes_are_shown_in_three_views(tmp_path: Path) -> None:
    """Beside the training, in the model's directory, and of models that only rebuild; other grids are not drawn."""
    source = voxels(8)
    made = gencore.recipe("3d-gan", latent_dim=2, width=2, steps=1, batch_size=4)
    grids = SampleGrids(tmp_path, every=1, seed=5)
    trainer = gencore.Trainer(made, source, cpu=True, callbacks=(grids,))
    model = trainer.fit()
    drawn = preview(model, source, seed=5, n=3)
    assert torch.equal(drawn, three_views(model.sample(3, seed=5)))
    with Image.open(tmp_path / "step-00000001.png") as image:
        assert image.size == (8 * (36 + 2) + 2, 8 * (12 + 2) + 2)
    pairs = preview(gencore.create("linear-autoencoder", data_shape=[1, 12, 12, 12]), source, seed=5, n=16)
    assert torch.equal(pairs[:8], three_views(source.x))
    assert [drawable(shape) for shape in ((2,), (3, 8, 8), (1, 4, 4, 4), (2, 4, 4, 4), (1, 4, 4, 5))] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_a_stop_gives_the_signals_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopper = GracefulStop()
    trainer = gencore.Trainer(falling(50), data(), cpu=True, callbacks=(stopper,))
    with stopper:
        assert all(signal.getsignal(number) != handler for number, handler in before.items())
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]  # a second one is not held
        trainer.fit()
    assert {number: signal.getsignal(number) for number in before} == before
    assert (trainer.stop, trainer.iteration) == ("SIGINT", 1)
