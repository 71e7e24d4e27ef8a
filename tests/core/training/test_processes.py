"""Two processes on gloo end bit-equal, share the data, and stop together."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from toys import Pair, PairConfig, data, phase, recipe

import gencore
from gencore.data import digits
from gencore.distributed import process_rank
from gencore.errors import GencoreError
from gencore.testing import run_processes
from gencore.testing.conformance import tiny_recipe, tiny_source

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


def joint_step(objective, model, name, batch):
    """Consensus optimisation's step on a bilinear game whose strength is the rank's data: gradients of gradients."""
    value = (model.theta * model.psi).sum() * batch["x"].mean()
    field = torch.autograd.grad(value, [model.theta, model.psi], create_graph=True)
    return value + sum(part.square().sum() for part in field)


def looking_ahead(objective, model, name, batch):
    """An unrolled generator, whose gradient goes through the critic's step."""
    value = (model.theta * model.psi).sum() * batch["x"].mean()
    if name == "critic":
        return -value
    (slope,) = torch.autograd.grad(value, model.psi, create_graph=True)
    return (model.theta * (model.psi - 0.1 * slope)).sum() * batch["x"].mean()


def in_turns(objective, model, name, batch):
    """One phase of two parts, of which each loss uses one."""
    return (model.psi if objective.calls % 2 else model.theta).sum() * batch["x"].mean()


def players() -> dict[str, torch.Tensor]:
    """Consensus optimisation, an unrolled generator, and parts that not every loss uses, three iterations each."""
    joint = recipe(joint_step, phase("both", 1e-4, parts=("generator", "critic")), steps=3)
    ahead = recipe(looking_ahead, phase("critic", 1e-4), phase("generator", 1e-4, joint=True), steps=3)
    turns = recipe(in_turns, phase("both", 1e-4, parts=("generator", "critic")), steps=3)
    states = {}
    for name, made in (("consensus", joint), ("unrolled", ahead), ("turns", turns)):
        trainer = gencore.Trainer(made, data(), cpu=True)
        trainer.fit()
        states |= {f"{name}/{key}": t.clone() for key, t in trainer.model.state_dict().items()}
        states[f"{name}/seen"] = next(iter(trainer._run.batches.prefetch(0)))["x"]
        trainer._run.release(trainer.accelerator)
    return states


def test_joint_phases_and_inner_steps_end_bit_equal(tmp_path: Path) -> None:
    first, second = run_processes(players, 2, tmp_path)
    assert [n for n in first if not n.endswith("seen") and not torch.equal(first[n], second[n])] == []
    assert not set(first["consensus/seen"].flatten().tolist()) & set(second["consensus/seen"].flatten().tolist())
    assert first["consensus/generator.0"].item() != 1.0
    assert first["unrolled/generator.0"].item() != 1.0
    assert first["turns/critic.0"].item() != 1.0


def more_players(system: str) -> dict[str, torch.Tensor]:
    """Four iterations of a tiny system, two batches added up."""
    made = tiny_recipe(system, steps=4)
    trainer = gencore.Trainer(made, tiny_source(made), cpu=True, accumulation=2)
    trainer.fit()
    state = {name: t.clone() for name, t in trainer.state().tensors.items() if not name.startswith("random/")}
    trainer.close()
    return state


@pytest.mark.parametrize("system", ["aae", "vae-gan"])
def test_parts_shared_by_phases_end_bit_equal(system: str, tmp_path: Path) -> None:
    """AAE's encoder is stepped in two phases, VAE/GAN routes three losses through one graph and has a gate."""
    first, second = run_processes(more_players, 2, tmp_path, system)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def buffers() -> dict[str, torch.Tensor]:
    """The running mean of DCGAN's generator after two iterations, before and after `synchronise`."""
    made = tiny_recipe("dcgan", steps=2)
    trainer = gencore.Trainer(made, tiny_source(made), cpu=True)
    run = trainer._begin()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        trainer._iterate(run)
    means = {"own": next(b for n, b in trainer.model.named_buffers() if n.endswith("running_mean")).clone()}
    trainer.synchronise()
    means["shared"] = next(b for n, b in trainer.model.named_buffers() if n.endswith("running_mean")).clone()
    means["broadcasts"] = torch.tensor(sum(e.name == "gloo:broadcast" for e in seen.events()))
    run.release(trainer.accelerator)

    apart = recipe(joint_step, phase("both", 1e-4, parts=("generator", "critic")), after=keep_own)
    trainer = gencore.Trainer(apart, data(), cpu=True)
    trainer.fit()
    try:
        trainer.state()
        means["refused"] = torch.tensor(False)
    except GencoreError as error:
        means["refused"] = torch.tensor("Buffer 'calls' of Formula differs between the processes" in str(error))
    trainer._run.release(trainer.accelerator)
    return means


def keep_own(objective, model, name) -> None:
    objective.calls += process_rank()


def test_buffers_are_nobodys_business_until_a_checkpoint(tmp_path: Path) -> None:
    first, second = run_processes(buffers, 2, tmp_path)
    assert not torch.equal(first["own"], second["own"])
    assert torch.equal(first["own"], first["shared"])
    assert torch.equal(first["own"], second["shared"])
    assert first["broadcasts"] == 0
    assert first["refused"]
    assert second["refused"]


class Normalised(Pair):
    """A pair with batch statistics."""

    def __init__(self, config: PairConfig) -> None:
        super().__init__(config)
        self.norm = torch.nn.BatchNorm1d(1)


def next_stage() -> dict[str, torch.Tensor]:
    """The running mean at the end of the first stage, as the second finds it, and as the third, which draws, does."""
    seen: list[torch.Tensor] = []
    means = lambda model: seen.append(model.norm.running_mean.clone())
    first = recipe(
        lambda o, m, n, b: m.theta.sum() + m.norm(b["x"]).sum(), phase("generator"), after=lambda o, m, n: means(m)
    ).stages[0]
    second = dataclasses.replace(first, name="second", data=lambda source, model: means(model) or source, steps=0)
    drawing = lambda model: model.norm.running_mean.add_(torch.randn(1))
    third = dataclasses.replace(second, name="third", begin=drawing)
    stages = (first, second, third)
    made = gencore.Recipe(name="toy", model=Normalised, config=PairConfig(), stages=stages, batch_size=4)
    trainer = gencore.Trainer(made, data(), cpu=True)
    trainer.fit()
    trainer.close()
    return {"own": seen[0], "found": seen[1], "drawn": seen[2]}


def test_a_stage_finds_the_same_model_on_every_process(tmp_path: Path) -> None:
    first, second = run_processes(next_stage, 2, tmp_path)
    assert not torch.equal(first["own"], second["own"])
    assert torch.equal(first["found"], first["own"])
    assert torch.equal(second["found"], first["own"])
    assert torch.equal(first["drawn"], second["drawn"])
    assert not torch.equal(first["drawn"], first["own"])


def write_and_log(folder: str) -> dict[str, torch.Tensor]:
    """Train with a log and checkpoints of which the disk is slow; whether the checkpoint was there after each step."""
    from gencore.training import callbacks, checkpoint

    there, written, write = [], [], checkpoint.write

    def slowly(*arguments: Any, **options: Any) -> Path:
        time.sleep(0.5)
        written.append(1)
        return write(*arguments, **options)

    class Look:
        def after_step(self, trainer: gencore.Trainer) -> None:
            there.append(len(checkpoint.checkpoints(Path(folder) / "checkpoints")))

    checkpoint.write = slowly
    made = recipe(lambda o, m, n, b: m.theta.sum() * b["x"].mean(), phase("generator", 1e-3), steps=2)
    keeper = callbacks.Checkpoints(Path(folder) / "checkpoints", every=1, keep=5)
    log = callbacks.MetricsLog(Path(folder) / "metrics.jsonl", every=1)
    trainer = gencore.Trainer(made, data(), cpu=True, callbacks=(log, keeper, Look()))
    trainer.fit()
    seen = torch.stack([trainer._run.batches[k]["x"].mean() for k in range(2)])
    trainer.close()
    return {"there": torch.tensor(there), "written": torch.tensor(len(written)), "seen": seen}


def test_the_first_process_writes_and_the_others_wait(tmp_path: Path) -> None:
    """And what is logged is the mean over the processes."""
    first, second = run_processes(write_and_log, 2, tmp_path, str(tmp_path))
    assert first["there"].tolist() == second["there"].tolist() == [1, 2]
    assert (first["written"].item(), second["written"].item()) == (2, 0)
    logged = [json.loads(line)["generator/seen"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert first["seen"].tolist() != second["seen"].tolist()
    assert logged == pytest.approx(((first["seen"] + second["seen"]) / 2).tolist())
