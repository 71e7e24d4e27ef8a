"""What word vectors say: gencore neighbours, gencore analogy."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gencore.cli.options import Json, Model
from gencore.cli.show import print_rows
from gencore.errors import GencoreError

Number = Annotated[int, typer.Option("-n", "--number", help="How many words.")]
Word = Annotated[str, typer.Argument(help="A word of the model's vocabulary.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (neighbours, analogy):
        app.command()(command)


def neighbours(model: Model, word: Word, n: Number = 5, as_json: Json = False) -> None:
    """The words most like a word, by the cosine of their vectors."""
    _print(f"neighbours of {word}", _vectors(model, n).neighbours(word, n), as_json)


def analogy(model: Model, a: Word, b: Word, c: Word, n: Number = 5, as_json: Json = False) -> None:
    """What is to C as B is to A: the words nearest to the vector of B less A plus C."""
    _print(f"{a} is to {b} as {c} to", _vectors(model, n).analogy(a, b, c, n), as_json)


def _vectors(model: str, n: int) -> Any:
    """The model, which has word vectors. Raises GencoreError where it has none, and for n < 1."""
    import gencore

    if n < 1:
        raise GencoreError(f"-n is {n}; expected at least 1.")
    loaded: Any = gencore.from_pretrained(model)
    if not hasattr(loaded, "neighbours"):
        raise GencoreError(f"{model} has no vectors of words ({type(loaded).__name__}): train word2vec.")
    return loaded


def _print(title: str, found: list[tuple[str, float]], as_json: bool) -> None:
    print_rows(title, ("word", "cosine"), [(word, f"{cosine:.3f}") for word, cosine in found], as_json)
