"""What happens beside the training, one callback at a time."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from toys import data, phase, recipe

import gencore
from gencore.training.callbacks import GracefulStop, MetricsLog, SampleGrids, preview


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


def test_data_that_are_no_images_have_no_sample_grids(tmp_path: Path) -> None:
    made = gencore.recipe("gan", data_shape=(2,), hidden=(8,), steps=2, batch_size=8)
    grids = SampleGrids(tmp_path / "samples", every=1, seed=0)
    gencore.Trainer(made, gencore.data.ring(), cpu=True, callbacks=(grids,)).fit()
    assert not (tmp_path / "samples").exists()


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
