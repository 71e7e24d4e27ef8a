"""Our updates in the shape of a diffusers scheduler, so that loops written for diffusers run on them unchanged:

    scheduler = DiffusersScheduler("path/to/scheduler")
    scheduler.set_timesteps(50)
    x = torch.randn(shape) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x).prev_sample

Each step is one pass over memory (two for DPM-Solver++) along a table of rows, worked out in float64 before the loop.
Timesteps and end conditions are diffusers' own, which differ from one scheduler to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.diffusers.config import SchedulerConfig, scheduler_config
from gencore_diffusion.parts.parametrization import scalings
from gencore_diffusion.parts.schedules import karras, sigmas_of
from gencore_diffusion.samplers.solvers import EulerSampler, fresh_noise, heun_plan, two_step_updates
from gencore_diffusion.samplers.stepping import Settings, Step, plan_table
from gencore_kernels.diffusion_step import StepRow, ddpm_table, diffusion_step, stack_rows, step_table


class SchedulerOutput(NamedTuple):
    """What `step` returns."""

    prev_sample: Tensor


class DiffusersScheduler:
    """A scheduler with diffusers' methods: set_timesteps, timesteps, init_noise_sigma, scale_model_input, step.

    `source`: a scheduler_config.json, its folder, or its content. Like diffusers' own it keeps its place between steps:
    call `set_timesteps` before each loop. Raises GencoreError for what scheduler_config refuses.
    """

    def __init__(self, source: str | Path | Mapping[str, Any] | SchedulerConfig) -> None:
        self.config = source if isinstance(source, SchedulerConfig) else scheduler_config(source)
        self.order = 2 if self.config.kind == "heun" else 1
        self.timesteps = torch.empty(0)
        self.sigmas: list[float] = []
        self._table, self._combinations, self._fresh = torch.empty(0), torch.empty(0), [0.0]
        self._eta: tuple[float, bool] | None = None
        self._place = 0
        self._memory: Tensor | None = None
        self._scales = self.config.kind in ("euler", "heun")

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation with which a loop's noise begins."""
        if not self._scales:
            return 1.0
        sigmas = self.sigmas or sigmas_of(self.config.alphas_cumprod).tolist()
        return max(sigmas) if self._spaced_to_the_end else math.hypot(1.0, max(sigmas))

    @property
    def _spaced_to_the_end(self) -> bool:
        return self.config.kind in ("euler", "heun") and self.config.timestep_spacing in ("linspace", "trailing")

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Work out the loop's timesteps and its table. Raises GencoreError unless 1 <= steps <= num_train_timesteps."""
        total = self.config.num_train_timesteps
        check(1 <= num_inference_steps <= total, "num_inference_steps", num_inference_steps, f"1 to {total}")
        self._place, self._memory, self._eta = 0, None, None
        spaced = spaced_timesteps(self.config, num_inference_steps)
        self._device = torch.device(device or "cpu")
        if self.config.kind in ("ddpm", "ddim"):
            self._timesteps = [round(t) for t in spaced]
            self.timesteps = torch.tensor(self._timesteps, device=device)
            self._gap = total // num_inference_steps
            return
        self.sigmas, told = sigma_levels(self.config, spaced)
        if self.config.kind == "dpm":
            self.timesteps = torch.tensor([int(t) for t in told], device=device)
            self._set_multistep()
            return
        if self.config.kind == "heun":
            told = [told[0], *(t for t in told[1:] for _ in range(2))]
            plan = heun_plan(self.sigmas[:-1], self.sigmas[1:])
        else:
            plan = [EulerSampler().step(*pair) for pair in pairwise(self.sigmas)]
        self.timesteps = torch.tensor(told, dtype=torch.float32, device=device)
        self._plan = plan
        asked = torch.tensor([step.sigma for step in plan], dtype=torch.float64)
        settings = Settings(clip=self.config.clip, threshold=self.config.threshold)
        self._table = plan_table(plan, scalings(self.config.prediction, asked), settings).to(self._device)

    def _set_multistep(self) -> None:
        """DPM-Solver++'s updates in variance-preserving coordinates: x0 first, then a combination.

        Without a clamp it is x0 / kx = x + (ko / kx) F that is kept, which takes one operation less than x0.
        """
        config, sigmas = self.config, self.sigmas
        eta = 1.0 if config.algorithm_type == "sde-dpmsolver++" else 0.0
        updates = two_step_updates(sigmas, eta)
        few = config.lower_order_final and len(updates) < 15
        first_order_end = config.euler_at_final or few or config.final_sigmas_type == "zero"
        rows, estimates, unit = [], [], 1.0
        for place, ((sigma, following), update) in enumerate(zip(pairwise(sigmas), updates, strict=True)):
            if config.solver_order == 1 or (first_order_end and place == len(updates) - 1):
                update = Step(sigma, 1 - update.px, update.px)
            scale, scale_next = 1 / math.hypot(1.0, sigma), 1 / math.hypot(1.0, following)
            skip, out = (number.item() for number in scalings(config.prediction, torch.tensor(sigma).double()))
            before, unit = unit, skip / scale if config.clip is None and config.threshold is None and skip else 1.0
            estimates.append(StepRow(skip / scale / unit, out / unit, 1.0, 0.0, 0.0, 0.0, config.clip or math.inf))
            p0, px, other = update.p0 * unit, update.px / scale, update.other * before
            rows.append(StepRow(0.0, 1.0, p0 * scale_next, px * scale_next, 0.0, other * scale_next))
        self._table, self._combinations = stack_rows(estimates).to(self._device), stack_rows(rows).to(self._device)
        self._fresh = [fresh_noise(eta, *pair) / math.hypot(1.0, pair[1]) if eta else 0.0 for pair in pairwise(sigmas)]

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """What the network is shown: for Euler and Heun x / sqrt(1 + sigma^2) at the loop's place, else x."""
        if not self._scales:
            return sample
        self._check_place()
        return sample / math.hypot(1.0, self._plan[self._place].sigma)

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        *,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: torch.Generator | None = None,
    ) -> SchedulerOutput:
        """The next sample. `eta` and `use_clipped_model_output` are DDIM's; `generator` draws the noise of DDPM, DDIM
        with eta > 0 and the SDE solver, as diffusers draws it.

        Raises GencoreError before `set_timesteps`, past the end of the loop, and for a timestep that is not its next.
        """
        self._check_place()
        expected = self.timesteps[self._place]
        if float(timestep) != float(expected):
            raise GencoreError(
                f"step is at timestep {float(timestep):g}, but the loop's next is {float(expected):g}: pass the "
                "timesteps in order, each once, and call set_timesteps before a new loop."
            )
        if self.config.kind in ("ddpm", "ddim") and self._eta != (eta, use_clipped_model_output):
            self._eta = (eta, use_clipped_model_output)
            self._table = _preserving_table(self.config, self._timesteps, self._gap, *self._eta).to(self._device)
        following = self._advance(model_output, sample, generator)
        self._place += 1
        return SchedulerOutput(following)

    def _advance(self, out: Tensor, sample: Tensor, generator: torch.Generator | None) -> Tensor:
        place, threshold = self._place, self.config.threshold

        def normal() -> Tensor:
            return torch.randn(sample.shape, generator=generator, device=sample.device, dtype=out.dtype)

        if self.config.kind == "dpm":
            clean = diffusion_step(sample, out, self._table, place, threshold=threshold)
            before = clean if self._memory is None else self._memory
            fresh = normal() if self.config.algorithm_type == "sde-dpmsolver++" else None
            following = diffusion_step(sample, clean, self._combinations, place, noise=before)
            self._memory = clean
            return following if fresh is None else following.add(fresh, alpha=self._fresh[place])
        if self.config.kind == "heun":
            corrects = place % 2 == 1
            other, self._memory = (self._memory, None) if corrects else (None, sample)
            return diffusion_step(sample, out, self._table, place, noise=other, threshold=threshold)
        noise = normal() if self._draws(place) else None
        return diffusion_step(sample, out, self._table, place, noise=noise, threshold=threshold)

    def _draws(self, place: int) -> bool:
        """Whether diffusers draws noise at this step."""
        if self.config.kind == "ddpm":
            return self._timesteps[place] > 0
        return self.config.kind == "ddim" and self._eta is not None and self._eta[0] > 0

    def _check_place(self) -> None:
        if not len(self.timesteps):
            raise GencoreError("The scheduler has no timesteps yet: call set_timesteps(50) first.")
        if self._place >= len(self.timesteps):
            raise GencoreError(f"The loop's {len(self.timesteps)} steps are done: call set_timesteps for another.")


def spaced_timesteps(config: SchedulerConfig, steps: int) -> list[float]:
    """Which timesteps a loop visits, falling. Table 2 of Lin et al. 2024, arXiv:2305.08891; DPM-Solver's has one level
    more, which it leaves out."""
    total, extra = config.num_train_timesteps, config.kind == "dpm"
    if config.timestep_spacing == "linspace":
        spaced = np.linspace(0, total - 1, steps + extra, dtype=np.float64)[::-1][:steps]
        return (spaced if config.kind in ("euler", "heun") else spaced.round()).tolist()
    if config.timestep_spacing == "leading":
        places = np.arange(0, steps + extra)[::-1][:steps]
        return (places * (total // (steps + extra)) + config.steps_offset).astype(float).tolist()
    return (np.arange(total, 0, -total / steps).round() - 1).tolist()


def sigma_levels(config: SchedulerConfig, spaced: list[float]) -> tuple[list[float], list[float]]:
    """(noise levels with the last, timesteps that the network is told) of Euler, Heun and DPM-Solver loops."""
    known = sigmas_of(config.alphas_cumprod).numpy()
    places = np.arange(len(known))
    levels = np.interp(spaced, places, known).tolist()
    told = spaced
    if config.use_karras_sigmas:
        ends = (known[-1].item(), known[0].item()) if config.kind == "dpm" else (levels[0], levels[-1])
        levels = karras(*ends, len(spaced))
        told = np.interp(np.log(levels), np.log(known), places).tolist()
        if config.kind == "dpm" and config.beta_schedule != "squaredcos_cap_v2":
            told = [round(t) for t in told]
    last = known[0].item() if config.final_sigmas_type == "sigma_min" else 0.0
    return [*levels, last], told


def _preserving_table(config: SchedulerConfig, timesteps: list[int], gap: int, eta: float, clipped_eps: bool) -> Tensor:
    """DDPM's or DDIM's rows: from each timestep to the next (DDPM), or `gap` lower (DDIM)."""
    alphas = config.alphas_cumprod
    final = 1.0 if config.kind == "ddpm" or config.set_alpha_to_one else alphas[0].item()
    following = [*timesteps[1:], -1] if config.kind == "ddpm" else [t - gap for t in timesteps]
    if final == 1.0 and [max(after, -1) for after in following] == [*timesteps[1:], -1]:
        return _one_table(config, alphas, timesteps, eta, clipped_eps)
    rows = []
    for t, after in zip(timesteps, following, strict=True):
        target = alphas[after].item() if after >= 0 else final
        levels, visited = ([target, alphas[t].item()], [1, 0]) if target < 1 else ([alphas[t].item()], [0])
        rows.append(_one_table(config, levels, visited, eta, clipped_eps)[:1])
    return torch.cat(rows)


def _one_table(
    config: SchedulerConfig, alphas: Tensor | list[float], timesteps: list[int], eta: float, clipped_eps: bool
) -> Tensor:
    """DDPM's or DDIM's rows from each timestep to the next, and to the clean sample at last."""
    if config.kind == "ddim":
        return step_table(
            alphas, timesteps, prediction=config.prediction, eta=eta, clip=config.clip, clipped_eps=clipped_eps
        )
    variance: Literal["posterior", "beta"] = "beta" if config.variance_type == "fixed_large" else "posterior"
    return ddpm_table(alphas, timesteps, prediction=config.prediction, variance=variance, clip=config.clip)
