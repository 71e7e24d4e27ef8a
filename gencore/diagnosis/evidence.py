"""What a run directory holds, each part read, computed or sampled when it is first asked for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from gencore.conditions import ClassLabel
from gencore.diagnosis.finding import NotJudgedError
from gencore.diagnosis.of_samples import check_trusted, nearest_classes
from gencore.errors import GencoreError
from gencore.evaluation_mode import evaluating
from gencore.training import directory
from gencore.training.checkpoint import Checkpoint, checkpoints, read, under
from gencore.training.metrics_log import read_log
from gencore.training.run import make_recipe, open_data
from gencore.training.settings import load_settings

REFERENCE = 2000
"""Examples among which nearest neighbours are sought."""


class Evidence:
    """The run in `folder`; `n`: how many samples are drawn, and how many examples are looked at.

    The members raise NotJudgedError where the run has nothing of the kind, GencoreError where it cannot be read.
    """

    def __init__(self, folder: Path, *, n: int = 200) -> None:
        self.folder, self.n = folder, n
        self.settings = load_settings(folder)
        log = folder / directory.METRICS
        self.lines: list[dict[str, Any]] = read_log(log)[0] if log.exists() else []

    @cached_property
    def source(self) -> Any:
        """The training data."""
        return open_data(self.settings)

    @cached_property
    def recipe(self) -> Any:
        """The recipe, fitted to the data."""
        if self.settings.init_from is not None:
            raise NotJudgedError("the run began with another model's weights (--init-from)")
        return make_recipe(self.settings, self.source)

    @cached_property
    def batch(self) -> dict[str, Tensor]:
        """n training examples, drawn by the run's seed."""
        order = torch.randperm(len(self.source), generator=torch.Generator().manual_seed(self.settings.seed))
        return self.source.fetch(order[: self.n])

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The newest one."""
        found = checkpoints(self.folder / directory.CHECKPOINTS)
        if not found:
            raise NotJudgedError("there is no checkpoint yet")
        return read(found[-1])

    @cached_property
    def model(self) -> Any:
        """The model as it is published, in evaluation mode."""
        from gencore.api import from_pretrained

        if not (self.folder / "config.json").exists():
            raise NotJudgedError("no model was written yet: that comes with the first checkpoint")
        return from_pretrained(self.folder)

    @cached_property
    def live(self) -> Any:
        """The same with the weights that are trained, where `model` has their average."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(under("model/", self.checkpoint.tensors))
        return model

    @cached_property
    def initial(self) -> Any:
        """The model as the training began: its seed says it."""
        recipe = self.recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            model = recipe.model(recipe.config)
        own, now = model.state_dict(), self.model.state_dict()
        if {name: t.shape for name, t in own.items()} != {name: t.shape for name, t in now.items()}:
            raise NotJudgedError("the model has grown since the training began")
        return model.eval()

    @cached_property
    def losses(self) -> tuple[float, float]:
        """The loss of one batch, untrained and now, with the same random numbers."""
        recipe = self.recipe
        if len(recipe.stages) > 1 or len(recipe.stages[0].phases) > 1:
            raise NotJudgedError("several phases or stages share the training")
        stage = recipe.stages[0]
        source = stage.data(self.source, self.live) if stage.data else self.source
        batch = source.fetch(torch.arange(min(self.n, len(source))))
        found = []
        for model in (self.initial, self.live):
            objective = copy.deepcopy(stage.objective)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.settings.seed)
                found.append(objective.loss(evaluating(model), stage.phases[0].name, batch).total.item())
        return found[0], found[1]

    @cached_property
    def condition(self) -> Tensor | None:
        """What the samples are asked to be: classes in turn, or what the data hold of the model's kind."""
        kind = self.model.condition
        if kind is None:
            return None
        if isinstance(kind, ClassLabel):
            return kind.in_turn(0, self.n)
        if kind.key not in self.batch:
            raise NotJudgedError(f"the data hold no {kind.key} to ask for")
        return self.batch[kind.key]

    @cached_property
    def samples(self) -> Tensor:
        """As many as there are examples in `batch`, from the published model."""
        try:
            self.model.default_sampler()
        except GencoreError:
            raise NotJudgedError("the model does not sample") from None
        count = self.n if self.condition is None else len(self.condition)
        samples = self.model.sample(count, seed=self.settings.seed, condition=self.condition)
        if samples.shape[1:] != self.batch["x"].shape[1:] or not samples.is_floating_point():
            raise NotJudgedError("samples are of another shape than data")
        return samples

    @cached_property
    def neighbours(self) -> tuple[Tensor, Tensor]:
        """Examples and their classes, none of which is in `batch`."""
        if not self.source.num_classes:
            raise NotJudgedError("the data have no classes")
        order = torch.randperm(len(self.source), generator=torch.Generator().manual_seed(self.settings.seed))
        found = self.source.fetch(order[self.n : self.n + REFERENCE])
        return found["x"], found["label"]

    @cached_property
    def accuracy(self) -> float:
        """Of nearest neighbours, on data. Raises NotJudgedError where it is too low to judge samples."""
        classes = nearest_classes(self.batch["x"], *self.neighbours)
        accuracy = (classes == self.batch["label"]).float().mean().item()
        check_trusted(accuracy)
        return accuracy

    @cached_property
    def classes(self) -> Tensor:
        """What nearest neighbours take the samples for, (n,)."""
        assert self.accuracy
        return nearest_classes(self.samples, *self.neighbours)

    @cached_property
    def code(self) -> Tensor | Distribution:
        """What the encoder makes of the data."""
        if not hasattr(self.model, "encode"):
            raise NotJudgedError("the model has no encoder")
        kind = self.model.condition
        with torch.no_grad():
            return self.model.encode(self.batch["x"], condition=None if kind is None else self.batch.get(kind.key))

    def posterior_means(self) -> Tensor:
        """Of the latents, (N, ...)."""
        if not isinstance(self.code, Distribution) or not hasattr(self.code, "log_variance"):
            raise NotJudgedError("the encoder gives no Gaussian posterior")
        return self.code.mean

    def codes(self) -> Tensor:
        """Of a codebook, (N, ...) int64."""
        if not isinstance(self.code, Tensor) or self.code.is_floating_point():
            raise NotJudgedError("the model has no codebook")
        return self.code

    @torch.no_grad()
    def judged(self) -> tuple[Tensor, Tensor]:
        """The critic's judgements of the data and of uniform noise of their shape, (N,) each."""
        if not hasattr(self.live, "judge"):
            raise NotJudgedError("the model has no critic")
        kind, x = self.live.condition, self.batch["x"]
        condition = None if kind is None else self.batch[kind.key]
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(self.settings.seed)) * 2 - 1
        real, other = (self.live.judge(part, condition=condition) for part in (x, noise))
        return real.flatten(1).mean(1) if real.ndim > 1 else real, other.flatten(1).mean(1) if other.ndim > 1 else other

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Untrained, averaged and live, of a run that keeps an average."""
        if not self.recipe.ema:
            raise NotJudgedError("the recipe keeps no average")
        names = dict(self.live.named_parameters())
        return tuple(  # type: ignore[return-value]
            {name: tensor.detach() for name, tensor in model.named_parameters() if name in names}
            for model in (self.initial, self.model, self.live)
        )
