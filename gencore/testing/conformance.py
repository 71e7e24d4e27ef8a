"""What every registered system must do, in about a second each, on its `tiny` version."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import gencore
from gencore.compilation import compile_regions
from gencore.conditions import ClassLabel, of_batch
from gencore.config import from_json, to_json
from gencore.data import Batches, open_source, resized
from gencore.errors import GencoreError
from gencore.logged import GOOD, read_metrics
from gencore.model import Model, parameters_of
from gencore.objective import Batch
from gencore.optimizers import SGD
from gencore.protocols import ROLES, Sampler
from gencore.recipes import Phase, Recipe, Stage
from gencore.registry import default_registry
from gencore.spec import TRAITS
from gencore.testing.network import no_network
from gencore.testing.processes import run_processes
from gencore.training.checkpoint import pack_optimizer, read, write
from gencore.training.trainer import Trainer


def tiny_recipe(system: str, steps: int = 4) -> Recipe:
    """The recipe of the system's `tiny` arguments, every stage `steps` long."""
    spec = default_registry().owner(system)[1]
    try:
        return gencore.recipe(system, **{**spec.tiny, "steps": steps})
    except GencoreError as error:
        raise GencoreError(f"SYSTEM of {system!r}, with tiny={dict(spec.tiny)}: {error}") from error


def tiny_source(recipe: Recipe) -> Any:
    """The recipe's own data, resized to the tiny model's images where they are of another size."""
    shape = tuple(recipe.config.data_shape)  # type: ignore[attr-defined]
    source = opened(recipe.data)
    return source if tuple(source.shape) == shape or len(shape) != 3 else resized(source, shape[-1])


@functools.lru_cache(maxsize=8)
def opened(data: str) -> Any:
    """Data by name: nine checks read them, and some toys take half a second to be drawn."""
    return open_source(data)


def train_tiny(system: str, batch_size: int) -> dict[str, Tensor]:
    """One iteration of the first stage on this process' share of the first batch; the model's tensors after it.

    Plain gradient descent of rate 1: what the weights move by is the gradient, whose size Adam would hide.
    """
    made = dataclasses.replace(tiny_recipe(system, steps=1), batch_size=batch_size)
    stage, descent = made.stages[0], SGD(learning_rate=1.0)
    phases = tuple(dataclasses.replace(phase, optimizer=descent, schedule=None) for phase in stage.phases)
    made = dataclasses.replace(made, stages=(dataclasses.replace(stage, phases=phases),))
    trainer = Trainer(made, tiny_source(made), cpu=True)
    trainer.fit()
    tensors = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.close()
    return tensors


class Conformance:
    """Inherit it in a test file and name the systems; pytest runs every check on each."""

    systems: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each system, and for each stage where the check is about a stage."""
        if "stage_index" in metafunc.fixturenames:
            pairs = [(name, i) for name in self.systems for i in range(len(tiny_recipe(name).stages))]
            metafunc.parametrize(("system", "stage_index"), pairs)
        elif "system" in metafunc.fixturenames:
            metafunc.parametrize("system", self.systems)

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    def test_spec_reads_without_torch(self, system: str) -> None:
        """Finding the system's spec must not import torch."""
        assert system not in importing_torch(self.systems)

    def test_recipe_takes_the_common_arguments(self, system: str) -> None:
        """`data_shape`, `steps` and `batch_size`, all with defaults; the model is the one that the spec names."""
        made = gencore.recipe(system, batch_size=3, steps=5)
        assert made.batch_size == 3
        assert made.stages[0].steps == 5
        assert made.name == system
        assert made.model is default_registry().resolve(system, "model")

    def test_config_round_trip(self, system: str) -> None:
        """Through JSON and back, equal; an unknown key is refused by name."""
        config = tiny_recipe(system).config
        data = json.loads(json.dumps(to_json(config)))
        assert from_json(type(config), data, version=type(config).version) == config
        with pytest.raises(GencoreError, match="no_such_key"):
            from_json(type(config), {**data, "no_such_key": 1})

    def test_roles_are_true(self, system: str) -> None:
        """The roles in the spec are those that the model has: no more, no fewer."""
        model = tiny_model(system)
        declared = set(default_registry().owner(system)[1].roles)
        has = {name for name, role in ROLES.items() if name != "sampler" and isinstance(model, role)}
        try:
            if isinstance(model.default_sampler(), Sampler):
                has.add("sampler")
        except GencoreError:
            pass
        assert has == declared

    def test_save_and_load(self, system: str, tmp_path: Path) -> None:
        """Without a network, to the bit, and from the spec's own name."""
        model = tiny_model(system)
        with no_network():
            model.save_pretrained(tmp_path / "saved")
            loaded = gencore.from_pretrained(tmp_path / "saved")
        assert loaded.system == system
        assert loaded.config == model.config
        assert_equal(model.state_dict(), loaded.state_dict())

    def test_samples_depend_on_seed_and_index_alone(self, system: str) -> None:
        """Not on the batch size; and torch's global random state stays as it was."""
        model = tiny_model(system)
        if "sampler" not in default_registry().owner(system)[1].roles:
            pytest.skip("declares no sampler")
        told = asked(model, system, 5)
        before = torch.get_rng_state()
        samples = model.sample(5, seed=3, condition=told)
        parts = model.sample(5, seed=3, batch_size=2, condition=told)
        torch.testing.assert_close(parts, samples, rtol=1e-4, atol=1e-5)
        last = model.sample(2, seed=3, start=3, condition=None if told is None else told[3:])
        torch.testing.assert_close(last, samples[3:], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model.sample(5, seed=4, condition=told), samples)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_samples_in_narrow_numbers(self, system: str, dtype: torch.dtype) -> None:
        """Moved to float16 or bfloat16 the model samples, and nothing overflows: `sample` refuses NaN and infinity."""
        if "sampler" not in default_registry().owner(system)[1].roles:
            pytest.skip("declares no sampler")
        model = tiny_model(system)
        told = asked(model, system, 1)
        assert model.to(dtype).sample(1, condition=told).dtype in (dtype, torch.int64)

    def test_gradients_reach_their_own_parts_only(self, system: str, stage_index: int) -> None:
        """Every parameter of a phase gets a gradient in it; a step changes no other parameter, to the bit."""
        model, stage, batch = staged(system, stage_index)
        for phase in stage.phases:
            own = {id(p) for p in parameters_of(model, phase.parts)}
            before = [p.detach().clone() for p in model.parameters()]
            step_phase(model, stage, phase, batch, own)
            for (name, parameter), old in zip(model.named_parameters(), before, strict=True):
                if id(parameter) in own:
                    assert parameter.grad is not None, f"{name} gets no gradient in phase {phase.name!r}"
                else:
                    assert torch.equal(parameter, old), f"phase {phase.name!r} changed {name}"

    def test_evaluating_a_loss_changes_nothing(self, system: str, stage_index: int) -> None:
        """Losses evaluated beside the training, with gradients and without, leave the next step's bits as they are."""
        after = []
        for extra in (0, 2):
            model, stage, batch = staged(system, stage_index)
            for phase in stage.phases:
                own = {id(p) for p in parameters_of(model, phase.parts)}
                for _ in range(extra):
                    with torch.random.fork_rng(), torch.no_grad():
                        if not stage.objective.double_backward and not phase.joint:
                            stage.objective.loss(model, phase.name, batch)
                    with torch.random.fork_rng():
                        stage.objective.loss(model, phase.name, batch)
                torch.manual_seed(0)
                step_phase(model, stage, phase, batch, own)
            parameters = {name: p.detach() for name, p in model.named_parameters()}
            after.append(parameters | {f"objective.{name}": b for name, b in stage.objective.named_buffers()})
        assert_equal(*after)

    def test_loss_falls(self, system: str, stage_index: int) -> None:
        """Thirty steps of one phase alone, on one batch and one draw of noise, lower its loss."""
        model, stage, batch = staged(system, stage_index)
        for phase in stage.phases:
            own = {id(p) for p in parameters_of(model, phase.parts)}
            optimizer = phase.optimizer.build(parameters_of(model, phase.parts))
            losses = [step_phase(model, stage, phase, batch, own, optimizer) for _ in range(30)]
            assert losses[-1] < losses[0], f"phase {phase.name!r} went from {losses[0]} to {losses[-1]}"

    def test_resume_is_exact(self, system: str, tmp_path: Path) -> None:
        """Two iterations, a checkpoint's files, a new trainer, two more: the bits of four in one go, in every stage."""
        made = tiny_recipe(system, steps=4)
        source = tiny_source(made)
        whole = Trainer(made, source, seed=1, cpu=True)
        whole.fit()
        for stop in (2, *(i * 4 + 2 for i in range(1, len(made.stages)))):
            first = Trainer(tiny_recipe(system, steps=4), source, seed=1, cpu=True, callbacks=(StopAt(stop),))
            first.fit()
            state = read(write(tmp_path, stop, first.state(), keep=1))
            torch.manual_seed(999)
            second = Trainer(tiny_recipe(system, steps=4), source, seed=1, cpu=True)
            second.load_state(state)
            second.fit()
            assert_equal(training_state(whole), training_state(second))

    def test_prints_nothing(self, system: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Training leaves standard output alone. And every metric that it logs has a meaning, which says which way is
        good, in the docstring of what logs it (gencore.logged)."""
        made, logged = tiny_recipe(system, steps=1), Logged()
        Trainer(made, tiny_source(made), cpu=True, callbacks=(logged,)).fit()
        assert capsys.readouterr().out == ""
        told = read_metrics(default_registry().owner(system)[1])
        unexplained = sorted(name for name in logged.names if not any(way in told.get(name, "") for way in GOOD))
        assert not unexplained, f"write a paragraph 'Logs `name`: its meaning; lower is better.' for {unexplained}"

    def test_traits_are_true(self, system: str) -> None:
        """The model has the traits of its spec and no others, and each gives what it should on a batch of data."""
        spec = default_registry().owner(system)[1]
        model: Any = tiny_model(system)
        has = {trait for trait in TRAITS if hasattr(model, trait.replace("-", "_"))}
        assert has == set(spec.traits), "the methods of the model and the traits of its spec disagree"
        x = trait_batch(system)
        with torch.no_grad():
            if "reconstruct" in has:
                assert model.reconstruct(x).shape == x.shape
            if "translate" in has:
                assert len(translated(model, system)) == len(x)
            if "classify" in has:
                assert model.classify(x).shape == (len(x),)
                assert not model.classify(x).is_floating_point()
            for trait in has & {"log-prob", "bound"}:
                nats = model.log_prob(x) if trait == "log-prob" else model.bound(x)
                assert nats.shape == (len(x),)
                assert nats.isfinite().all()

    def test_claim_conditional(self, system: str) -> None:
        """Built for three classes it samples each of them, and refuses a fourth."""
        spec = default_registry().owner(system)[1]
        if "conditional" not in spec.claims or "sampler" not in spec.roles:
            pytest.skip("does not claim it")
        made = gencore.recipe(system, **{**spec.tiny, "num_classes": 3})
        model = made.model(made.config)
        assert model.sample(3, condition=torch.arange(3)).shape == model.sample(3, condition=2).shape
        with pytest.raises(GencoreError):
            model.sample(2, condition=3)

    def test_claim_twice_differentiable(self, system: str) -> None:
        """The gradient of a gradient penalty reaches the critic's parameters, finite and not all zero."""
        if "twice-differentiable" not in default_registry().owner(system)[1].claims:
            pytest.skip("does not claim it")
        model, _, batch = staged(system, 0)
        x = batch["x"].clone().requires_grad_()
        condition = None if model.condition is None else of_batch(model.condition, batch)
        (slope,) = torch.autograd.grad(model.judge(x, condition=condition).sum(), x, create_graph=True)
        slope.square().sum().backward()
        gradients = [p.grad for p in parameters_of(model, ("critic",)) if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients)
        assert sum(g.abs().sum() for g in gradients) > 0

    def test_claim_compiles(self, system: str) -> None:
        """Each region is captured whole, once: no graph break, and no second capture for the same shapes."""
        if "compiles" not in default_registry().owner(system)[1].claims:
            pytest.skip("does not claim it")
        model, stage, batch = staged(system, 0)
        captures = []

        def count(graph: Any, inputs: Any) -> Any:
            captures.append(graph)
            return graph

        torch._dynamo.reset()
        regions = [region for region in model.regions if region not in stage.objective.double_backward]
        assert regions or stage.objective.double_backward, "claims to compile but names no region"
        compile_regions(model, regions, backend=count)
        for phase in stage.phases:
            stage.objective.loss(model, phase.name, batch)
        first = len(captures)
        for phase in stage.phases:
            stage.objective.loss(model, phase.name, batch)
        torch._dynamo.reset()
        assert len(captures) == first
        assert len(captures) >= len(regions)

    @pytest.mark.slow
    def test_claim_exact_data_parallel(self, system: str, tmp_path: Path) -> None:
        """One step of two processes on halves of a batch equals one step of one process on the whole."""
        if "exact-data-parallel" not in default_registry().owner(system)[1].claims:
            pytest.skip("does not claim it")
        one = train_tiny(system, 8)
        first, second = run_processes(train_tiny, 2, tmp_path, system, 4)
        assert_equal(first, second)
        torch.testing.assert_close(first, one, rtol=1e-4, atol=1e-5)


class Logged:
    """A callback that collects the names of all metrics, without their phases."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def after_step(self, trainer: Trainer) -> None:
        """Those of this iteration."""
        self.names |= {name.partition("/")[2] for name in trainer.metrics}


class StopAt:
    """A callback that stops a training after so many iterations."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_step(self, trainer: Trainer) -> None:
        """Stop when it is time."""
        if trainer.iteration == self.iteration:
            trainer.stop = "test"


@functools.cache
def importing_torch(systems: tuple[str, ...]) -> tuple[str, ...]:
    """The systems by whose specs an interpreter of their own has come to hold torch: none, or the first and all after
    it."""
    code = (
        "import sys; from gencore.registry import default_registry\n"
        "for system in sys.argv[1:]:\n"
        "    default_registry().owner(system)\n"
        "    if 'torch' in sys.modules: print(system)"
    )
    command = [sys.executable, "-c", code, *systems]
    return tuple(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split())


def tiny_model(system: str) -> Model:
    """The tiny model, seeded, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = tiny_recipe(system)
        model = made.model(made.config)
    model.system = system
    return model.eval()


def staged(system: str, stage_index: int) -> tuple[Any, Stage, Batch]:
    """The tiny model as stage `stage_index` finds it, the stage, and a batch of its data."""
    made = tiny_recipe(system)
    model = tiny_model(system).train()
    for earlier in made.stages[: stage_index + 1]:
        if earlier.begin:
            earlier.begin(model)
    stage = made.stages[stage_index]
    source = tiny_source(made)
    batch = Batches(stage.data(source, model) if stage.data else source, made.batch_size, seed=0)[0]
    return model, stage, batch


def trait_batch(system: str) -> Tensor:
    """A batch of data as the system's likelihood and encoder take them."""
    made = tiny_recipe(system)
    x = Batches(tiny_source(made), made.batch_size, seed=0)[0]["x"]
    binary = getattr(made.config, "likelihood", None) == "bernoulli"
    return torch.where(x > 0, 1.0, -1.0) if binary else x


def asked(model: Model, system: str, n: int) -> Tensor | None:
    """Conditions (n, ...) of the data, where the model has a kind of them that it cannot draw by itself."""
    if model.condition is None or isinstance(model.condition, ClassLabel):
        return None
    made = tiny_recipe(system)
    stage, source = made.stages[-1], tiny_source(made)
    batch = Batches(stage.data(source, model) if stage.data else source, n, seed=0)[0]
    return of_batch(model.condition, batch)


def translated(model: Any, system: str) -> Tensor:
    """What the model makes of the pictures that its data hold as its input."""
    made = tiny_recipe(system)
    stage, source = made.stages[0], tiny_source(made)
    batch = Batches(stage.data(source, model) if stage.data else source, made.batch_size, seed=0)[0]
    return model.translate(batch.get("x_input", batch["x"]))


def step_phase(
    model: nn.Module, stage: Stage, phase: Phase, batch: Batch, own: set[int], optimizer: Any = None
) -> float:
    """One step of a phase under a fixed seed, as the trainer does it; returns the loss before the step."""
    optimizer = optimizer or phase.optimizer.build(parameters_of(model, phase.parts))
    for parameter in model.parameters():
        parameter.requires_grad_(phase.joint or id(parameter) in own)
        parameter.grad = None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = stage.objective.loss(model, phase.name, batch)
    loss.total.backward()
    optimizer.step()
    with torch.no_grad(), torch.random.fork_rng():
        stage.objective.after_step(model, phase.name, [] if loss.seen is None else [loss.seen])
    return loss.total.item()


def training_state(trainer: Trainer) -> dict[str, Tensor]:
    """Every tensor that the rest of the training depends on."""
    checkpoint = trainer.state()
    assert trainer._run is not None
    packed = {name: pack_optimizer(o)[0] for name, o in trainer._run.optimizers.items()}
    return {**checkpoint.tensors, **{f"{name}/{key}": t for name, d in packed.items() for key, t in d.items()}}


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """The same names, and the same bits under each."""
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, f"these tensors differ: {different}"
