"""All samplers of the family, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gencore_diffusion.samplers.inpainting import InpaintSampler
from gencore_diffusion.samplers.langevin import AnnealedLangevinSampler, ConsistentAnnealedSampler
from gencore_diffusion.samplers.sampling import DiffusionSampler
from gencore_diffusion.samplers.solvers import (
    DDIMSampler,
    DDPMSampler,
    DPMSolverSampler,
    DPMSolverSDESampler,
    EulerSampler,
    HeunSampler,
)

__all__ = [
    "SAMPLERS",
    "AnnealedLangevinSampler",
    "ConsistentAnnealedSampler",
    "DDIMSampler",
    "DDPMSampler",
    "DPMSolverSDESampler",
    "DPMSolverSampler",
    "EulerSampler",
    "HeunSampler",
    "InpaintSampler",
]

SAMPLERS: Mapping[str, type[DiffusionSampler]] = MappingProxyType(
    {
        "ddpm": DDPMSampler,
        "ddim": DDIMSampler,
        "euler": EulerSampler,
        "heun": HeunSampler,
        "dpm++2m": DPMSolverSampler,
        "dpm++2m-sde": DPMSolverSDESampler,
        "langevin": AnnealedLangevinSampler,
        "consistent-annealed": ConsistentAnnealedSampler,
    }
)
