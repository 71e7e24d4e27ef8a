"""A model owns its parts. What it can do shows in its methods: encode, generate, judge, sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gencore.conditions import ClassLabel, Condition
from gencore.config import ModelConfig, replace
from gencore.errors import GencoreError, NonFiniteError, UnknownNameError, suggest
from gencore.evaluation_mode import evaluating
from gencore.noise import Noise, NoiseSource
from gencore.paths import user_path
from gencore.protocols import Sampler
from gencore.samplers import PriorSampler


class Model(nn.Module):
    """Base of every model. A subclass sets `config_class` and takes the config as its one argument.

    `system` is the registered name under which the model is saved; `gencore.create`, `gencore.from_pretrained` and
    the trainer set it. `class_names`: of the classes of its training data, in the order of their numbers, where they
    have names; they are saved with it.
    """

    config_class: ClassVar[type[ModelConfig]] = ModelConfig
    regions: ClassVar[tuple[str, ...]] = ()
    """Attribute paths of the parts that torch.compile may take whole."""
    samplers: ClassVar[Mapping[str, type]] = {}
    """Sampler configs by name, for models that several samplers can run."""
    takes_null_condition: ClassVar[bool] = False
    """Whether the model was trained without its condition, too (classifier-free guidance)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise GencoreError(
                f"{type(self).__name__} takes a {self.config_class.__name__}, received a {type(config).__name__}."
            )
        self.config = config
        self.system: str | None = None
        self.class_names: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next((tensor.device for tensor in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Of the first floating-point parameter or buffer; float32 where there is none."""
        tensors = (*self.parameters(), *self.buffers())
        return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)

    @property
    def condition(self) -> Condition | None:
        """What the model is conditioned on (gencore.conditions); None for an unconditional model."""
        return None

    @property
    def named_condition(self) -> Condition | None:
        """`condition`, its classes by the names that they had in the training data."""
        kind = self.condition
        if isinstance(kind, ClassLabel) and not kind.names and len(self.class_names) == kind.count:
            return ClassLabel(count=kind.count, names=self.class_names)
        return kind

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """One code of the prior for each stream of noise, (n, ...): for training and for sampling alike."""
        raise GencoreError(f"{type(self).__name__} has no prior: it cannot generate from noise alone.")

    def default_sampler(self) -> Sampler:
        """The sampler that `sample` uses when none is given: a code of the prior, generated."""
        if type(self).draw_prior is Model.draw_prior:
            raise GencoreError(f"{type(self).__name__} has no sampler of its own: it cannot generate from noise alone.")
        return PriorSampler()

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        condition: Any = None,
        sampler: Sampler | str | None = None,
        batch_size: int = 64,
        start: int = 0,
        callback: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Tensor:
        """Draw n new examples, (n, ...), of the model's dtype; images in [-1, 1].

        Sample i depends on (seed, start + i) alone: not on `batch_size`, device or number of processes, rounding
        aside. It computes as in evaluation mode; nothing that other threads share is touched, neither the global random
        state nor the model's own mode and buffers. `condition`: one for all or one for each, in whatever holds it (int,
        name of a class, list, array, tensor, sentence); None gives a class-conditional model its classes in turn,
        "null" no class where the model was trained without, too. `sampler`: a sampler, or the name of one in
        `samplers`; `options` change its fields (steps=20). `callback(step, steps)` follows the inner steps of a slow
        sampler.
        Raises GencoreError for a bad argument, NonFiniteError where the model yields NaN or infinity.
        """
        for name, value, least in (("n", n, 1), ("batch_size", batch_size, 1)):
            if value < least:
                raise GencoreError(f"{name} is {value}; expected at least {least}.")
        condition = self.check_condition(condition, n, start=start)
        chosen = self.choose_sampler(sampler, options)
        model = evaluating(self)
        chunks = []
        for first in range(0, n, batch_size):
            count = min(batch_size, n - first)
            chunk = None if condition is None else self._own(condition[first : first + count])
            noise = Noise(seed, start + first, count, device=self.device, dtype=self.dtype)
            with torch.no_grad():
                chunks.append(chosen.sample(model, noise, condition=chunk, callback=callback))
        samples = torch.cat(chunks)
        samples = samples.to(self.dtype) if samples.is_floating_point() else samples
        if samples.is_floating_point() and not samples.isfinite().all():
            bad = int((~samples.flatten(1).isfinite().all(1)).sum())
            raise NonFiniteError(f"{bad} of {n} samples hold NaN or infinity: the model's weights are broken.")
        return samples

    def _own(self, condition: Tensor) -> Tensor:
        """A condition on the model's device; numbers, of its dtype."""
        return condition.to(self.device, self.dtype if condition.is_floating_point() else condition.dtype)

    def check_condition(self, given: Any, n: int, *, start: int = 0) -> Tensor | None:
        """What `sample` takes as condition, as a tensor (n, ...). Raises GencoreError for what does not fit."""
        kind = self.named_condition
        if kind is None:
            if given is not None:
                raise GencoreError(f"This {type(self).__name__} is unconditional: it takes no condition. Leave it out.")
            return None
        if isinstance(given, str) and given == "null":
            if not self.takes_null_condition:
                raise GencoreError(f"{type(self).__name__} cannot do without its condition.")
            return None
        if given is not None:
            if isinstance(given, str) and isinstance(kind, ClassLabel):
                given = kind.parse(given)
            return kind.check(given, n)
        return kind.in_turn(start, n) if isinstance(kind, ClassLabel) else kind.draw(Noise(0, start, n))

    def choose_sampler(self, sampler: Sampler | str | None, options: Mapping[str, Any]) -> Sampler:
        """The sampler of that name (None: the default one) with some fields changed. Raises for unknown ones."""
        if isinstance(sampler, str):
            if sampler not in self.samplers:
                raise UnknownNameError(
                    f"{type(self).__name__} has no sampler {sampler!r}.{suggest(sampler, self.samplers)}"
                )
            return replace(self.samplers[sampler](), options)
        return replace(sampler or self.default_sampler(), options)

    def compile(self, *, eager: Sequence[str] = ()) -> None:
        """Compile the model's `regions` in place, except those in `eager`; state-dict keys do not change.

        Where the machine has no C++ compiler this warns once and stays eager.
        """
        from gencore.compilation import compile_regions

        compile_regions(self, [region for region in self.regions if region not in eager])

    def save_pretrained(self, directory: str | Path, *, card: str | None = None, samples: Tensor | None = None) -> None:
        """Write config.json, model.safetensors, README.md (`card`) and samples.png (a grid of `samples`).

        Other files in the directory stay. A kill at any instant leaves the old set or the new one. Raises
        GencoreError if the model has no system name, OSError where the directory cannot be written.
        """
        from gencore.pretrained import save

        save(self, user_path(directory), card=card, samples=samples)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> Self:
        """`gencore.from_pretrained`, and the model must be of this class. `hub`: the same keywords."""
        from gencore.pretrained import load

        model = load(name, **hub)
        if not isinstance(model, cls):
            raise GencoreError(f"{str(name)!r} holds a {type(model).__name__}; expected a {cls.__name__}.")
        return model

    def push_to_hub(self, repo_id: str, *, card: str | None = None, samples: Tensor | None = None, **hub: Any) -> str:
        """Publish as `save_pretrained` writes it; returns the address. `hub`: see gencore_hub.push."""
        from gencore.pretrained import push

        return push(self, repo_id, card=card, samples=samples, **hub)


def parts(model: nn.Module, path: str) -> nn.Module | nn.Parameter:
    """The part of a model at an attribute path; "" is the model. Raises GencoreError where there is none."""
    part: Any = model
    for name in path.split(".") if path else ():
        part = getattr(part, name, None)
    if not isinstance(part, nn.Module | nn.Parameter):
        names = [name for name, _ in model.named_children()]
        raise GencoreError(f"{type(model).__name__} has no part {path!r}; its parts are {', '.join(names)}.")
    return part


def parameters_of(model: nn.Module, paths: Sequence[str]) -> list[nn.Parameter]:
    """The parameters of several parts, each once."""
    found: dict[nn.Parameter, None] = {}
    for path in paths:
        part = parts(model, path)
        found.update(dict.fromkeys([part] if isinstance(part, nn.Parameter) else part.parameters()))
    return list(found)
