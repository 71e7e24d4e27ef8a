"""What a plugin says about itself. Reading it needs neither torch nor the plugin's heavy modules."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from gencore.errors import GencoreError, PluginError

API_VERSION = 2

ROLE_NAMES = ("encoder", "generator", "critic", "sampler")
TRAITS = ("reconstruct", "translate", "classify", "log-prob", "bound")
CLAIMS = ("compiles", "twice-differentiable", "exact-data-parallel", "conditional")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"([A-Za-z_][\w.]*:)?[A-Za-z_]\w*")
_HEAD = re.compile(r"^SYSTEM = SystemSpec\(\n.*?^\)", re.MULTILINE | re.DOTALL)


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
    """One system: one paper, one recipe. It stands at the head of its page as SYSTEM; `read_family` fills in the rest.

    `model` names a `Model` and `recipe` a function, on the page or as "module:Name"; both are imported on first use.
    The recipe takes the model's config and training arguments (`steps`, `batch_size`, the system's own), all with
    defaults, by keyword: recipe(*, config=MyConfig(...), steps=..., ...) -> Recipe.
    `roles`: what the model can do, of encoder, generator, critic, sampler.
    `traits`: what else it can do, which the conformance suite holds it to and the command line offers:
      reconstruct            `reconstruct(x)` -> data like x
      translate              `translate(x, to=None)` -> a picture of another kind for each; `to` where there is a choice
      classify               `classify(x)` -> the likeliest class of each, (N,) int64
      log-prob               `log_prob(x)` -> (N,) nats
      bound                  `bound(x, k)` -> (N,) nats, below log p(x)
    `claims`: promises about its training and its networks:
      compiles               its `regions` compile without a graph break, and once
      twice-differentiable   a gradient penalty may go through `judge`
      exact-data-parallel    one step of n processes on batches of B equals one step of one process on n B
      conditional            takes a class label as condition
    `sized`: a function, on the page or as "module:name", sized(data_shape, given) -> what the recipe's defaults are for
    data of that shape, where they differ; `given`: the arguments that the user gave, which win.
    `tiny`: recipe arguments of a version that trains a step in milliseconds, for the conformance suite.
    `page`: the module that holds it, "" where the spec was written by hand.
    """

    name: str
    family: str = ""
    summary: str
    paper: Paper
    model: str
    recipe: str
    sized: str = ""
    roles: tuple[str, ...]
    traits: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    tiny: Mapping[str, object] = dataclasses.field(default_factory=dict)
    requires_api: int = API_VERSION
    page: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise GencoreError(
                f"System name {self.name!r} is not valid: use lower-case letters and digits joined by single hyphens."
            )
        for field, target in (("model", self.model), ("recipe", self.recipe), ("sized", self.sized or "none")):
            if not _TARGET.fullmatch(target):
                raise GencoreError(
                    f'System {self.name!r}: {field} is {target!r}; expected "Name", or "package.module:Name".'
                )
        old = tuple(claim for claim in self.claims if claim in TRAITS)  # where version 1 of the contract had them
        object.__setattr__(self, "traits", (*self.traits, *(claim for claim in old if claim not in self.traits)))
        object.__setattr__(self, "claims", tuple(claim for claim in self.claims if claim not in old))
        for field, received, known in (
            ("roles", self.roles, ROLE_NAMES),
            ("traits", self.traits, TRAITS),
            ("claims", self.claims, CLAIMS),
        ):
            if unknown := set(received) - set(known):
                raise GencoreError(
                    f"System {self.name!r}: unknown {field} {sorted(unknown)}; expected some of {list(known)}."
                )
        if self.requires_api < 1:
            raise GencoreError(f"System {self.name!r}: requires_api is {self.requires_api}; expected 1 or more.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataName:
    """A word after --data. `opens` is "module:function": function(split) -> a source (gencore.data.source)."""

    name: str
    summary: str
    opens: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What an entry point of the group `gencore.families` leads to.

    `extra` is the extra of the family's own distribution that installs what the family needs. `data`: names of data
    that come with the family.
    """

    name: str
    summary: str
    systems: tuple[SystemSpec, ...]
    extra: str | None = None
    data: tuple[DataName, ...] = ()

    def __post_init__(self) -> None:
        for spec in self.systems:
            if spec.family != self.name:
                raise GencoreError(
                    f"System {spec.name!r} says that its family is {spec.family!r}, but family {self.name!r} lists it."
                )
        names = [spec.name for spec in self.systems]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise GencoreError(f"Family {self.name!r} lists {sorted(repeated)} more than once.")


def read_family(
    package: str, *, name: str, summary: str, extra: str | None = None, data: tuple[DataName, ...] = ()
) -> Family:
    """The family whose pages lie in `package` (pass __name__): every .py file with a SYSTEM at its head, not imported.

    Raises PluginError, with file and line, for a SYSTEM that is not one call of literals.
    """
    folder = Path(*sys.modules[package].__path__)
    pages = (_read_page(file, package, folder, name) for file in sorted(folder.rglob("*.py")))
    return Family(name=name, summary=summary, systems=tuple(filter(None, pages)), extra=extra, data=data)


def _read_page(file: Path, package: str, folder: Path, family: str) -> SystemSpec | None:
    text = file.read_text(encoding="utf-8")
    head = _HEAD.search(text)
    if head is None:
        if place := re.search(r"^SYSTEM\b", text, re.MULTILINE):
            line = text.count("\n", 0, place.start()) + 1
            raise PluginError(f"{file}, line {line}: SYSTEM must read SYSTEM = SystemSpec( ... ), with ) in column 1.")
        return None
    first = text.count("\n", 0, head.start())
    try:
        (statement,) = ast.parse(head[0]).body
        assert isinstance(statement, ast.Assign)
        spec = _value(statement.value, first)
    except (GencoreError, TypeError, SyntaxError, ValueError) as error:
        raise PluginError(f"{file}, line {first + 1}: SYSTEM cannot be read without running it: {error}") from error
    assert isinstance(spec, SystemSpec)
    page = ".".join((package, *file.relative_to(folder).with_suffix("").parts))
    recipe, sized = _absolute(spec.recipe, page), spec.sized and _absolute(spec.sized, page)
    return dataclasses.replace(
        spec, family=family, page=page, model=_absolute(spec.model, page), recipe=recipe, sized=sized
    )


def _absolute(target: str, page: str) -> str:
    return target if ":" in target else f"{page}:{target}"


def _value(node: ast.expr, first: int) -> object:
    """A literal, or SystemSpec or Paper called with keywords of such. Raises GencoreError with the line."""
    if isinstance(node, ast.Dict) and all(node.keys):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, (_value(value, first) for value in node.values), strict=True))
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    kinds = {"SystemSpec": SystemSpec, "Paper": Paper}
    kind = kinds.get(node.func.id) if isinstance(node.func, ast.Name) else None
    if kind is None or node.args or not all(keyword.arg for keyword in node.keywords):
        raise GencoreError(f"line {first + node.lineno}: expected SystemSpec(...) or Paper(...) with keywords.")
    return kind(**{str(keyword.arg): _value(keyword.value, first) for keyword in node.keywords})
