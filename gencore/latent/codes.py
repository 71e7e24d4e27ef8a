"""A data set through a model's encoder, and codes through its generator.

Where a model answers with a distribution, its mean is taken. The model is in evaluation mode meanwhile, gradients are
off, and results lie on the CPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from gencore.data.source import Source, check_batch
from gencore.errors import GencoreError, NonFiniteError
from gencore.noise import Noise
from gencore.protocols import Encoder, Generator


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codes:
    """`z` (N, D) float32 for `index` (N,) int64 of the data; `label` (N,) int64 where the data have labels."""

    z: Tensor
    index: Tensor
    label: Tensor | None = None


def encode_all(model: Any, data: Source | Tensor, *, limit: int | None = None, batch_size: int = 256) -> Codes:
    """The codes of the first `limit` examples (all if None) of a source, or of a tensor (N, *shape).

    Codes of any shape are flattened to (N, D). Raises GencoreError: no encoder; data of another shape or range;
    integer codes (a codebook's), which have no geometry.
    """
    if not isinstance(model, Encoder):
        raise GencoreError(f"{type(model).__name__} has no encoder (no method `encode`), so data have no codes in it.")
    device: torch.device = model.device  # type: ignore[attr-defined]
    codes, labels = [], []
    total = len(data) if limit is None else min(limit, len(data))
    if total < 1 or batch_size < 1:
        raise GencoreError(f"limit is {limit} and batch_size {batch_size}; expected at least 1 of each.")
    with evaluating(model):
        for start in range(0, total, batch_size):
            index = torch.arange(start, min(start + batch_size, total))
            batch = {"x": data[index]} if isinstance(data, Tensor) else data.fetch(index)
            check_batch(batch, tuple(data.shape[1:]) if isinstance(data, Tensor) else data.shape)
            z = mean_of(model.encode(batch["x"].to(device)))
            if not z.is_floating_point():
                raise GencoreError(
                    f"{type(model).__name__} has discrete codes ({tuple(z.shape[1:])} of {z.dtype}): their numbers are "
                    "names, and distances between them mean nothing."
                )
            codes.append(z.flatten(1).float().cpu())
            if "label" in batch:
                labels.append(batch["label"].cpu())
    return Codes(z=torch.cat(codes), index=torch.arange(total), label=torch.cat(labels) if labels else None)


def encodes_all(model: Any, condition: Any = None) -> bool:
    """Whether the encoder, told `condition` if any, gives what the generator takes: InfoGAN's, for one, reads the code
    and not the noise beside it. False without an encoder; True where there is no prior, and nothing but its codes."""
    if not isinstance(model, Encoder):
        return False
    try:
        prior = model.draw_prior(Noise(0, 0, 1))  # type: ignore[attr-defined]
    except GencoreError:
        return True
    x = torch.zeros(1, *model.config.data_shape, device=model.device)  # type: ignore[attr-defined]
    told = model.check_condition(condition, 1)  # type: ignore[attr-defined]
    with evaluating(model):
        return mean_of(model.encode(x, condition=told)).flatten(1).shape == prior.flatten(1).shape


def decode(model: Any, z: Tensor, *, condition: Tensor | None = None, batch_size: int = 256) -> Tensor:
    """What the model generates from codes z (N, D), (N, *shape), each under its own `condition` (N, ...) if the model
    takes one. Raises GencoreError where it has no generator, NonFiniteError for codes that are not finite.
    """
    if not isinstance(model, Generator):
        raise GencoreError(f"{type(model).__name__} has no generator (no method `generate`): codes lead nowhere.")
    if not z.isfinite().all():
        raise NonFiniteError("The codes hold NaN or infinity.")
    if condition is None:
        return in_batches(model, model.generate, z, batch_size)
    device: torch.device = model.device  # type: ignore[attr-defined]
    with evaluating(model):
        parts = zip(z.split(batch_size), condition.split(batch_size), strict=True)
        made = [model.generate(part.to(device), condition=told.to(device)) for part, told in parts]
        return torch.cat([mean_of(part).cpu() for part in made])


def reconstruct(model: Any, x: Tensor, *, batch_size: int = 256) -> Tensor:
    """Examples x (N, *shape), encoded and generated again, (N, *shape)."""
    if not (isinstance(model, Encoder) and isinstance(model, Generator)):
        raise GencoreError(f"{type(model).__name__} cannot reconstruct: it needs both `encode` and `generate`.")
    own = getattr(model, "reconstruct", None)
    return in_batches(model, own or (lambda rows: model.generate(mean_of(model.encode(rows)))), x, batch_size)


def in_batches(model: Any, function: Callable[[Tensor], Any], rows: Tensor, batch_size: int = 256) -> Tensor:
    """function(rows) by `batch_size` rows at a time on the model's device; the result on the CPU."""
    with evaluating(model):
        return torch.cat([mean_of(function(part.to(model.device))).cpu() for part in rows.split(batch_size)])


def mean_of(value: Tensor | Distribution) -> Tensor:
    """A distribution's mean; a tensor as it is."""
    return value.mean if isinstance(value, Distribution) else value


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards the mode is as it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianCodes:
    """A sampler: z from N(mean, root root^T), fitted to codes, then the generator.

    A plain autoencoder does not know the density of its codes: z ~ N(0, I) gives it what it has never seen. Pass this
    to `Model.sample(n, sampler=...)` to say openly that a density was fitted afterwards.
    """

    mean: Tensor
    root: Tensor

    @classmethod
    def fit(cls, z: Tensor) -> GaussianCodes:
        """To codes (N, D) with N > D. Raises GencoreError for fewer."""
        count, dim = z.shape
        if count <= dim:
            raise GencoreError(f"{count} codes of {dim} numbers do not fix a covariance; expected more than {dim}.")
        values, axes = torch.linalg.eigh(torch.cov(z.double().T).reshape(dim, dim))
        return cls(mean=z.mean(0), root=(axes * values.clamp_min(0).sqrt()).float())

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One generated example for each stream of noise."""
        z = self.mean.to(noise.device) + noise.normal(len(self.mean)) @ self.root.T.to(noise.device)
        samples = mean_of(model.generate(z, condition=condition))
        if callback:
            callback(1, 1)
        return samples
