"""The plan against the tensors of a real training, and against the bytes that two processes really exchanged."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

import gencore
from gencore.errors import GencoreError
from gencore.exchange import measure_sharded, measure_statistics
from gencore.plan import all_reduced_bytes, bytes_of, largest_models, plan, sent_bytes
from gencore.registry import list_systems
from gencore.testing import run_processes
from gencore.testing.conformance import tiny_recipe, tiny_source

SYSTEMS = [spec.name for spec in list_systems()]


@pytest.mark.parametrize("system", ["dcgan", "wgan", "vq-vae", "vae", "ddpm", "aae"])
def test_memory_is_that_of_a_real_training(system: str) -> None:
    """Parameters, buffers, averages, and the optimisers' state after a step, counted on the trainer's own tensors."""
    made = tiny_recipe(system, steps=1)
    planned = plan(made)
    made = dataclasses.replace(made, stages=made.stages[:1])
    trainer = gencore.Trainer(made, tiny_source(made), cpu=True)
    trainer.fit()
    assert trainer._run is not None
    states = [o.state.values() for o in trainer._run.optimizers.values()]
    values = [v for state in states for slots in state for v in slots.values() if isinstance(v, torch.Tensor)]
    first = planned[0]
    assert first.parameters == sum(p.numel() for p in trainer.model.parameters())
    assert first.weights == bytes_of(trainer.model.parameters()) + bytes_of(trainer.model.buffers())
    assert first.optimizers == bytes_of(values)
    assert first.averages == bytes_of(t for average in trainer.averages for t in average.tensors)
    assert first.gradients == bytes_of(p.grad for p in trainer.model.parameters() if p.grad is not None)


def exchange(system: str) -> tuple[int, int]:
    """Bytes all-reduced in one iteration, of two batches a step, as gloo saw them, and as gencore.distributed
    recorded its own."""
    from torch.profiler import ProfilerActivity, profile

    from gencore.distributed import recorded

    made = tiny_recipe(system, steps=1)
    trainer = gencore.Trainer(made, tiny_source(made), cpu=True, accumulation=2)
    run = trainer._begin()
    with recorded() as own, profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        trainer._iterate(run)
    four_bytes = 4 * sum(math.prod(e.input_shapes[0]) for e in seen.events() if e.name == "gloo:all_reduce")
    run.release(trainer.accelerator)
    return four_bytes, sum(size for kind, size in own if kind == "all_reduce")


def exchanges(systems: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {system: torch.tensor(exchange(system)) for system in systems}


@pytest.mark.slow
def test_bytes_are_those_that_two_processes_exchanged(tmp_path: Path) -> None:
    """float32 gradients, int32 maps, float32 statistics: four bytes each, so that shapes tell the bytes."""
    systems = ("dcgan", "wgan-gp", "vq-vae", "vae-gan", "ddpm")
    for rank in run_processes(exchanges, 2, tmp_path, systems):
        for system in systems:
            made = tiny_recipe(system, steps=1)
            seen, own = rank[system].tolist()
            assert seen == plan(made)[0].reduced + own
            assert own == measure_statistics(made, tiny_source(made))[0]["all_reduce"]


def test_statistics_are_those_of_an_iteration() -> None:
    """VQ-VAE's prior exchanges no more than the check for NaN; what the stages hand over is not counted."""
    made = tiny_recipe("vq-vae", steps=1)
    codebook, prior = measure_statistics(made, tiny_source(made))
    assert prior == {"all_reduce": 4, "broadcast": 0}
    assert codebook["all_reduce"] > 4


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_a_plan(system: str) -> None:
    for stage in plan(gencore.recipe(system)):
        assert 0 < stage.gradients <= stage.weights
        assert stage.reduced > 0


def test_formulas() -> None:
    """Worked out by hand: 12 + 5 float32 in two tensors; a ring of 4 sends 3/2 of the bytes."""
    assert all_reduced_bytes([torch.zeros(3, 4), torch.zeros(5)]) == 17 * 4 + 2 * 4
    assert sent_bytes(100.0, 1) == 0
    assert sent_bytes(100.0, 4) == 150
    stage = dataclasses.replace(
        plan(tiny_recipe("gan"))[0],
        parameters=10,
        weights=50,
        buffers=10,
        averages=0,
        gradients=40,
        optimizers=80,
        buckets=30,
        gathered=20,
    )
    assert (stage.alone, stage.data_parallel, stage.fully_sharded(8)) == (170, 200, 10 + 160 / 8 + 20)
    largest = largest_models(stage, processes=8, memory=1700.0)
    assert largest == {"one process": 100, "data parallel": 85, "fully sharded": 340}
    assert largest_models(stage, processes=1, memory=1700.0) == {"one process": 100}
    with pytest.raises(GencoreError, match="processes is 0"):
        largest_models(stage, processes=0, memory=1.0)


def test_phases_count_by_how_often_they_run() -> None:
    """WGAN-GP: five critic passes of the critic's gradients, one of the generator's."""
    made = tiny_recipe("wgan-gp")
    with torch.device("meta"):
        model = made.model(made.config)
    critic, generator = (list(part.parameters()) for part in (model.critic, model.generator))
    assert plan(made)[0].reduced == 5 * all_reduced_bytes(critic) + all_reduced_bytes(generator)


def shared_out(model: torch.nn.Module, part: str) -> int:
    """Bytes of a part's parameters, their rows filled up to an even number: what two processes gather."""
    return 4 * sum((len(p) + len(p) % 2) * p[0].numel() for p in model.get_submodule(part).parameters())


@pytest.mark.slow
def test_sharded_bytes_are_counted_on_two_processes() -> None:
    """By hand. VAE gathers each part forwards and backwards. DCGAN's critic phase gathers the generator once, the
    critic for real data, for fakes, and once for both backwards; the generator's phase gathers both twice."""
    spec = {s.name: s for s in list_systems()}
    vae, dcgan = (gencore.create(name, **model_fields(spec[name].tiny)) for name in ("vae", "dcgan"))
    whole = shared_out(vae, "encoder") + shared_out(vae, "decoder")
    assert measure_sharded("vae", **spec["vae"].tiny) == ({"all_gather": 2 * whole, "reduce_scatter": whole},)
    critic, generator = shared_out(dcgan, "critic"), shared_out(dcgan, "generator")
    expected = {"all_gather": 5 * critic + 3 * generator, "reduce_scatter": critic + generator}
    assert measure_sharded("dcgan", **spec["dcgan"].tiny) == (expected,)


@pytest.mark.slow
def test_what_fails_to_be_sharded_is_told_by_measuring() -> None:
    """Tied weights cannot be read off a recipe; the plan of the rest still stands."""
    sizes = ["--set", "batch_size=8", "--gpus", "2"]
    text = command("contractive-autoencoder", *sizes, "--measure").output
    assert "data parallel: fits" in text
    assert "fully sharded: refused, since contractive-autoencoder failed to train fully sharded" in text
    assert "tied weights" in text


def model_fields(tiny: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tiny.items() if name not in ("steps", "batch_size")}


def test_what_cannot_be_sharded_is_not_measured() -> None:
    with pytest.raises(GencoreError, match="wgan-gp cannot be trained fully sharded: .*gradients of critic"):
        measure_sharded("wgan-gp")


@pytest.mark.parametrize(("system", "gain"), [("dcgan", 2), ("ddpm", 4)])
def test_the_largest_model_of_each_strategy(system: str, gain: int) -> None:
    """On eight processes sharding fits more: a diffusion model, gathered block by block, far more than DCGAN."""
    (stage,) = json.loads(command(system, "--gpus", "8", "--memory", "80", "--json").output)["stages"]
    assert stage["largest"]["data parallel"] < stage["largest"]["one process"]
    assert stage["largest"]["fully sharded"] > gain * stage["largest"]["data parallel"]
    assert "fully sharded: fits" in command(system, "--gpus", "8", "--memory", "80").output


def test_what_lies_in_no_region_is_not_shared_out_in_a_step() -> None:
    """VQ-VAE's prior is most of it, and whole at all times, with room for its gradients."""
    made = gencore.recipe("vq-vae")
    with torch.device("meta"):
        model = made.model(made.config)
    assert plan(made)[0].gathered > 8 * sum(p.numel() for p in model.prior.parameters())


def test_a_system_that_cannot_be_sharded_has_no_figures_for_it() -> None:
    text = command("wgan-gp", "--gpus", "8").output
    (stage,) = json.loads(command("wgan-gp", "--gpus", "8", "--json").output)["stages"]
    assert "fully sharded" not in stage["largest"]
    assert "refused, since stage 'training' differentiates gradients of critic" in text


def command(*arguments: str) -> Any:
    from gencore.cli import plan as module

    app = typer.Typer()
    module.register(app)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_the_command() -> None:
    sizes = ["--set", "width=8", "--set", "prior_width=8", "--set", "prior_layers=1"]
    result = json.loads(command("vq-vae", *sizes, "--gpus", "8", "--memory", "80", "--measure", "--json").output)
    assert [stage["stage"] for stage in result["stages"]] == [stage.name for stage in gencore.recipe("vq-vae").stages]
    assert result["stages"][0]["statistics"]["all_reduce"] > 100
    text = command("vq-vae", *sizes, "--gpus", "8").output
    assert "data parallel: fits" in text
    assert "not measured: --measure" in text
    assert result["stages"][0]["sharded_exchange"]["reduce_scatter"] > 1000
    assert "one process: does not fit" in command("dcgan", "--memory", "1e-6").output
    with pytest.raises(GencoreError, match="--gpus is 0"):
        command("dcgan", "--gpus", "0")
