"""What a plugin says about itself. Reading it needs neither torch nor the plugin's heavy modules."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from gencore.errors import GencoreError

API_VERSION = 1

ROLE_NAMES = ("encoder", "generator", "critic", "sampler")
CLAIMS = ("log-prob", "bound", "compiles", "twice-differentiable", "exact-data-parallel", "conditional")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """The publication that a system implements. `arxiv` is the bare id, such as "1704.00028"."""

    title: str
    authors: str
    year: int
    arxiv: str | None = None

    def __str__(self) -> str:
        return f"{self.authors} {self.year}" + (f", arXiv:{self.arxiv}" if self.arxiv else "")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """One system: one paper, one recipe.

    `model` is "module:Class" (a `Model`), `recipe` is "module:function" (keyword arguments `data_shape`, `steps`,
    `batch_size` and the system's own, all with defaults, -> `Recipe`); both are imported on first use.
    `roles`: what the model can do, of encoder, generator, critic, sampler.
    `claims`: what the conformance suite shall hold it to:
      log-prob               `log_prob(x)` -> (N,) nats
      bound                  `bound(x, k)` -> (N,) nats, below log p(x)
      compiles               its `regions` compile without a graph break, and once
      twice-differentiable   a gradient penalty may go through `judge`
      exact-data-parallel    one step of n processes on batches of B equals one step of one process on n B
      conditional            takes a class label as condition
    `tiny`: recipe arguments of a version that trains a step in milliseconds, for the conformance suite.
    """

    name: str
    family: str
    summary: str
    paper: Paper
    model: str
    recipe: str
    roles: tuple[str, ...]
    claims: tuple[str, ...] = ()
    tiny: Mapping[str, object] = dataclasses.field(default_factory=dict)
    requires_api: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise GencoreError(
                f"System name {self.name!r} is not valid: use lower-case letters and digits joined by single hyphens."
            )
        for field, target in (("model", self.model), ("recipe", self.recipe)):
            if not _TARGET.fullmatch(target):
                raise GencoreError(f'System {self.name!r}: {field} is {target!r}; expected "package.module:Name".')
        for field, received, known in (("roles", self.roles, ROLE_NAMES), ("claims", self.claims, CLAIMS)):
            if unknown := set(received) - set(known):
                raise GencoreError(
                    f"System {self.name!r}: unknown {field} {sorted(unknown)}; expected some of {list(known)}."
                )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What an entry point of the group `gencore.families` leads to.

    `extra` is the extra of the family's own distribution that installs what the family needs.
    """

    name: str
    summary: str
    systems: tuple[SystemSpec, ...]
    extra: str | None = None

    def __post_init__(self) -> None:
        for spec in self.systems:
            if spec.family != self.name:
                raise GencoreError(
                    f"System {spec.name!r} says that its family is {spec.family!r}, but family {self.name!r} lists it."
                )
        names = [spec.name for spec in self.systems]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise GencoreError(f"Family {self.name!r} lists {sorted(repeated)} more than once.")
