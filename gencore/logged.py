"""What the training log of a system holds, read from the docstrings of what its recipe is made of, without running it.

A class whose losses carry metrics says so in a paragraph that begins with "Logs": Logs `x`: its meaning; lower is
better. Names without a meaning of their own have that of SHARED.
"""

from __future__ import annotations

import ast
import re

from gencore.pages import find_definition, source_of
from gencore.spec import SystemSpec

GOOD = ("higher is better", "lower is better", "neither way is better")
"""Every meaning says one of these."""

OF_EVERY_PHASE = {
    "loss": "what the phase minimises; lower is better, but neither way is better where phases play against each other",
    "gradient_norm": "length of the phase's gradient before clipping; neither way is better, but a jump is a warning",
}
OF_HELD_OUT = "loss on data that are not trained on (--evaluate-every); as loss, and apart from it is learnt by heart"

SHARED = {
    "real": "mean score that the critic gives to data; neither way is better: its lead over fake is nothing at a draw",
    "fake": "mean score that the critic gives to generated examples; neither way is better, see real",
    "game": "the game's part of this player's loss; neither way is better: low says that it beats the critic of now",
    "accuracy": "share of the batch whose class is named right; higher is better",
    "class": "cross-entropy of the classes, nats; lower is better",
    "cross_entropy": "of the classes, nats; lower is better",
    "named": "cross-entropy of the classes of the labelled, nats; lower is better",
    "reconstruction": "error of rebuilt data, in the measure of the loss; lower is better",
    "cycle": "error of data translated there and back, in the measure of the loss; lower is better",
    "log_likelihood": "of data given their codes, nats an example; higher is better",
    "kl": "of the codes from the prior, nats an example; neither way is better: 0 is a code that holds nothing",
}
_NAMES = r"(?:`\w+`(?:, | and | or )?)+"
_OWN = re.compile(rf"({_NAMES}): (.*?)(?=\s*{_NAMES}: |\s*\Z)", re.DOTALL)
"""Names before a colon; ", and" is where others end that have no meaning of their own."""
_PARAGRAPH = re.compile(r"^Logs (.*?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


def read_metrics(spec: SystemSpec) -> dict[str, str]:
    """Each metric that a training of the system may log, as it stands behind PHASE/ in metrics.jsonl, and its meaning;
    "" for one that nobody explains. Raises PluginError where the page's source cannot be read."""
    module, _, function = spec.recipe.partition(":")
    reader = _Reader(frozenset({"gencore", module.partition(".")[0]}))
    reader.follow(function, source_of(module)[1])
    return OF_EVERY_PHASE | reader.found


class _Reader:
    """Collects from a function: from the classes and functions that it names, and theirs in turn."""

    def __init__(self, packages: frozenset[str]) -> None:
        self.packages, self.seen, self.found = packages, set[int](), dict[str, str]()

    def follow(self, name: str, tree: ast.Module) -> None:
        """What `name` of that module is made of."""
        statement, home = find_definition(name, tree, self._is_ours)
        if statement is None or id(statement) in self.seen:
            return
        self.seen.add(id(statement))
        if isinstance(statement, ast.ClassDef):
            self.found = logged_by(ast.get_docstring(statement) or "") | self.found
            inside: list[ast.AST] = [*statement.bases, *(s for s in statement.body if _is_made(s))]
        else:
            inside = [statement]
        for part in inside:
            for node in ast.walk(part):
                if isinstance(node, ast.Name):
                    self.follow(node.id, home)

    def _is_ours(self, module: str) -> bool:
        top = module.partition(".")[0]
        return top in self.packages or top.startswith("gencore_")


def _is_made(statement: ast.stmt) -> bool:
    """Whether a class' statement may make what its losses are made of."""
    return isinstance(statement, ast.FunctionDef) and statement.name == "__init__"


def logged_by(docstring: str) -> dict[str, str]:
    """The metrics that a docstring names, and their meanings."""
    paragraph = _PARAGRAPH.search(docstring)
    if paragraph is None:
        return {}
    text = " ".join(paragraph[1].split())
    own = {name: match[2].rstrip(".") for match in _OWN.finditer(text) for name in _names(match[1])}
    return {name: own.get(name) or SHARED.get(name, "") for name in _names(text)}


def _names(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)
