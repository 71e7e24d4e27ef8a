"""Two processes on gloo end bit-equal, share the data, and stop together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.testing import run_processes

pytestmark = pytest.mark.slow


def train(system: str, arguments: dict, accumulation: int) -> dict[str, torch.Tensor]:
    """The model and the averages after a few iterations, and the examples that this rank saw."""
    source = digits("train")
    made = gencore.recipe(system, **arguments)
    trainer = gencore.Trainer(made, source, cpu=True, accumulation=accumulation)
    trainer.fit()
    state = {f"model/{name}": tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    for average in trainer.averages:
        state |= {f"ema/{i}": tensor.clone() for i, tensor in enumerate(average.tensors)}
    trainer.close()
    return state


TINY = {"steps": 4, "width": 8, "batch_size": 8}


@pytest.mark.parametrize(
    ("system", "arguments"),
    [
        ("wgan-gp", TINY | {"latent_dim": 8}),
        ("dcgan", TINY | {"latent_dim": 8}),
        ("vq-vae", TINY | {"prior_width": 8, "num_codes": 16}),
    ],
)
def test_ranks_end_bit_equal(system: str, arguments: dict, tmp_path: Path) -> None:
    """Double backward, weight averages and batch statistics, EMA codebook and restart; with accumulation."""
    first, second = run_processes(train, 2, tmp_path, system, arguments, 2)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    before = {name: tensor for name, tensor in gencore.create(system).state_dict().items()}
    assert before.keys() == {name.removeprefix("model/") for name in first if name.startswith("model/")}


def resume(folder: str, steps: int, stop: int | None) -> dict[str, torch.Tensor]:
    """Four iterations, or two, a checkpoint on the disk, and two more in a new trainer."""
    from gencore.testing.conformance import StopAt
    from gencore.training import checkpoint

    made = lambda: gencore.recipe("dcgan", **TINY | {"steps": steps, "latent_dim": 8})
    if stop:
        first = gencore.Trainer(made(), digits("train"), cpu=True, callbacks=(StopAt(stop),))
        first.fit()
        state = first.state()
        if first.accelerator.is_main_process:
            checkpoint.write(Path(folder), stop, state, keep=1)
        first.accelerator.wait_for_everyone()
        first._run.release(first.accelerator)
    trainer = gencore.Trainer(made(), digits("train"), cpu=True)
    if stop:
        trainer.load_state(checkpoint.read(checkpoint.checkpoints(Path(folder))[-1]))
    trainer.fit()
    state = {name: tensor.clone() for name, tensor in trainer.state().tensors.items()}
    trainer.close()
    return state


def test_resume_on_two_processes_is_exact(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = run_processes(resume, 2, tmp_path / "a", str(tmp_path / "a"), 4, None)
    parts = run_processes(resume, 2, tmp_path / "b", str(tmp_path / "b"), 4, 2)
    for one, other in zip(whole, parts, strict=True):
        assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert not torch.equal(whole[0]["random/0/cpu"], whole[0]["random/1/cpu"])
