"""What the family `diffusion` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family

family = Family(name="diffusion", summary="Denoising models and their samplers", extra="diffusion", systems=())
