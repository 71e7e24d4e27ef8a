"""What the family `ae` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family

family = Family(name="ae", summary="Autoencoders: deterministic codes", extra="ae", systems=())
