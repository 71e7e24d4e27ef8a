"""The inner loop that all samplers share: evaluate the model, then one pass over memory for everything else.

A sampler is a plan: at which sigma to ask the model, and which linear combination of x0, x and a third tensor comes
next (noise, or an earlier state). Guidance, x0 from the network's own prediction, clamping and the combination are one
row of eight numbers for `gencore_kernels.diffusion_step`; the whole table lies on the device before the loop begins.

Guidance (Ho & Salimans 2022, arXiv:2207.12598, equation 6, with scale = 1 + w): F = F(null) + scale (F(label) -
F(null)). At scale 1 the model is asked with the label alone, at 0 without it alone: the same bits as no guidance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gencore.errors import GencoreError, NonFiniteError
from gencore_diffusion.parts.denoiser import Denoiser, Denoises
from gencore_diffusion.parts.parametrization import Scalings
from gencore_diffusion.parts.reverse_variance import interpolated
from gencore_diffusion.samplers.compiled import run_compiled
from gencore_kernels.diffusion_step import StepRow, diffusion_step, stack_rows

Callback = Callable[[int, int], None]


class Step(NamedTuple):
    """The next state is p0 x0 + px x + other z, where x0 is the model's at (x, sigma) and z a third tensor."""

    sigma: float
    p0: float
    px: float
    other: float = 0.0


class Settings(NamedTuple):
    """How x0 is made from the network's predictions. `clip`: clamp to [-clip, clip]. `threshold`: the quantile of
    dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3); the clamp is then at most `clip`."""

    guidance: float = 1.0
    clip: float | None = None
    threshold: float | None = None


class Stepper:
    """`model` along `plan`, for a batch like x (N, ...). `stepper(x, k, other)` is the state after step k.

    Raises GencoreError for guidance without a condition, NonFiniteError naming step and sigma where the model yields
    NaN or infinity: at once on the CPU, in `finish` elsewhere, since asking a GPU would wait for it at every step.
    `bounds` (len(plan), 2): the noise of each step gets the model's own variance, between these two logarithms.
    """

    def __init__(
        self,
        model: Denoises,
        plan: Sequence[Step],
        x: Tensor,
        condition: Tensor | None,
        settings: Settings,
        *,
        bounds: Tensor | None = None,
    ) -> None:
        self.model, self.plan, self.takes_other = model, plan, any(step.other for step in plan)
        self.backend = getattr(model, "step_backend", None)
        labels = model.labels(condition, len(x))
        check_guidance(settings.guidance, condition)
        plain = condition is None or settings.guidance in (0.0, 1.0)
        null = model.labels(None, len(x)) if settings.guidance == 0.0 or not plain else None
        if plain:
            self.shown = null if settings.guidance == 0.0 else labels
        else:
            if labels is None or null is None:
                raise GencoreError(
                    f"guidance is {settings.guidance}, but the model has no prediction without a label (it was not "
                    "trained with dropped labels, or takes none): leave guidance at 1."
                )
            self.shown = torch.cat([labels, null])
        sigmas = torch.tensor([step.sigma for step in plan], dtype=torch.float64)
        table = plan_table(plan, model.scalings(sigmas), settings).to(x.device)
        told = model.told(sigmas.to(x.device)) if isinstance(model, Denoiser) else (sigmas.to(x.device),)
        bounds = None if bounds is None else bounds.to(x.device)
        self.given = (told, table, bounds, self.shown, not plain, settings.threshold)
        self.places = torch.arange(len(plan), dtype=torch.int32, device=x.device).unbind()
        self.sums: list[tuple[int, Tensor]] = []

    def __call__(self, x: Tensor, step: int, other: Tensor | None = None) -> Tensor:
        """The state after step number `step` of the plan, of x's shape and dtype."""
        if other is None and self.takes_other and not self.plan[step].other and self.backend is not None:
            other = torch.zeros_like(x)  # of coefficient 0; a tensor at every step, and not x, is the same graph
        return self.run(advance, x, other, step)[0]

    def run(
        self, function: Callable[..., tuple[Tensor, ...]], x: Tensor, other: Tensor | None, step: int, *more: Tensor
    ) -> tuple[Tensor, ...]:
        """`advance`, or a function that calls it, at step number `step`; compiled where the model is."""
        arguments: tuple[Any, ...] = (x, other, self.places[step], *more, self.model, *self.given)
        if self.backend is None:
            *states, total = function(*arguments)
        else:
            *states, total = run_compiled(function, *arguments, backend=self.backend)
        self.sums.append((step, total))
        if x.device.type == "cpu":
            self.finish()
        return tuple(states)

    def finish(self) -> None:
        """Raise NonFiniteError if any prediction so far was not finite."""
        for step, total in self.sums:
            if not math.isfinite(total.item()):
                raise NonFiniteError(
                    f"The denoiser yields NaN or infinity at step {step + 1} of {len(self.plan)}, sigma "
                    f"{self.plan[step].sigma:.6g}: its weights are broken, or that sigma is outside what it was "
                    "trained on."
                )
        self.sums.clear()


def advance(
    x: Tensor,
    other: Tensor | None,
    place: Tensor,
    model: Denoises,
    told: tuple[Tensor, ...],
    table: Tensor,
    bounds: Tensor | None,
    shown: Tensor | None,
    guided: bool,
    threshold: float | None,
) -> tuple[Tensor, Tensor]:
    """Step number `place` (an int32 scalar on x's device): the next state, and the sum of the network's output.

    told: what the model is told of its noise level, by step. bounds: (steps, 2), the logarithms between which the
    network chooses the variance of `other` (gencore_diffusion.parts.reverse_variance). shown: labels, both copies'
    where `guided`.
    """
    seen = torch.cat([x, x]) if guided else x
    asked = (numbers.index_select(0, place).expand(len(seen)) for numbers in told)
    evaluate: Callable[..., Tensor] = model.evaluate if isinstance(model, Denoiser) else model.predict
    out = evaluate(seen, *asked, shown)
    total = out.sum()
    if bounds is not None and other is not None:
        low, high = bounds.index_select(0, place).to(x.dtype).unbind(1)
        other = other * (interpolated(out[: len(x), x.shape[1] :], low, high) / 2).exp()
    if out.shape != seen.shape:
        out = out[:, : x.shape[1]]
    out, uncond = out.chunk(2) if guided else (out, None)
    return diffusion_step(x, out, table, place, uncond=uncond, noise=other, threshold=threshold), total


def advance_two(
    x: Tensor, before: Tensor, place: Tensor, updates: Tensor, model: Denoises, *given: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """A step that also needs x0 of the step before: the next state by row `place` of `updates`, x0, and the sum of the
    network's output. `given`: as `advance` takes it, with a plan that yields x0."""
    clean, total = advance(x, None, place, model, *given)
    return diffusion_step(x, clean, updates, place, noise=before), clean, total


def plan_table(plan: Sequence[Step], coefficients: Scalings, settings: Settings) -> Tensor:
    """The rows of a plan, (len(plan), 8); `coefficients` at its sigmas."""
    radius = math.inf if settings.clip is None else settings.clip
    return stack_rows(
        StepRow(skip, out, step.p0, step.px, 0.0, step.other, radius, settings.guidance)
        for step, skip, out in zip(plan, *(numbers.tolist() for numbers in coefficients), strict=True)
    )


def check_guidance(guidance: float, condition: Tensor | None) -> None:
    """Raise GencoreError for a guidance scale that is not finite, or that needs a condition where there is none."""
    if not math.isfinite(guidance):
        raise GencoreError(f"guidance is {guidance}; expected a finite number: 0 ignores the label, 1 obeys it.")
    if condition is None and guidance not in (0.0, 1.0):
        raise GencoreError(
            f"guidance is {guidance}, but there is no condition to guide towards: pass labels (condition=3), to a "
            "class-conditional model, or leave guidance at 1."
        )
