"""Files over 500 lines, functions over 60, public functions with more than 8 parameters, and formulas written twice.

A formula is a function body of at least four statements or one long expression; two of them are the same if their
syntax trees are, with names and constants set aside.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MAX_LINES, MAX_FUNCTION, MAX_PARAMETERS, MIN_NODES = 500, 60, 8, 60
# Kernels take pointers and strides, recipes the paper's hyper-parameters, commands their options: long, but flat.
PARAMETERS_EXEMPT = (
    "kernels/",
    "plugins/",
    "gencore/cli/",
    "gencore/data/opening.py",
    "examples/",
    "gencore/training/trainer.py",
    "gencore/cards.py",
)
ROOTS = ("gencore", "kernels", "hub", "plugins", "examples", "tools")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> list[Function]:
    """Every function in a file, methods included."""
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def length(function: Function) -> int:
    """Lines of code, the docstring aside."""
    first = function.body[0]
    start = first.end_lineno if ast.get_docstring(function) and first.end_lineno else function.lineno
    return (function.end_lineno or start) - start


def parameters(function: Function) -> int:
    """Parameters, self aside."""
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def shape(function: Function) -> str | None:
    """The function's body without names and constants, if it is long enough to matter."""
    if function.name == "__post_init__" or (function.returns and ast.unparse(function.returns) == "Recipe"):
        return None  # validation and hyper-parameters are lists, not formulas
    body = function.body[1:] if ast.get_docstring(function) else function.body
    nodes = [node for statement in body for node in ast.walk(statement)]
    if len(nodes) < MIN_NODES:
        return None
    kept = (ast.Attribute, ast.Call, ast.BinOp, ast.Compare, ast.operator, ast.stmt, ast.Name)
    return " ".join(
        node.attr if isinstance(node, ast.Attribute) else type(node).__name__
        for node in nodes
        if isinstance(node, kept)
    )


def problems(root: Path) -> list[str]:
    """One line for each thing that is too large or there twice."""
    found: list[str] = []
    seen: dict[str, str] = {}
    for path in sorted(p for top in ROOTS for p in (root / top).rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
        if text.count("\n") > MAX_LINES:
            found.append(f"{name}: {text.count(chr(10))} lines, at most {MAX_LINES}")
        for function in functions(ast.parse(text)):
            place = f"{name}:{function.lineno} {function.name}"
            if length(function) > MAX_FUNCTION:
                found.append(f"{place}: {length(function)} lines, at most {MAX_FUNCTION}")
            public = not function.name.startswith("_")
            if public and parameters(function) > MAX_PARAMETERS and not name.startswith(PARAMETERS_EXEMPT):
                found.append(f"{place}: {parameters(function)} parameters, at most {MAX_PARAMETERS}")
            if key := shape(function):
                if key in seen:
                    found.append(f"{place}: the same formula as {seen[key]}")
                seen.setdefault(key, place)
    return found


if __name__ == "__main__":
    lines = problems(Path(__file__).parent.parent)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.exit(bool(lines))
