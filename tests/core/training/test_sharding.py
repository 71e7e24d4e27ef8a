"""Fully sharded training on two gloo processes: the numbers of data parallelism, half of the memory on each."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor
from torch.profiler import ProfilerActivity, profile
from toys import data, phase, recipe

import gencore
from gencore.errors import GencoreError, NonFiniteError
from gencore.plan import bytes_of
from gencore.registry import list_systems
from gencore.testing import run_processes
from gencore.testing.conformance import StopAt, tiny_recipe, tiny_source
from gencore.training import checkpoint
from gencore.training.sharding import gathered_at_once, obstacles, refuse_unshardable, units

SYSTEMS = ("ddpm", "vae", "vq-vae", "dcgan")


def clipped(system: str, steps: int) -> gencore.Recipe:
    """The tiny recipe with gradients clipped to a norm that they exceed, and a weight average."""
    made = tiny_recipe(system, steps=steps)
    stages = tuple(
        dataclasses.replace(s, phases=tuple(dataclasses.replace(p, max_gradient_norm=1e-3) for p in s.phases))
        for s in made.stages
    )
    return dataclasses.replace(made, stages=stages, ema=(gencore.EMA(decay=0.5),))


def state(trainer: gencore.Trainer) -> dict[str, torch.Tensor]:
    tensors = {name: tensor.clone() for name, tensor in trainer.state().tensors.items()}
    assert trainer._run is not None
    trainer._run.release(trainer.accelerator)
    return tensors


def train(systems: tuple[str, ...], shard: bool, precision: Any = "no") -> dict[str, torch.Tensor]:
    """Everything that a checkpoint has after three iterations of each stage, two batches added up."""
    states = {}
    for system in systems:
        made = clipped(system, 3)
        trainer = gencore.Trainer(made, tiny_source(made), cpu=True, shard=shard, accumulation=2, precision=precision)
        trainer.fit()
        states |= {f"{system}/metrics/{name}": value.clone() for name, value in trainer.metrics.items()}
        states |= {f"{system}/{name}": tensor for name, tensor in state(trainer).items()}
    return states


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "systems"), [(2, SYSTEMS), (4, ("dcgan",))])
def test_sharded_training_is_data_parallel_training(ranks: int, systems: tuple[str, ...], tmp_path: Path) -> None:
    """Weights, averages, optimiser states, losses and clipped gradient norms; one process has all of them."""
    both, *_ = run_processes(train, ranks, tmp_path, systems, False)
    sharded, second, *_ = run_processes(train, ranks, tmp_path, systems, True)
    assert sharded.keys() == both.keys()
    torch.testing.assert_close(sharded, both, rtol=1e-4, atol=1e-6)
    assert [name for name in second if "metrics/" not in name] == []
    for system in systems:
        assert any(f"{system}/optimizer" in name for name in both)
        norms = [value for name, value in both.items() if f"{system}/metrics" in name and "gradient_norm" in name]
        assert all(norm > 1e-3 for norm in norms)


@pytest.mark.slow
def test_mixed_precision_is_the_same_sharded(tmp_path: Path) -> None:
    both, sharded, whole = (
        run_processes(train, 2, tmp_path, ("vae",), shard, precision)[0]
        for shard, precision in ((False, "bf16"), (True, "bf16"), (True, "no"))
    )
    torch.testing.assert_close(sharded, both, rtol=1e-3, atol=1e-5)
    assert not torch.equal(sharded["vae/metrics/autoencoder/loss"], whole["vae/metrics/autoencoder/loss"])


def held() -> dict[str, torch.Tensor]:
    """Bytes of parameters, averages, gradients and optimiser states on this process, without and with sharding."""
    counts = {}
    for name, shard in (("whole", False), ("sharded", True)):
        made = clipped("ddpm", 1)
        trainer = gencore.Trainer(made, tiny_source(made), cpu=True, shard=shard)
        trainer.fit()
        assert trainer._run is not None
        parameters = list(trainer.model.parameters())
        slots = [s.values() for o in trainer._run.optimizers.values() for s in o.state.values()]
        states = [v for values in slots for v in values if isinstance(v, torch.Tensor) and v.ndim]
        kinds = (parameters, [p.grad for p in parameters], trainer.averages[0].tensors, states)
        assert all(isinstance(t, DTensor) == shard for tensors in kinds for t in tensors)
        local = [[t.to_local() if isinstance(t, DTensor) else t for t in tensors] for tensors in kinds]
        counts[name] = torch.tensor([bytes_of(tensors) for tensors in local])
        trainer._run.release(trainer.accelerator)
    return counts


@pytest.mark.slow
def test_each_process_holds_its_share(tmp_path: Path) -> None:
    first, second = run_processes(held, 2, tmp_path)
    assert torch.equal(first["sharded"] + second["sharded"], first["whole"])
    assert torch.all(first["sharded"] < 0.55 * first["whole"])


def resume(folder: str, system: str, stop: int | None, shard: bool) -> dict[str, torch.Tensor]:
    """Four iterations in one go; or `stop` sharded ones, a checkpoint on the disk, and the rest in a new trainer."""
    source = tiny_source(clipped(system, 4))
    if stop:
        first = gencore.Trainer(clipped(system, 4), source, cpu=True, shard=True, callbacks=(StopAt(stop),))
        first.fit()
        taken = first.state()
        if first.accelerator.is_main_process:
            checkpoint.write(Path(folder), stop, taken, keep=1)
        first.accelerator.wait_for_everyone()
        assert first._run is not None
        first._run.release(first.accelerator)
        torch.manual_seed(999)
    trainer = gencore.Trainer(clipped(system, 4), source, cpu=True, shard=shard)
    if stop:
        trainer.load_state(checkpoint.read(checkpoint.checkpoints(Path(folder))[-1]))
    trainer.fit()
    return state(trainer)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "stop"), [("dcgan", 2), ("vq-vae", 6)])
def test_a_sharded_run_resumes_to_the_bit(system: str, stop: int, tmp_path: Path) -> None:
    """And its checkpoint is an ordinary one: without sharding it continues to the same numbers."""
    whole, _ = run_processes(resume, 2, tmp_path, str(tmp_path / "c"), system, None, True)
    again, _ = run_processes(resume, 2, tmp_path, str(tmp_path / "c"), system, stop, True)
    assert whole.keys() == again.keys()
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    ordinary, _ = run_processes(resume, 2, tmp_path, str(tmp_path / "d"), system, stop, False)
    torch.testing.assert_close(ordinary, whole, rtol=1e-4, atol=1e-6)


def publish(folder: str) -> dict[str, torch.Tensor]:
    """Save the published copy on the first process; the averages that it should hold, gathered on all of them."""
    made = clipped("vae", 2)
    trainer = gencore.Trainer(made, tiny_source(made), cpu=True, shard=True)
    trainer.fit()
    before, random = [p.to_local().clone() for p in trainer.model.parameters()], torch.get_rng_state()
    with trainer.published() as model:
        if trainer.accelerator.is_main_process:
            model.save_pretrained(folder)
        else:
            assert all(p.is_meta for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(p.to_local(), old) for p, old in zip(trainer.model.parameters(), before, strict=True))
    names = [name for name, _ in trainer.model.named_parameters()]
    tensors = dict(zip(names, (t.full_tensor() for t in trainer.averages[0].tensors), strict=True))
    trainer.close()
    return tensors


@pytest.mark.slow
def test_what_is_published_is_an_ordinary_model(tmp_path: Path) -> None:
    first, second = run_processes(publish, 2, tmp_path, str(tmp_path / "model"))
    model = gencore.from_pretrained(tmp_path / "model")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, first[name])
        assert torch.equal(first[name], second[name])
    assert model.sample(2).isfinite().all()


def scattered() -> dict[str, torch.Tensor]:
    """How often gradients were averaged in an iteration of one batch, and of three added up."""
    counts = {}
    for accumulation in (1, 3):
        made = tiny_recipe("vae", steps=1)
        trainer = gencore.Trainer(made, tiny_source(made), cpu=True, shard=True, accumulation=accumulation)
        run = trainer._begin()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            trainer._iterate(run)
        counts[str(accumulation)] = torch.tensor(sum(e.name == "c10d::_reduce_scatter_base_" for e in seen.events()))
        run.release(trainer.accelerator)
    return counts


@pytest.mark.slow
def test_added_up_batches_are_averaged_once(tmp_path: Path) -> None:
    first, _ = run_processes(scattered, 2, tmp_path)
    assert first["1"].item() == first["3"].item() == 2


def not_a_number() -> dict[str, torch.Tensor]:
    """A gradient that is infinite in the one number, which the first process holds."""
    seen = {}
    steep = lambda o, m, n, b: ((m.psi - m.psi.detach()).sqrt() if o.calls == 1 else m.psi).sum()
    made = recipe(steep, phase("critic", 0.5), steps=3)
    trainer = gencore.Trainer(made, data(), cpu=True, shard=True)
    try:
        trainer.fit()
    except NonFiniteError as error:
        seen["stopped"] = torch.tensor("gradient of phase 'critic' is not finite at iteration 1" in str(error))
    seen["psi"] = trainer.model.critic[0].full_tensor().detach()
    return seen


@pytest.mark.slow
def test_not_a_number_in_one_share_stops_all(tmp_path: Path) -> None:
    for seen in run_processes(not_a_number, 2, tmp_path):
        assert seen["stopped"]
        assert seen["psi"].tolist() == [0.5]


NOT_BY_CALLING = {
    "adversarial-training": "differentiates towards its own input first",
    "bayesian-gan": "a prior on weights",
    "biggan": "orthogonal regularisation of weights",
    "contractive-autoencoder": "its decoder reads its encoder's weights",
    "cvae-gan": "features from inside the critic and the classifier",
    "discogan": "features from inside the critics",
    "geometric-gan": "a penalty on weights",
    "ian": "orthogonal regularisation of weights",
    "igan": "features from inside the critic",
    "masked-language-model": "its head reads its embedding",
    "stacked-denoising-autoencoder": "its decoder reads its encoder's weights",
}
"""Systems whose parts are used otherwise than by calling them: sharded, they are refused at the first loss."""


FIRST = tuple({spec.family: spec.name for spec in reversed(list_systems())}.values())
OTHERS = [spec.name for spec in list_systems() if spec.name not in FIRST]
TWELVE = [tuple(OTHERS[start : start + 12]) for start in range(0, len(OTHERS), 12)]


ROUNDING = {"esrgan": "a bias of its critic has no gradient but rounding, of which Adam makes a step"}
"""Sharded, one tensor ends 2e-4 apart; by plain gradient descent all of them agree to 1e-8."""


def every_system(names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Of each system the bits of a data parallel training, and the distance of a sharded one, or nothing if refused."""
    found = {}
    for system in names:
        states = []
        for shard in (False, True):
            made = tiny_recipe(system, steps=2)
            try:
                trainer = gencore.Trainer(made, tiny_source(made), cpu=True, shard=shard)
                trainer.fit()
                states.append(state(trainer))
            except GencoreError as error:
                if not shard or "fully sharded" not in str(error):
                    raise
        tensors = {name: tensor for name, tensor in states[0].items() if not name.startswith("random/")}
        data = b"".join(name.encode() + t.contiguous().numpy().tobytes() for name, t in tensors.items())
        found[f"bits/{system}"] = torch.tensor(list(hashlib.sha256(data).digest()))
        if len(states) == 2:
            apart = [(t.double() - states[0][n].double()).abs().max() for n, t in states[1].items() if t.numel()]
            found[system] = torch.stack(apart).max() if apart else torch.zeros(())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "some", [FIRST, *(pytest.param(some, marks=pytest.mark.exhaustive) for some in TWELVE)], ids=lambda some: some[0]
)
def test_every_system_on_two_processes(some: tuple[str, ...], tmp_path: Path) -> None:
    """Data parallel it ends equal to the bit on both; sharded it gives the same numbers, or is refused."""
    names = set(some)
    first, second = run_processes(every_system, 2, tmp_path, some)
    assert {name for name in names if not torch.equal(first[f"bits/{name}"], second[f"bits/{name}"])} == set()
    assert (
        names - first.keys() == {name for name in names if obstacles(tiny_recipe(name))} | NOT_BY_CALLING.keys() & names
    )
    assert {name: first[name].item() for name in names & first.keys() - ROUNDING.keys() if first[name] > 1e-4} == {}


class Layer(gencore.Model):
    """One region."""

    regions = ("layer",)

    def __init__(self, config: gencore.ModelConfig) -> None:
        super().__init__(config)
        self.layer = torch.nn.Linear(1, 4)


def penalised() -> dict[str, torch.Tensor]:
    """A penalty on a region's weights, which are not gathered: what is said of it."""

    def formula(objective, model, name, batch):
        return model.layer(batch["x"]).mean() + model.layer.weight.square().sum()

    stage = recipe(formula, phase("layer")).stages[0]
    made = gencore.Recipe(name="toy", model=Layer, config=gencore.ModelConfig(), stages=(stage,), batch_size=4)
    try:
        gencore.Trainer(made, data(), cpu=True, shard=True).fit()
    except GencoreError as error:
        return {"said": torch.tensor(list(str(error).encode()))}
    return {"said": torch.zeros(0)}


@pytest.mark.slow
def test_weights_used_otherwise_than_by_calling_are_refused(tmp_path: Path) -> None:
    for returned in run_processes(penalised, 2, tmp_path):
        assert (
            "otherwise than by calling it: tied weights, a penalty" in bytes(returned["said"].int().tolist()).decode()
        )


def test_what_is_refused_is_refused_with_the_reason() -> None:
    with pytest.raises(GencoreError, match="vae cannot be trained fully sharded: it runs on one process"):
        gencore.Trainer(tiny_recipe("vae"), tiny_source(tiny_recipe("vae")), cpu=True, shard=True)
    with pytest.raises(GencoreError, match="'training' differentiates gradients of critic, which FSDP"):
        refuse_unshardable(tiny_recipe("wgan-gp"), compile=False)
    with pytest.raises(GencoreError, match="it is compiled"):
        refuse_unshardable(tiny_recipe("vae"), compile=True)
    joint = recipe(lambda *_: None, phase("critic", joint=True))
    with pytest.raises(GencoreError, match="has a joint phase"):
        refuse_unshardable(joint, compile=False)
    grown = dataclasses.replace(joint.stages[0], begin=lambda model: None)
    with pytest.raises(GencoreError, match="changes the model when it begins"):
        refuse_unshardable(dataclasses.replace(joint, stages=(grown,)), compile=False)


def test_units_are_blocks_then_regions() -> None:
    """DDPM's blocks, innermost first; every parameter of a region lies in one of its units."""
    model = gencore.create("ddpm")
    found = units(model)
    assert found[-1] is model.network
    assert model.network.down[0]["residual"] in found
    assert len(found) > 8
    assert units(gencore.create("dcgan"))[0].__class__ is torch.nn.Sequential


def test_what_is_gathered_at_once() -> None:
    """DCGAN's second player is fetched while the first is under way; of DDPM's network what is in no block, and the two
    largest blocks; VQ-VAE's prior is in no region."""
    dcgan, ddpm, vqvae = (gencore.create(name) for name in ("dcgan", "ddpm", "vq-vae"))
    size = lambda *modules: sum(p.numel() for module in modules for p in module.parameters())
    assert gathered_at_once(dcgan) == size(dcgan)
    blocks = sorted(size(unit) for unit in units(ddpm) if unit is not ddpm.network)
    assert gathered_at_once(ddpm) == size(ddpm) - sum(blocks[:-2]) < size(ddpm) / 2
    assert size(vqvae.prior) < gathered_at_once(vqvae) < size(vqvae)
