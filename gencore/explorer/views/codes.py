"""The space of codes: walks, and maps of data."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import math
from typing import Any

import torch

from gencore.conditions import ClassLabel
from gencore.errors import GencoreError
from gencore.explorer import fields
from gencore.explorer.fields import Field
from gencore.explorer.views.samples import condition_fields
from gencore.explorer.views.view import View
from gencore.latent.codes import evaluating, mean_of
from gencore.noise import Noise

WALK = ("walk.png", "walk.gif")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Of a model: how many numbers a code has that it encodes to, and one that it generates from; 0 for none."""

    encoded: int
    generated: int


def codes_of(model: Any) -> Codes:
    """Found by trying one example. Whole numbers, which name codes of a book, count as none."""
    shape = tuple(getattr(model.config, "data_shape", ()))
    encoded = generated = 0
    known = (AttributeError, GencoreError, RuntimeError, TypeError)
    with evaluating(model):
        with contextlib.suppress(*known):
            z = mean_of(model.encode(torch.zeros(1, *shape, device=model.device)))
            encoded = math.prod(z.shape[1:]) if z.is_floating_point() else 0
        with contextlib.suppress(*known):
            z = z if encoded else model.draw_prior(Noise(0, 0, 1, device=model.device))
            made = mean_of(model.generate(z, condition=model.check_condition(None, 1)))
            if z.is_floating_point() and z.ndim == 2 and made.ndim == 4 and made.shape[1] in (1, 3):
                generated = z.shape[1]
    return Codes(encoded=encoded, generated=generated)


def walk_views(model: Any) -> tuple[View, ...]:
    """Walks between codes, along the numbers of one, and over the plane of a 2-D code."""
    codes = codes_of(model)
    if not codes.generated:
        return ()
    between = fields.data("Between pictures of") if codes.encoded else None
    given = () if between is None else (between,)
    steps = Field(name="steps", label="Steps", option="--steps", value="9", least=2, most=30)
    told = condition_fields(model.named_condition, null=model.takes_null_condition)
    walk = View(
        name="walk",
        title="Walks",
        about="From one code to another, a row each. slerp keeps to the shell on which the codes of many numbers lie.",
        verb="walk",
        fields=(
            Field(name="rows", label="Walks", option="--rows", value="6", least=2, most=30),
            steps,
            Field(
                name="path",
                label="Path",
                option="--path",
                control="choice",
                value="slerp",
                choices=(("lerp", "lerp: straight"), ("slerp", "slerp: along the sphere")),
            ),
            *told,
            fields.seed(),
            *given,
        ),
        outputs=WALK,
        live=True,
    )
    along = dataclasses.replace(
        walk,
        name="along",
        title="Along a code",
        about="One number of a code from -2 to 2, the others as they are.",
        fields=(
            Field(name="along", label="Number", option="--along", value="0", least=0, most=codes.generated - 1),
            steps,
            *told,
            fields.seed(),
            *given,
        ),
    )
    plane = dataclasses.replace(
        walk,
        name="plane",
        title="Plane",
        about="All that the model generates from its 2-D codes, where the data's codes lie.",
        fields=(dataclasses.replace(steps, value="15"), *given),
        outputs=WALK[:1],
        always=("--plane",),
    )
    views = (walk, along, *by_class(model, walk, given))
    return (*views, plane) if codes.encoded == codes.generated == 2 else views


def by_class(model: Any, walk: View, data: tuple[Field, ...]) -> tuple[View, ...]:
    """One code under several classes; of a model that takes none, from pictures of one class to those of another."""
    kind = model.named_condition
    if not (data if kind is None else isinstance(kind, ClassLabel)):
        return ()
    first = range(2 if kind is None else kind.count)[:10]
    names = Field(
        name="classes",
        label="Classes",
        option="--classes",
        control="text",
        value=",".join(map(str, first)),
        required=True,
        hint="Names or numbers, with commas between.",
    )
    about = "From pictures of one class to pictures of another." if kind is None else "One code under each class."
    own = [field for field in walk.fields if kind is None or field.name in ("rows", "seed")]
    return (dataclasses.replace(walk, name="classes", title="By class", about=about, fields=(names, *own)),)


def map_view(model: Any) -> View | None:
    """The codes of data in the plane."""
    codes = codes_of(model)
    if codes.encoded < 1:
        return None
    methods = [("pca", "pca: principal components")]
    if codes.encoded == 2:
        methods.insert(0, ("code", "code: as they are"))
    if importlib.util.find_spec("sklearn"):
        methods.append(("tsne", "tsne: slow, near ones stay near"))
    if importlib.util.find_spec("umap"):
        methods.append(("umap", "umap: slow, near ones stay near"))
    return View(
        name="map",
        title="Map",
        about="Each example's code in the plane. Draw round some to label them, or to get a direction.",
        verb="map",
        fields=(
            fields.data(),
            Field(name="method", label="Method", option="--method", control="choice", choices=tuple(methods)),
            Field(name="n", label="How many at most", option="-n", value="1000", least=10, most=20000),
            Field(name="pictures", label="Pictures", option="--pictures", control="flag", hint="In place of dots."),
            fields.seed(),
        ),
        outputs=("map.png",),
        live=True,
        picks=True,
    )


def codebook_view(model: Any) -> View | None:
    """What the codes of a codebook mean."""
    from gencore.cli.inside import check_codebook

    try:
        check_codebook(model, "")
    except GencoreError:
        return None
    return View(
        name="codebook",
        title="Codebook",
        about="The picture that has one code everywhere, for each code; those that the data use most come first.",
        verb="codebook",
        fields=(fields.data(),),
        outputs=("codebook.png",),
        live=True,
    )
