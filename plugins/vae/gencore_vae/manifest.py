"""What the family `vae` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family

family = Family(name="vae", summary="Variational autoencoders and their bounds", extra="vae", systems=())
