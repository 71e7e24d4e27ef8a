"""What becomes of pictures: reconstructed, inverted and edited, translated, searched for."""

from __future__ import annotations

from typing import Any

from gencore.conditions import ClassLabel
from gencore.explorer import fields
from gencore.explorer.fields import Field
from gencore.explorer.views.codes import codes_of
from gencore.explorer.views.samples import condition_fields
from gencore.explorer.views.view import View
from gencore.kinds import kind_of


def reconstruct_view(model: Any) -> View | None:
    """Examples of data beside what is left of them."""
    if not hasattr(model, "reconstruct") or kind_of(model) != "picture":
        return None
    return View(
        name="reconstruct",
        title="Reconstructions",
        about="Each original stands above its reconstruction.",
        verb="reconstruct",
        fields=(fields.data(), Field(name="n", label="How many", option="-n", value="32", least=1, most=200)),
        outputs=("reconstructions.png",),
        live=True,
    )


def edit_view(model: Any) -> View | None:
    """A picture's code, moved."""
    codes = codes_of(model)
    if not codes.generated:
        return None
    classes = () if not codes.encoded else _class_fields()
    kind = model.named_condition
    return View(
        name="edit",
        title="Your picture",
        about="The picture, what the model makes of the nearest code, and of that code moved along a direction. Below "
        "each, the difference from the code unmoved: grey is none.",
        verb="edit",
        fields=(
            fields.picture(),
            Field(name="along", label="Move number", option="--along", least=0, most=codes.generated - 1),
            *classes,
            Field(name="reach", label="How far", option="--reach", value="2", least=0.1, most=20, step=0.1),
            Field(name="steps", label="Steps of the search", option="--steps", value="100", least=0, most=2000),
            *(condition_fields(kind, null=False) if isinstance(kind, ClassLabel) else ()),
            fields.seed(),
        ),
        outputs=("edited.png",),
    )


def _class_fields() -> tuple[Field, ...]:
    """Where a direction comes from, where data have codes."""
    return (
        Field(
            name="plus",
            label="Or towards class",
            option="--plus",
            control="text",
            hint="Of the data below, or of a list of labels, as the map writes it.",
        ),
        Field(name="minus", label="Away from class", option="--minus", control="text", hint="All others if empty."),
        Field(
            name="labels",
            label="Labels",
            option="--labels",
            control="file",
            accept=".csv,text/csv",
            hint="A list from the map, if any.",
        ),
        fields.data("Data of the classes", required=False),
    )


def translate_view(model: Any) -> View | None:
    """A picture through a translator."""
    from gencore.cli.translate import channels_of
    from gencore.errors import GencoreError

    if not hasattr(model, "translate"):
        return None
    try:
        channels_of(model, "")
    except GencoreError:
        return None
    return View(
        name="translate",
        title="Translate",
        about="A picture of any size; transparency, depth and colour profile are kept.",
        verb="translate",
        fields=(
            fields.picture(),
            Field(
                name="to",
                label="Into",
                option="--to",
                control="text",
                hint="Where the model has several directions.",
            ),
        ),
        outputs=("translated.png",),
        silently=("-q",),
    )


def retrieve_view(model: Any) -> View | None:
    """What is nearest to a picture."""
    if codes_of(model).encoded < 1 or kind_of(model) != "picture":
        return None
    metrics = (("euclidean", "euclidean"), ("cosine", "cosine"))
    return View(
        name="retrieve",
        title="Search",
        about="The nearest of the data: by the model's codes, by those of random weights, by raw pixels.",
        verb="retrieve",
        fields=(
            fields.picture(),
            fields.data(),
            Field(name="k", label="How many", option="-k", value="8", least=1, most=50),
            Field(name="metric", label="Distance", option="--metric", control="choice", choices=metrics),
        ),
        outputs=("nearest.png",),
    )
