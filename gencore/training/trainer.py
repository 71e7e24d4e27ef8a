"""The one trainer: runs any recipe, on one process or many, and resumes it to the bit."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor, nn

from gencore.compilation import compile_regions
from gencore.data import Batches, Source, check_batch, fingerprint
from gencore.distributed import check_agreement, from_first_process, refuse_unsupported, sum_over_processes, whole
from gencore.errors import GencoreError, NonFiniteError
from gencore.model import Model, parts
from gencore.nn.memory_format import put_channels_last
from gencore.objective import Batch, Loss, Objective
from gencore.recipes import Phase, Recipe, Stage, own_parameters, reached_parameters
from gencore.training import identity, sharding
from gencore.training.checkpoint import Checkpoint, pack_optimizer, under, unpack_optimizer
from gencore.training.ema import WeightAverage


class Callback(Protocol):
    """Called on every process after each iteration; write only where `trainer.accelerator.is_main_process`."""

    def after_step(self, trainer: Trainer) -> None:
        """Read `trainer.metrics`, `trainer.iteration`, `trainer.model`; set `trainer.stop` to end early."""
        ...


class _Step(nn.Module):
    """What accelerate wraps: one forward is one phase's loss, double backward included."""

    def __init__(self, model: Model, objective: Any) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, phase: str, batch: Batch) -> Loss:
        return sharding.loss_of(self.objective, self.model, phase, batch)


class _StageRun:
    """One stage under way: a wrapped step and an optimiser for each phase, the order of the data."""

    def __init__(self, trainer: Trainer, stage: Stage, source: Source, index: int) -> None:
        self.stage, model = stage, trainer.model
        self.objective = copy.deepcopy(stage.objective)
        model.train()
        for path in stage.frozen:
            part = parts(model, path)
            if isinstance(part, nn.Module):
                part.eval()
        self.all = list(model.parameters())
        self.own = {phase.name: own_parameters(model, stage, phase) for phase in stage.phases}
        self.reached = {phase.name: reached_parameters(model, stage, phase) for phase in stage.phases}
        reached = {name: set(parameters) for name, parameters in self.reached.items()}
        self.trained = {name: [p in parameters for p in self.all] for name, parameters in reached.items()}
        self.trainable = ""
        self.steps = {}
        for phase in stage.phases:
            self.select(phase)  # a wrapper averages over processes what has a gradient while it is made, and no more
            self.steps[phase.name] = trainer._wrap(self.objective)
        self.optimizers = {phase.name: phase.optimizer.build(self.own[phase.name]) for phase in stage.phases}
        self.rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}
        self.batches = Batches(
            stage.data(source, model) if stage.data else source,
            trainer.recipe.batch_size,
            seed=trainer.seed + (index << 40),
            rank=trainer.accelerator.process_index,
            world_size=trainer.accelerator.num_processes,
        )
        self.per_iteration = max(phase.repeats for phase in stage.phases) * trainer.accumulation
        self.stream = self.batches.prefetch(trainer.step * self.per_iteration)

    def select(self, phase: Phase) -> None:
        """Let gradients reach the phase's own parameters only; all but frozen ones in a joint phase."""
        if self.trainable != phase.name:
            for parameter, trained in zip(self.all, self.trained[phase.name], strict=True):
                parameter.requires_grad_(trained)
            self.trainable = phase.name

    def release(self, accelerator: Accelerator) -> None:
        """Let go of the wrappers: with gloo, a rank that ends while they are alive may abort."""
        for parameter in self.all:
            parameter.requires_grad_(True)
            parameter.grad = None
        self.steps.clear()
        self.stream.close()
        self.optimizers.clear()
        accelerator.free_memory()
        gc.collect()


class Trainer:
    """Trains the model of `recipe` on `source`.

    `accumulation`: batches added up for one step of a phase. `precision`: "bf16" runs forward passes in bfloat16
    (float16 is not offered: its loss scaling cannot serve several players). `compile`: compile the model's regions,
    but for those that the objective differentiates twice. `cpu`: stay on the CPU though there is a GPU.

    Under torchrun or accelerate launch each process makes its own Trainer and calls `fit`; `batch_size` is for each.
    `shard`: share parameters, gradients, averages and optimiser states out over the processes, instead of holding all
    of them on each (gencore.training.sharding); `model` is then of use only inside the training, see `published`.
    Reads and advances torch's global random state, seeded here with `seed`.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        *,
        seed: int = 0,
        accumulation: int = 1,
        precision: Literal["no", "bf16"] = "no",
        compile: bool = False,
        shard: bool = False,
        cpu: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if accumulation < 1:
            raise GencoreError(f"accumulation is {accumulation}; expected at least 1.")
        if precision not in ("no", "bf16"):
            raise GencoreError(f'precision is {precision!r}; expected "no" or "bf16".')
        AcceleratorState._reset_state()
        # Buffers are not broadcast at each forward: objectives keep theirs equal, batch statistics are each rank's own.
        kwargs = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        cpu = cpu or not torch.accelerator.is_available()  # else accelerate starts no gloo group under torchrun
        self.accelerator = Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=[kwargs])
        refuse_unsupported(self.accelerator)
        asked = int(os.environ.get("WORLD_SIZE", "1"))
        if self.accelerator.num_processes != asked:
            raise GencoreError(f"{asked} processes were started, but they found no way to work together.")
        if shard:
            sharding.refuse_unshardable(recipe, compile=compile)
        self.recipe, self.source, self.seed, self.shard = recipe, source, seed, shard
        self.accumulation, self.compile, self.callbacks = accumulation, compile, tuple(callbacks)
        self.precision: str = precision
        self._data: dict[str, Any] | None = None
        self.metrics: dict[str, Tensor] = {}
        self.stop: str | None = None
        self.stage_index, self.step = 0, 0
        torch.manual_seed(seed)
        self.model = recipe.model(recipe.config)
        self.model.system = recipe.name
        self._sharded_step = _Step(self.model, None) if shard else None
        if self._sharded_step:
            sharding.shard(self._sharded_step, self.model, self.accelerator.device)
        else:
            self.model.to(self.accelerator.device)
            if self.accelerator.device.type == "cpu" and asked == 1:
                put_channels_last(self.model)
        torch.manual_seed(seed + 1 + self.accelerator.process_index)
        self.averages = [WeightAverage(config, self.model) for config in recipe.ema]
        self._run: _StageRun | None = None
        self._compiled = False

    @property
    def stage(self) -> Stage:
        """The stage under way."""
        return self.recipe.stages[self.stage_index]

    @property
    def stage_source(self) -> Source:
        """The data as the stage under way sees them."""
        return (self._run or self._begin()).batches.source

    @property
    def objective(self) -> Objective:
        """That of the stage under way, with its state."""
        return (self._run or self._begin()).objective

    @property
    def iteration(self) -> int:
        """Iterations done, over all stages."""
        return sum(stage.steps for stage in self.recipe.stages[: self.stage_index]) + self.step

    @property
    def iterations(self) -> int:
        """Iterations of the whole recipe."""
        return sum(stage.steps for stage in self.recipe.stages)

    def describe(self) -> dict[str, Any]:
        """What this training is, in JSON's types (gencore.training.identity): equal for two that take equal steps.

        Raises what the source raises when some of its examples are fetched, once.
        """
        if self._data is None:
            with torch.random.fork_rng(devices=[]):
                self._data = fingerprint(self.source)
        return identity.describe(
            self.recipe,
            seed=self.seed,
            precision=self.precision,
            accumulation=self.accumulation,
            processes=self.accelerator.num_processes,
            data=self._data,
        )

    def begin_from(self, model: Model) -> None:
        """Take a trained model's weights before the first iteration: fine-tuning. The averages begin there, too.

        Raises GencoreError for weights of other names or shapes.
        """
        self._load_weights(model.state_dict(), f"the {type(model).__name__} to begin from")
        self.averages = [WeightAverage(config, self.model) for config in self.recipe.ema]

    @torch.enable_grad()
    def fit(self) -> Model:
        """Run the recipe to its end, or until a callback sets `stop`; returns `model`, EMA not applied.

        Raises NonFiniteError, naming phase and iteration, on NaN or infinity in a batch, a loss or a gradient.
        """
        while self.stop is None:
            run = self._run or self._begin()
            while self.step < self.stage.steps and self.stop is None:
                self._iterate(run)
                for callback in self.callbacks:
                    callback.after_step(self)
            if self.stop is not None or self.stage_index + 1 == len(self.recipe.stages):
                break
            run.release(self.accelerator)
            self._run = None
            self.synchronise()
            self.stage_index, self.step = self.stage_index + 1, 0
        self.synchronise()
        return self.model

    def close(self) -> None:
        """Free the processes' wrapper; call once at the end where several processes train."""
        if self._run is not None:
            self._run.release(self.accelerator)
            self._run = None
        self.accelerator.end_training()

    @contextlib.contextmanager
    def published(self) -> Iterator[Model]:
        """The model as it is sampled from and saved: with the first weight average, if there is one.

        Call it on every process. Where training is sharded this is a copy, on the CPU, and only the first process'
        has values.
        """
        with self.averages[0].applied() if self.averages else contextlib.nullcontext():
            copied = sharding.whole_copy(self.model) if self.shard else None
            if copied is None:
                yield self.model
        if copied is not None:
            yield copied

    @torch.no_grad()
    def synchronise(self) -> None:
        """Give every process the first one's buffers (batch statistics differ by the rank's data)."""
        for buffer in self.model.buffers():
            buffer.copy_(from_first_process(buffer))

    def state(self) -> Checkpoint:
        """Everything that a resume needs. Call it on every process; with `shard` the first alone gets the tensors.

        Raises GencoreError where an objective's buffers differ between processes: the others' would be lost.
        """
        self.synchronise()
        run = self._run or self._begin()
        check_agreement(run.objective)
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"objective/{name}": tensor for name, tensor in run.objective.state_dict().items()}
        for average in self.averages:
            tensors |= {f"ema/{average.config.name}/{i}": tensor for i, tensor in enumerate(average.tensors)}
            tensors[f"ema/{average.config.name}/ages"] = average.ages
        optimizers = {}
        for name, optimizer in run.optimizers.items():
            packed, optimizers[name] = pack_optimizer(optimizer)
            tensors |= {f"optimizer/{name}/{key}": tensor for key, tensor in packed.items()}
        for rank, streams in enumerate(gather_object([_random_streams()])):
            tensors |= {f"random/{rank}/{name}": stream for name, stream in streams.items()}
        if self.shard:
            tensors = sharding.collected(tensors)
        values = {
            "training": self.describe(),
            "stage": self.stage_index,
            "step": self.step,
            "optimizers": optimizers,
        }
        return Checkpoint(tensors=tensors, values=values)

    def load_state(self, checkpoint: Checkpoint, *, allowed: Collection[identity.Place] = ()) -> None:
        """Continue exactly where `state` was taken. The stage under way, and later ones, may have other numbers of
        iterations than they had.

        `allowed`: what else may differ from the checkpoint's training. Raises GencoreError, naming the differences, for
        a checkpoint of another training, and for one that is broken.
        """
        try:
            identity.check_same(checkpoint, self.recipe, self.describe(), allowed)
            self._load(checkpoint)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, GencoreError):
                raise
            raise GencoreError(
                f"{checkpoint.origin} does not hold what it should ({type(error).__name__}: {error}). Delete it to "
                "continue from the one before."
            ) from error

    def _load(self, checkpoint: Checkpoint) -> None:
        values, tensors = checkpoint.values, checkpoint.tensors
        self.stage_index, self.step = values["stage"], values["step"]
        for stage in self.recipe.stages[: self.stage_index + 1]:
            if stage.begin:
                stage.begin(self.model)
        self._load_weights(under("model/", tensors), checkpoint.origin)
        run = self._begin(grown=True)
        run.objective.load_state_dict(under("objective/", tensors))
        for average in self.averages:
            average.ages.copy_(tensors[f"ema/{average.config.name}/ages"])
            for i, tensor in enumerate(average.tensors):
                tensor.copy_(sharding.placed(tensors[f"ema/{average.config.name}/{i}"], tensor))
        for name, optimizer in run.optimizers.items():
            unpack_optimizer(optimizer, under(f"optimizer/{name}/", tensors), values["optimizers"][name])
        _set_random_streams(under(f"random/{self.accelerator.process_index}/", tensors))

    def _load_weights(self, saved: Mapping[str, Tensor], origin: str) -> None:
        own = self.model.state_dict()
        unfit = [name for name in own.keys() | saved.keys() if _shape(own.get(name)) != _shape(saved.get(name))]
        if unfit:
            name = min(unfit)
            raise GencoreError(
                f"{len(unfit)} tensors of {origin} do not fit this {type(self.model).__name__}, such as {name!r}: "
                f"expected {_shape(own.get(name))}, received {_shape(saved.get(name))}."
            )
        self.model.load_state_dict({name: sharding.placed(tensor, own[name]) for name, tensor in saved.items()})

    def _wrap(self, objective: Objective) -> Any:
        """(phase, batch) -> Loss; its backward averages over processes the gradients of what requires one now."""
        if self._sharded_step:
            self._sharded_step.objective = objective.to(self.accelerator.device)
            # No more than mixed precision: the step is sharded, and lies where it should.
            return self.accelerator.prepare_model(self._sharded_step, device_placement=False, evaluation_mode=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            return self.accelerator.prepare(_Step(self.model, objective))

    def _begin(self, *, grown: bool = False) -> _StageRun:
        if self.stage.begin and not grown:
            self.stage.begin(self.model)
            self.synchronise()
        self.metrics.clear()
        for average in self.averages:
            average.follow(self.model)
        self._run = _StageRun(self, self.stage, self.source, self.stage_index)
        if self.compile and not self._compiled:
            eager = self._run.objective.double_backward
            compile_regions(self.model, [region for region in self.model.regions if region not in eager])
            self._compiled = True
        return self._run

    def _iterate(self, run: _StageRun) -> None:
        batches = [self._batch(run) for _ in range(run.per_iteration)]
        for phase in run.stage.phases:
            if self.step % phase.every or (phase.gate and not phase.gate(run.objective)):
                continue
            for repeat in range(phase.repeats):
                start = repeat * self.accumulation
                self._step_phase(run, phase, batches[start : start + self.accumulation])
        for average in self.averages:
            average.update()
        self.step += 1

    def _batch(self, run: _StageRun) -> Batch:
        batch = next(run.stream)
        check_batch(batch, run.batches.source)
        return {key: tensor.to(self.accelerator.device, non_blocking=True) for key, tensor in batch.items()}

    def _step_phase(self, run: _StageRun, phase: Phase, batches: Sequence[Batch]) -> None:
        run.select(phase)
        own, optimizer, step = run.own[phase.name], run.optimizers[phase.name], run.steps[phase.name]
        for parameter in run.reached[phase.name]:
            parameter.grad = None
        total, seen = torch.zeros((), device=self.accelerator.device), []
        metrics: dict[str, Tensor] = {}
        for i, batch in enumerate(batches):
            last = i + 1 == len(batches)
            with contextlib.nullcontext() if last else self._accumulating(step):
                loss = step(phase.name, batch)
                if loss.total.ndim:
                    raise GencoreError(f"The loss of {phase.name!r} has shape {tuple(loss.total.shape)}, not a scalar.")
                share = loss.total / len(batches) if len(batches) > 1 else loss.total
                self.accelerator.backward(share)
                total += share.detach()
                for key, value in loss.metrics.items():
                    part = value.detach() / len(batches) if len(batches) > 1 else value.detach()
                    metrics[key] = metrics[key] + part if key in metrics else part
                if loss.seen is not None:
                    seen.append(loss.seen)
        norm = whole(torch.nn.utils.get_total_norm([p.grad for p in own if p.grad is not None]))
        self._check_finite(phase.name, total, norm)
        if phase.max_gradient_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(own, phase.max_gradient_norm, norm)
        if phase.schedule:
            for group, rate in zip(optimizer.param_groups, run.rates[phase.name], strict=True):
                group["lr"] = rate * phase.schedule(self.step)
        optimizer.step()
        with torch.no_grad():
            run.objective.after_step(self.model, phase.name, seen)
        self.metrics[f"{phase.name}/loss"] = total
        self.metrics[f"{phase.name}/gradient_norm"] = norm
        self.metrics |= {f"{phase.name}/{key}": value for key, value in metrics.items()}

    def _accumulating(self, step: Any) -> contextlib.AbstractContextManager[None]:
        return sharding.accumulating(step) if self.shard else self.accelerator.no_sync(step)

    def _check_finite(self, phase: str, loss: Tensor, norm: Tensor) -> None:
        """Stop before the step, on all processes at once, so that the parameters stay as they were. A sum is finite
        only if all its numbers are."""
        if not math.isfinite(sum_over_processes(loss + norm).item()):
            what = "gradient" if torch.isfinite(loss) else "loss"
            raise NonFiniteError(
                f"The {what} of phase {phase!r} is not finite at iteration {self.iteration} (loss {loss.item():.4g}, "
                f"gradient norm {norm.item():.4g}). The parameters were left as they were; lower the learning rate, "
                "set max_gradient_norm, or look at the data."
            )


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"shape {tuple(tensor.shape)}"


def _random_streams() -> dict[str, Any]:
    streams = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        streams["cuda"] = torch.cuda.get_rng_state()
    return streams


def _set_random_streams(streams: dict[str, Tensor]) -> None:
    torch.set_rng_state(streams["cpu"])
    if "cuda" in streams and torch.cuda.is_available():
        torch.cuda.set_rng_state(streams["cuda"])
