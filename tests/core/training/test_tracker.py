"""TensorBoard's log after a resume: what a killed run had told it of later iterations is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from gencore.training.run import RunSettings, train

pytest.importorskip("tensorboard")


def test_later_iterations_are_purged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    chosen = {"system": "gan", "data": "digits", "batch_size": 4, "log_every": 1, "sample_every": 1000}
    options = {**chosen, "set": ("hidden=[4]", "latent_dim=2"), "tracker": "tensorboard", "checkpoint_every": 2}
    out = tmp_path / "run"
    train(RunSettings(**options, steps=4, keep=9), out, quiet=True)
    last = out / "checkpoints" / "step-00000004"
    last.rename(tmp_path / "gone")  # as if a kill had come before it was written
    train(RunSettings(**options, steps=4, keep=9), out, resume=True, quiet=True)
    events = EventAccumulator(str(out / "tracker"))
    events.Reload()
    for tag in events.Tags()["scalars"]:
        assert [event.step for event in events.Scalars(tag)] == [1, 2, 3, 4], tag
