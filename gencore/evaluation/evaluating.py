"""One evaluation under way: the model, the real examples, how samples are drawn, and what a figure says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gencore.conditions import of_batch
from gencore.config import check
from gencore.data.source import Source
from gencore.errors import GencoreError
from gencore.evaluation import intervals
from gencore.evaluation.extractors import Extractor
from gencore.evaluation.reference import Reference
from gencore.evaluation.reports import METHOD, Figure

WIDE = 512
RESAMPLES = 1000
"""Of a mean, which is cheap."""


class NotApplicableError(GencoreError):
    """A metric that this model, or these data, do not have."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`n`: samples, and examples where a figure is a mean. `n_real`: of the reference; None is the whole split.

    `seed`: of samples, of the reference's draw, of resamples. `k`: samples of a bound. `resamples`: of the bootstrap of
    a distance; None is 100, and 20 for features of more than 512 numbers. `sampler`, `sampler_options`: as
    `Model.sample` takes them. `split`: what the user called the part of the data that is given.
    """

    n: int = 1000
    n_real: int | None = None
    seed: int = 0
    k: int = 50
    resamples: int | None = None
    batch_size: int = 64
    sampler: str | None = None
    sampler_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: str = "test"

    def __post_init__(self) -> None:
        check(self.n >= 1, "n", self.n, "at least 1")
        check(self.n_real is None or self.n_real >= 1, "n_real", self.n_real, "at least 1, or None")
        check(self.k >= 1, "k", self.k, "at least 1")
        check(self.resamples is None or self.resamples >= 2, "resamples", self.resamples, "at least 2, or None")

    def resamples_of(self, width: int) -> int:
        """For features of `width` numbers."""
        return self.resamples or (100 if width <= WIDE else 20)


@dataclasses.dataclass(eq=False)
class Job:
    """`made`: what several metrics share. `remarks`: what could not be said beside a metric that applies, and why."""

    model: Any
    source: Source
    extractor: Extractor | None
    options: Options
    train: Source | None
    callback: Callable[[int, int], None] | None
    weights: str
    made: dict[str, Any] = dataclasses.field(default_factory=dict)
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)

    def reference(self, n: int | None) -> Reference:
        """`n` real examples, all if None: for one n always the same."""
        key = f"reference {n}"
        if key not in self.made:
            options = self.options
            self.made[key] = Reference.draw(self.source, split=options.split, n=n, seed=options.seed)
        drawn: Reference = self.made[key]
        return drawn

    def sampler(self) -> Any:
        """The sampler that draws. Raises NotApplicableError where the model has none."""
        try:
            self.model.default_sampler()
        except GencoreError as error:
            raise NotApplicableError(str(error)) from error
        return self.model.choose_sampler(self.options.sampler, self.options.sampler_options)

    def samples(self, sampler: Any) -> tuple[Tensor, Tensor | None]:
        """`options.n` of the model, made once, under conditions that real examples have, and these.

        Raises GencoreError for samples of another shape than the data, NotApplicableError for data without conditions.
        """
        if "samples" not in self.made:
            self.made["samples"] = self._draw(sampler)
        drawn: tuple[Tensor, Tensor | None] = self.made["samples"]
        return drawn

    def _draw(self, sampler: Any) -> tuple[Tensor, Tensor | None]:
        model, options, condition = self.model, self.options, None
        if model.condition is not None:
            rows = torch.arange(options.n) % len(self.source)
            batches = [self.source.fetch(part) for part in self.reference(None).rows[rows].split(500)]
            if model.condition.key not in batches[0]:
                raise NotApplicableError(
                    f"the model is conditioned on {type(model.condition).__name__}, and {self.source.name} has no "
                    f"{model.condition.key!r}."
                )
            condition = torch.cat([of_batch(model.condition, batch) for batch in batches])
        samples = model.sample(
            options.n,
            seed=options.seed,
            condition=condition,
            sampler=sampler,
            batch_size=options.batch_size,
            callback=self.callback,
        )
        made, shape = tuple(samples.shape[1:]), tuple(self.source.shape)
        if made != shape:
            raise GencoreError(f"Samples have shape {made}, the data {shape}; expected the same.")
        return samples.float().cpu(), condition

    def sampler_fields(self, sampler: Any) -> dict[str, Any]:
        """Its name and fields. What people ask for first is there though the sampler has no such thing."""
        said: dict[str, Any] = {"sampler": type(sampler).__name__, "steps": "none", "guidance": "none"}
        said |= {"truncation": "none", "seed": self.options.seed}
        if self.model.condition is not None:
            said["condition"] = f"{type(self.model.condition).__name__} of real examples"
        for field in dataclasses.fields(sampler) if dataclasses.is_dataclass(sampler) else ():
            value = getattr(sampler, field.name)
            said[field.name] = value if isinstance(value, int | float | str | None) else str(value)[:80]
        return said

    def drawn(self) -> dict[str, Any]:
        """Of every figure: what the data are called, how the weights were had, their type, and by which version."""
        import gencore

        return {
            "data": self.source.name,
            "weights": self.weights,
            "model_dtype": str(self.model.dtype).removeprefix("torch."),
            "gencore": gencore.__version__,
        }


def figure_of_mean(
    job: Job,
    name: str,
    values: Tensor,
    *,
    lower: bool,
    measured: Mapping[str, Any] | None = None,
    beside: Mapping[str, float] | None = None,
    scale: Callable[[float], float] = float,
) -> Figure:
    """The mean of values (N,), one for each example of `job.reference(options.n)`, through an increasing `scale`."""
    low, high = intervals.of_mean(values, resamples=RESAMPLES, seed=job.options.seed)
    return Figure(
        name=name,
        value=scale(values.double().mean().item()),
        low=scale(low),
        high=scale(high),
        better="lower" if lower else "higher",
        measured={"method": METHOD, **job.reference(job.options.n).identity, **(measured or {})},
        drawn=job.drawn() | {"interval": f"bootstrap, {RESAMPLES} resamples"},
        beside=beside or {},
    )
