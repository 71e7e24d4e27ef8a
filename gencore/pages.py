"""What a system's page says of itself: docstring and arguments, read from the source without running it or torch."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.machinery
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from gencore.errors import PluginError
from gencore.spec import SystemSpec

_NAMED = r"((?:`\w+`(?:,| and)? ?)+)"
_MEANING = re.compile(_NAMED + r"(?::| is| are|,)? (.*?)(?=(?:^|[ (])(?:`\w+`(?:,| and)? ?)+(?::| is| are)|$)")

COMMON = {
    "data_shape": "shape of one example; taken from the data",
    "num_classes": "classes that condition the model; taken from the data",
    "condition": "what conditions the model; taken from the data",
    "steps": "iterations, of the first stage",
    "batch_size": "examples per batch, per process",
    "learning_rate": "step size of the optimizer",
    "latent_dim": "numbers in a code",
    "code_dim": "numbers in a code",
    "hidden": "widths of the hidden layers",
    "width": "channels of the narrowest feature maps",
    "ema_decay": "decay of the weight average that is published; 0: none",
}
"""What names mean that many recipes share, where a page says no more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """Something that `gencore.recipe(name, ...)` and --set take; kind and default as they stand in the source."""

    name: str
    kind: str
    default: str
    meaning: str
    of_model: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page's file, its docstring (paper, equations, deviations), and what its recipe takes; `sized`: what it says of
    other defaults for larger data."""

    path: Path
    docstring: str
    arguments: tuple[Argument, ...]
    sized: str = ""


def read_page(spec: SystemSpec) -> Page:
    """The page of a system. Raises PluginError where its source cannot be read."""
    module, _, function = spec.recipe.partition(":")
    path, tree = source_of(module)
    found, _ = find_definition(function, tree)
    if not isinstance(found, ast.FunctionDef):
        raise PluginError(f"System {spec.name!r}: there is no function {function} in {path}.")
    meanings = _meanings(ast.get_docstring(found) or "")
    arguments: list[Argument] = []
    for parameter, default in zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True):
        config, home = _value(default, tree)
        if parameter.arg == "config" and isinstance(config, ast.Call):
            arguments += _config_fields(config, home, meanings)
        else:
            kind = _kind(parameter.annotation, tree)
            arguments.append(_argument(parameter.arg, kind, default, meanings, of_model=False))
    docstring = ast.get_docstring(tree) or ""
    return Page(path=path, docstring=docstring, arguments=tuple(arguments), sized=_sized(spec.sized))


def _sized(target: str) -> str:
    """What the function of that name says, "" where there is none."""
    module, _, name = target.partition(":")
    found = find_definition(name, source_of(module)[1])[0] if module else None
    return " ".join((ast.get_docstring(found) or "").split()) if isinstance(found, ast.FunctionDef) else ""


@functools.cache
def source_of(module: str) -> tuple[Path, ast.Module]:
    """A module's file and what stands in it, its imports absolute. Raises PluginError where it cannot be read."""
    top, *inner = module.split(".")
    found = importlib.util.find_spec(top)
    for place in range(len(inner)):  # find_spec of the whole name would import the packages that it lies in
        if found is None:
            break
        name = ".".join((top, *inner[: place + 1]))
        found = importlib.machinery.PathFinder.find_spec(name, found.submodule_search_locations or [])
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise PluginError(f"The source of {module} cannot be found, so there is nothing to show of it.")
    path = Path(found.origin)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.level:
            dots = "." * statement.level
            statement.module = importlib.util.resolve_name(f"{dots}{statement.module or ''}", package)
            statement.level = 0
    return path, tree


def _value(default: ast.expr | None, tree: ast.Module) -> tuple[ast.expr | None, ast.Module]:
    """A default, or what the name that it is was assigned, with the module that says so."""
    if isinstance(default, ast.Name):
        found, home = find_definition(default.id, tree)
        if isinstance(found, ast.Assign):
            return found.value, home
    return default, tree


def _argument(name: str, kind: str, default: ast.expr | None, meanings: dict[str, str], *, of_model: bool) -> Argument:
    text = "" if default is None else ast.unparse(default)
    meaning = meanings.get(name, COMMON.get(name, ""))
    return Argument(name=name, kind=kind, default=text, meaning=meaning, of_model=of_model)


def _config_fields(made: ast.Call, tree: ast.Module, of_recipe: dict[str, str]) -> list[Argument]:
    """The fields of the config that the call makes, with the call's own values."""
    given = {keyword.arg: keyword.value for keyword in made.keywords}
    fields: dict[str, Argument] = {}
    inner: dict[str, Argument] = {}
    name = made.func.id if isinstance(made.func, ast.Name) else ""
    for kind, home in reversed(_ancestry(name, tree)):
        meanings = _meanings(ast.get_docstring(kind) or "") | of_recipe
        for statement in kind.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                field, annotation = statement.target.id, ast.unparse(statement.annotation)
                if not annotation.startswith("ClassVar"):
                    value = given.get(field, statement.value)
                    shown = _kind(statement.annotation, home)
                    fields[field] = _argument(field, shown, value, meanings, of_model=True)
                    if isinstance(value, ast.Call):
                        inner |= {a.name: a for a in _config_fields(value, home, of_recipe)}
    return [*fields.values(), *(a for name, a in inner.items() if name not in fields)]


def _ancestry(name: str, tree: ast.Module) -> list[tuple[ast.ClassDef, ast.Module]]:
    """The class of that name and its bases in gencore's plugins, nearest first, each with the module it stands in."""
    found, home = find_definition(name, tree)
    if not isinstance(found, ast.ClassDef) or name == "ModelConfig":
        return []
    above = [pair for base in found.bases if isinstance(base, ast.Name) for pair in _ancestry(base.id, home)]
    return [(found, home), *above]


def find_definition(
    name: str, tree: ast.Module, ours: Callable[[str], bool] = lambda module: module not in ("gencore", "typing")
) -> tuple[ast.stmt | None, ast.Module]:
    """Where `name` is defined: in this module, or in the one that it is imported from, if that is one of `ours`."""
    for statement in tree.body:
        named = isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name
        if named or (isinstance(statement, ast.Assign) and _assigns(statement, name)):
            return statement, tree
        if isinstance(statement, ast.ImportFrom) and statement.module and statement.level == 0:
            for alias in statement.names:
                if (alias.asname or alias.name) == name and ours(statement.module):
                    return find_definition(alias.name, source_of(statement.module)[1], ours)
    return None, tree


def _assigns(statement: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)


def _kind(annotation: ast.expr | None, tree: ast.Module) -> str:
    """An annotation as text; an alias of Literal[...] as what it stands for."""
    if annotation is None:
        return ""
    if isinstance(annotation, ast.Name) and annotation.id[0].isupper():
        found, _ = find_definition(annotation.id, tree)
        if isinstance(found, ast.Assign):
            return ast.unparse(found.value)
    return ast.unparse(annotation)


def _meanings(docstring: str) -> dict[str, str]:
    """What a docstring says of each `name` that it explains."""
    text = " ".join(docstring.split())
    told: dict[str, str] = {}
    for match in _MEANING.finditer(text):
        meaning = match[2].strip().rstrip(";,")
        for name in re.findall(r"`(\w+)`", match[1]):
            told.setdefault(name, meaning)
    return told
