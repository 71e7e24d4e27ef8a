"""The family's contract: `denoise(x, sigma, condition)` -> x0, whatever the network predicts.

A model is a network F inside two affine maps (Karras et al. 2022, arXiv:2206.00364, equation 7):

    denoise(x, sigma) = skip(sigma) x + out(sigma) F(input(sigma) x, level(sigma), label)

for x = x0 + sigma eps. DDPM, NCSN and EDM differ in these functions of sigma alone; see
`gencore_diffusion.parts.parametrization`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gencore import Model, Sampler
from gencore.compilation import missing_compiler
from gencore.conditions import ClassLabel, Condition
from gencore.errors import GencoreError
from gencore_diffusion.parts.parametrization import Parametrization, Scalings, column, preserving_scale, scalings, to_x0


class Denoises(Protocol):
    """What a sampler needs of a model. `predict` is F above, `denoise` its x0."""

    data_shape: tuple[int, ...]
    sigma_min: float
    sigma_max: float
    preserves_variance: bool
    """Whether sampling begins from sqrt(1 + sigma_max^2) eps (DDPM) instead of sigma_max eps."""

    def scalings(self, sigma: Tensor) -> Scalings:
        """x0 = skip x + out F."""
        ...

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """F at x (N, ...) and sigma (N,) float64; `labels` as `labels()` returns them."""
        ...

    def labels(self, condition: Tensor | None, count: int) -> Tensor | None:
        """What `predict` takes for a user's condition, None for none. Raises GencoreError for an unfit one."""
        ...

    def grid(self, steps: int) -> list[float]:
        """The model's own noise levels for so many steps, falling, without the final 0."""
        ...


class Denoiser(Model, abc.ABC):
    """Base of the family's models. `network` (x, level, label) -> F; a subclass says what the levels mean."""

    regions = ("network",)
    takes_null_condition = True
    preserves_variance: bool = False
    step_backend: str | Callable[..., Any] | None = None
    """What compiles the steps of samplers; None: they run eager."""
    network: nn.Module
    config: Any

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.config.data_shape

    @property
    @abc.abstractmethod
    def sigma_min(self) -> float:
        """The smallest noise level that the network was trained on."""

    @property
    @abc.abstractmethod
    def sigma_max(self) -> float:
        """The largest."""

    @abc.abstractmethod
    def scalings(self, sigma: Tensor) -> Scalings:
        """x0 = skip x + out F, for sigma > 0 of any shape."""

    @abc.abstractmethod
    def level(self, sigma: Tensor) -> Tensor:
        """What the network is told, for sigma (N,) float64."""

    @abc.abstractmethod
    def input_scale(self, sigma: Tensor) -> Tensor:
        """What x is multiplied by before the network sees it."""

    @abc.abstractmethod
    def grid(self, steps: int) -> list[float]:
        """The model's own noise levels for so many steps, falling, without the final 0."""

    @abc.abstractmethod
    def draw_sigma(self, count: int) -> Tensor:
        """(count,) float64 noise levels of a training batch, from torch's global stream."""

    @property
    def condition(self) -> Condition | None:
        """A class, where the model has classes."""
        return ClassLabel(count=self.config.num_classes) if self.config.num_classes else None

    def labels(self, condition: Tensor | None, count: int) -> Tensor | None:
        """(count,) int64 for the network: the labels, or the null label (num_classes) where condition is None.

        None for an unconditional model. Raises GencoreError for labels out of range or of another shape, and for a
        condition given to an unconditional model.
        """
        classes = self.config.num_classes
        if classes is None:
            if condition is not None:
                raise GencoreError("This model is unconditional: it takes no label. Leave condition out.")
            return None
        if condition is None:
            return torch.full((count,), classes, device=self.device)
        return check_labels(condition, count, classes)

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """F at x (N, *data_shape) and sigma (N,) float64, with labels as `labels` returns them."""
        return self.evaluate(x, *self.told(sigma), labels)

    def told(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What depends on sigma (K,) float64 alone: the input's scale and the network's level, (K,) each."""
        return self.input_scale(sigma), self.level(sigma).float()

    def evaluate(self, x: Tensor, scale: Tensor, level: Tensor, labels: Tensor | None) -> Tensor:
        """The network's output at x (N, *data_shape), for scale and level (N,) as `told` returns them; of x's dtype,
        whatever the network computes in."""
        dtype = next((p.dtype for p in self.network.parameters()), x.dtype)
        return self.network((x * column(scale, x)).to(dtype), level, labels).to(x.dtype)

    def step_graph(self, sampler: Sampler) -> tuple[nn.Module, Callable[..., Tensor], dict[str, Any]]:
        """One step of `sampler` for `gencore export`: see gencore_diffusion.parts.exported."""
        from gencore_diffusion.parts.exported import step_graph

        return step_graph(self, sampler)

    def compile(self, *, eager: Sequence[str] = ()) -> None:
        """As `Model.compile`; and every sampler's step, the network inside it, becomes one compiled function."""
        super().compile(eager=eager)
        if "network" not in eager and missing_compiler() is None:
            self.step_backend = "inductor"

    def choose_sampler(self, sampler: Sampler | str | None, options: Mapping[str, Any]) -> Sampler:
        """As `Model.choose_sampler`; one that is chosen by name takes from the model's own what belongs to the range of
        its data: `clip` and `threshold`, unless `options` say otherwise."""
        if isinstance(sampler, str) and sampler in self.samplers:
            own = self.default_sampler()
            options = {name: getattr(own, name, None) for name in ("clip", "threshold")} | dict(options)
        return super().choose_sampler(sampler, options)

    def watch(self, n: int, *, frames: int = 8, seed: int = 0, condition: Any = None, **options: Any) -> Tensor:
        """What sampling goes through, (n, 2, frames, *data_shape): see gencore_diffusion.parts.watching."""
        from gencore_diffusion.parts.watching import watch

        return watch(self, n, frames=frames, seed=seed, condition=condition, **options)

    def denoise(self, x: Tensor, sigma: Tensor | float, condition: Tensor | None = None) -> Tensor:
        """E[x0 | x] as the model sees it, for x = x0 + sigma eps.

        x: (N, *data_shape). sigma: positive, a number or (N,), in units of the data. condition: (N,) int64 labels of a
        class-conditional model, None for none. Returns (N, *data_shape). Raises GencoreError for what does not fit.
        """
        if tuple(x.shape[1:]) != tuple(self.data_shape):
            raise GencoreError(f"x has shape {tuple(x.shape)}; expected (N, {', '.join(map(str, self.data_shape))}).")
        levels = noise_levels(sigma, x)
        return to_x0(self.predict(x, levels, self.labels(condition, len(x))), x, self.scalings(levels))


class FunctionDenoiser:
    """Any function of (x, sigma, labels) as a model for the samplers: closed forms, other libraries' networks.

    `function` takes x (N, ...), sigma (N,) float64 and the condition as given; it returns F in `parametrization`.
    `preserves_variance`: it is shown x / sqrt(1 + sigma^2), and sampling begins from that prior (a DDPM network).
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        *,
        data_shape: tuple[int, ...],
        sigma_min: float,
        sigma_max: float,
        parametrization: Parametrization = "x0",
        preserves_variance: bool = False,
    ) -> None:
        self.function, self.parametrization, self.preserves_variance = function, parametrization, preserves_variance
        self.data_shape, self.sigma_min, self.sigma_max = data_shape, sigma_min, sigma_max

    def scalings(self, sigma: Tensor) -> Scalings:
        """Those of the parametrization."""
        return scalings(self.parametrization, sigma)

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The function's value."""
        scale = preserving_scale(sigma) if self.preserves_variance else torch.ones_like(sigma)
        return self.function(x * column(scale, x), sigma, labels)

    def denoise(self, x: Tensor, sigma: Tensor | float, condition: Tensor | None = None) -> Tensor:
        """x0, from x (N, ...) and sigma, a number or (N,)."""
        levels = noise_levels(sigma, x)
        return to_x0(self.predict(x, levels, condition), x, self.scalings(levels))

    def labels(self, condition: Tensor | None, count: int) -> Tensor | None:
        """The condition as it is: the function knows what it takes."""
        return condition

    def grid(self, steps: int) -> list[float]:
        """Karras' levels between sigma_max and sigma_min."""
        from gencore_diffusion.parts.schedules import karras

        return karras(self.sigma_max, self.sigma_min, steps)


def check_labels(condition: Tensor, count: int, classes: int) -> Tensor:
    """The labels as (count,) int64. Raises GencoreError unless they are integers from 0 to classes - 1."""
    fits = condition.shape == (count,) and not condition.is_floating_point()
    if not fits or condition.min() < 0 or condition.max() >= classes:
        raise GencoreError(f"Labels must be ({count},) integers from 0 to {classes - 1}; received {condition}.")
    return condition.long()


def noise_levels(sigma: Tensor | float, x: Tensor) -> Tensor:
    """sigma as (N,) float64 on x's device. Raises GencoreError unless it is positive and a scalar or (N,)."""
    levels = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
    if levels.shape not in ((), x.shape[:1]):
        raise GencoreError(f"sigma has shape {tuple(levels.shape)}; expected a number or ({len(x)},).")
    if not bool((levels > 0).all()):
        raise GencoreError(f"sigma is {levels}; expected positive noise levels: at 0 there is nothing to denoise.")
    return levels.expand(len(x))
