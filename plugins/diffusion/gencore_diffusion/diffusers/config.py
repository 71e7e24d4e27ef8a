"""A diffusers `scheduler_config.json`, read into a frozen config; what it would change and we do not do is refused.

Schedulers: DDPM, DDIM, EulerDiscrete, HeunDiscrete, DPMSolverMultistep. The meaning of the fields, and their defaults
where the file leaves them out, are those of diffusers 0.35 to 0.42.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError, suggest
from gencore_diffusion.parts import schedules

Kind = Literal["ddpm", "ddim", "euler", "heun", "dpm"]
MOST_TIMESTEPS = 100_000
MOST_BYTES = 2**24
"""Of a JSON file: what a stranger's may hold."""
KINDS: dict[str, Kind] = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "HeunDiscreteScheduler": "heun",
    "DPMSolverMultistepScheduler": "dpm",
}
_DEFAULTS: dict[Kind, dict[str, Any]] = {
    "ddpm": {"clip_sample": True, "timestep_spacing": "leading"},
    "ddim": {"clip_sample": True, "timestep_spacing": "leading"},
    "euler": {},
    "heun": {"beta_start": 0.00085, "beta_end": 0.012},
    "dpm": {},
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", None),
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
    "solver_order": (1, 2),
    "final_sigmas_type": ("zero", "sigma_min"),
    "solver_type": ("midpoint",),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "flow_shift": (1.0,),
    "time_shift_type": ("exponential",),
    "lambda_min_clipped": (-math.inf,),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The fields that are honoured, under diffusers' own names."""

    kind: Kind
    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    prediction_type: str = "epsilon"
    timestep_spacing: str = "linspace"
    steps_offset: int = 0
    clip_sample: bool = False
    clip_sample_range: float = 1.0
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    set_alpha_to_one: bool = True
    variance_type: str | None = "fixed_small"
    use_karras_sigmas: bool = False
    final_sigmas_type: str = "zero"
    algorithm_type: str = "dpmsolver++"
    solver_order: int = 2
    lower_order_final: bool = True
    euler_at_final: bool = False

    @property
    def prediction(self) -> Literal["eps", "x0", "v"]:
        """The prediction by our name."""
        names: dict[str, Literal["eps", "x0", "v"]] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
        return names[self.prediction_type]

    @property
    def clip(self) -> float | None:
        """The clamp of x0, or the largest scale of dynamic thresholding."""
        if self.thresholding:
            return self.sample_max_value
        return self.clip_sample_range if self.clip_sample else None

    @property
    def threshold(self) -> float | None:
        """The quantile of dynamic thresholding."""
        return self.dynamic_thresholding_ratio if self.thresholding else None

    @property
    def betas(self) -> Tensor:
        """(num_train_timesteps,) float64."""
        if self.trained_betas is not None:
            return torch.tensor(self.trained_betas, dtype=torch.float64)
        count = self.num_train_timesteps
        if self.beta_schedule == "squaredcos_cap_v2":
            return schedules.betas("cosine", count)
        if self.beta_schedule == "scaled_linear":
            roots = torch.linspace(self.beta_start**0.5, self.beta_end**0.5, count, dtype=torch.float64)
            return roots.square()
        return torch.linspace(self.beta_start, self.beta_end, count, dtype=torch.float64)

    @property
    def alphas_cumprod(self) -> Tensor:
        """(num_train_timesteps,) float64."""
        return schedules.alphas_cumprod(self.betas)


def scheduler_config(source: str | Path | Mapping[str, Any]) -> SchedulerConfig:
    """The config in a scheduler_config.json, in a folder that holds one, or in the mapping that was read from it.

    Raises GencoreError for another scheduler, and for a setting that changes the result and is not known here.
    """
    data = dict(source) if isinstance(source, Mapping) else read_json(Path(source), "scheduler_config.json")
    name = data.pop("_class_name", None)
    if name not in KINDS:
        raise GencoreError(f"The scheduler's _class_name is {name!r}.{suggest(str(name), KINDS)}")
    kind = KINDS[name]
    known = {field.name for field in dataclasses.fields(SchedulerConfig)} - {"kind"}
    values: dict[str, Any] = {}
    for key, value in (_DEFAULTS[kind] | data).items():
        if key.startswith("_"):
            continue
        if key in _CHOICES:
            check(_loose(key, value) in _CHOICES[key], f"{key} of {name}", value, f"one of {list(_CHOICES[key])}")
        elif key not in known and value not in (None, False, 0):
            raise GencoreError(f"{name} has {key} = {value!r}, which is not supported here: its samples would differ.")
        if key in known:
            values[key] = tuple(value) if key == "trained_betas" and value is not None else value
    made = SchedulerConfig(kind=kind, **values)
    known_count = 2 <= made.num_train_timesteps <= MOST_TIMESTEPS
    check(known_count, "num_train_timesteps", made.num_train_timesteps, f"from 2 to {MOST_TIMESTEPS:,}")
    if made.kind == "ddpm" and made.steps_offset:
        raise GencoreError(f"steps_offset of {name} is {made.steps_offset}; expected 0.")
    return made


def _loose(key: str, value: Any) -> Any:
    """JSON has no infinity: diffusers writes it as a string."""
    return float(value) if key == "lambda_min_clipped" and value is not None else value


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object in a file, or in `name` within a folder. Raises GencoreError if it is missing or no JSON object."""
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise GencoreError(f"There is no {path}; expected diffusers' {name}.")
    if path.stat().st_size > MOST_BYTES:
        raise GencoreError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MOST_BYTES:,}.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GencoreError(f"{path} is not JSON: {error}.") from None
    except RecursionError:
        raise GencoreError(f"{path} is nested too deep.") from None
    if not isinstance(data, dict):
        raise GencoreError(f"{path} holds a {type(data).__name__}; expected an object.")
    return data
