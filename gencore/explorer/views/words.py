"""What word vectors say."""

from __future__ import annotations

from typing import Any

from gencore.explorer.fields import Field
from gencore.explorer.views.view import View

NUMBER = Field(name="n", label="How many", option="-n", value="8", least=1, most=100)


def word_views(model: Any) -> tuple[View, ...]:
    """Neighbours and analogies; none for a model without vectors of words."""
    if not hasattr(model, "neighbours"):
        return ()
    neighbours = View(
        name="neighbours",
        title="Neighbours",
        about="The words most like a word, by the cosine of their vectors.",
        verb="neighbours",
        fields=(_word("word", "Word"), NUMBER),
    )
    analogy = View(
        name="analogy",
        title="Analogies",
        about="What is to the third word as the second is to the first.",
        verb="analogy",
        fields=(_word("a", "First"), _word("b", "Second"), _word("c", "Third"), NUMBER),
    )
    return neighbours, analogy


def _word(name: str, label: str) -> Field:
    return Field(name=name, label=label, control="text", required=True)
