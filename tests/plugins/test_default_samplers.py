"""Every system that draws: a behaviour test looks at what its default sampler draws after a training.

Read off the tests' text: no training here.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from gencore.pages import read_page
from gencore.registry import list_systems
from tests.plugins.gan.test_short_games import SHORT

ROOT = Path(__file__).parents[2]

OTHERWISE = {
    "ac-gan": "a classifier names the class asked for",
    "am-gan": "a classifier names the class asked for",
    "artgan": "a classifier names the class asked for",
    "biggan": "a classifier names the class asked for",
    "bs-gan": "samples stop at the given critic's boundary",
    "c-rnn-gan": "two notes in a row, Frechet distance",
    "calogan": "showers deposit the energy asked for",
    "causal-language-model": "the grammar allows the sentences",
    "cdcgan": "a classifier names the class asked for",
    "cgan": "a classifier names the class asked for",
    "cvae-gan": "a classifier names the class asked for",
    "dcgan": "Frechet distance in a classifier's features",
    "ddpm": "a classifier names the class asked for, and Frechet distance in its features",
    "edm": "the modes have their weights",
    "gated-pixelcnn": "a classifier names the class asked for",
    "lagan": "a classifier names the prongs asked for",
    "ncsn": "the modes have their weights",
    "rnn-language-model": "the grammar allows the sentences",
    "semi-supervised-vae": "a classifier names the class asked for",
    "stylegan": "Frechet distance in a classifier's features",
    "vq-vae": "distance to the nearest digit, against independent codes",
}
"""How a system's behaviour test judges its default samples where `draws_nearer` does not."""


@functools.cache
def parsed(path: Path) -> tuple[dict[str, ast.AST], dict[str, tuple[Path, str]]]:
    """What a file of tests defines at its top, and what it imports from other files of tests."""
    body = ast.parse(path.read_text()).body
    defined: dict[str, ast.AST] = {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    imported = {}
    for node in body:
        if isinstance(node, ast.ImportFrom):
            inside = Path(*(node.module or "").split("."))
            for folder in (path.parents[node.level - 1],) if node.level else (ROOT, ROOT / "tests/plugins/gan"):
                file = (folder / inside).with_suffix(".py")
                if file.is_relative_to(ROOT / "tests") and file.is_file():
                    imported.update({alias.asname or alias.name: (file, alias.name) for alias in node.names})
    return defined, imported


def reached(path: Path, name: str, seen: set[tuple[Path, str]]) -> set[str]:
    """Those of `draws_nearer`, `sample` and `default_sampler` that a function calls, itself or through others."""
    defined, imported = parsed(path)
    if (path, name) in seen or name == "draws_nearer":
        return {name} & {"draws_nearer"}
    seen.add((path, name))
    if name in imported:
        return reached(*imported[name], seen)
    found = set()
    for node in ast.walk(defined[name]) if name in defined else ():
        if isinstance(node, ast.Attribute) and node.attr in ("sample", "default_sampler"):
            found.add("sample")
        elif isinstance(node, ast.Name):
            found |= reached(path, node.id, seen)
    return found


def looked_at(test: Path) -> set[str]:
    """By all behaviour tests of a file together."""
    defined, _ = parsed(test)
    tests = [n for n in defined.values() if isinstance(n, ast.FunctionDef)]
    ours = [n.name for n in tests if any("behaviour" in ast.unparse(d) for d in n.decorator_list)]
    return set().union(*(reached(test, name, set()) for name in ours))


def test_every_default_sampler_is_held() -> None:
    """Each system in one way alone, so that no list outlives what it says."""
    wrong = {}
    for spec in list_systems():
        if not spec.page.startswith("gencore_") or "sampler" not in spec.roles:
            continue
        family, _, *folders, page = read_page(spec).path.relative_to(ROOT / "plugins").parts
        calls = looked_at(Path(__file__).parent.joinpath(family, *folders, f"test_{page}"))
        ways = [spec.name in listed for listed in (SHORT, OTHERWISE)] + ["draws_nearer" in calls]
        if sum(ways) != 1 or (spec.name in OTHERWISE and "sample" not in calls):
            wrong[spec.name] = (ways, calls)
    assert not wrong
    assert {*SHORT, *OTHERWISE} <= {spec.name for spec in list_systems()}
