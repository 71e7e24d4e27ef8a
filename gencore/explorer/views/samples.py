"""What a model draws by itself: `gencore sample`."""

from __future__ import annotations

import dataclasses
from typing import Any

from gencore.conditions import Attributes, ClassLabel, Condition, Image, Tokens
from gencore.errors import GencoreError
from gencore.explorer import fields
from gencore.explorer.fields import Field
from gencore.explorer.views.view import View
from gencore.kinds import SUFFIX, kind_of
from gencore.samplers import PriorSampler

FAST, SLOW = 64, 16

OPTIONS = {
    "truncation": Field(
        name="truncation",
        label="Truncation",
        option="--truncation",
        control="range",
        value="1",
        least=0.05,
        most=2,
        step=0.05,
        hint="Less variety for better looks.",
    ),
    "steps": Field(name="steps", label="Steps", option="--steps", least=1, most=1000),
    "guidance": Field(
        name="guidance",
        label="Guidance",
        option="--guidance",
        step=0.25,
        least=0,
        most=20,
        hint="0 ignores the label, 1 obeys it, more exaggerates it.",
    ),
    "clip": Field(name="clip", label="Clip", option="--clip", step=0.1, least=0.1, most=10),
    "prompt": Field(name="prompt", label="Beginning", option="--prompt", control="text"),
    "temperature": Field(name="temperature", label="Temperature", option="--temperature", step=0.05, least=0, most=5),
    "top_k": Field(name="top_k", label="Top k", option="--top-k", least=1),
    "top_p": Field(name="top_p", label="Top p", option="--top-p", step=0.01, least=0.01, most=1),
}


def sample_view(model: Any) -> View | None:
    """Samples by seed; None for a model that draws none."""
    try:
        default = model.default_sampler()
    except GencoreError:
        return None
    options = _options(model, default)
    live = isinstance(default, PriorSampler) or "truncation" in options
    form = (
        Field(name="n", label="How many", option="-n", value=str(FAST if live else SLOW), least=1, most=400),
        fields.seed(),
        *condition_fields(model.named_condition, null=model.takes_null_condition),
        *_sampler_field(model),
        *(OPTIONS[name] for name in options),
    )
    return View(
        name="sample",
        title="Samples",
        about="Sample i depends on the seed and i alone.",
        verb="sample",
        fields=form,
        outputs=(f"samples{SUFFIX[kind_of(model)]}",),
        silently=("-q",),
        live=live,
    )


def steps_view(model: Any) -> View | None:
    """How a diffusion model goes from noise to a picture."""
    if not hasattr(model, "watch") or kind_of(model) != "picture":
        return None
    named = [OPTIONS[name] for name in _options(model, model.default_sampler()) if name in ("steps", "guidance")]
    return View(
        name="steps",
        title="Steps",
        about="From noise to picture; below each state, what the model takes it for.",
        verb="steps",
        fields=(
            Field(name="n", label="How many", option="-n", value="4", least=1, most=32),
            Field(name="frames", label="Moments", option="--frames", value="8", least=2, most=30),
            fields.seed(),
            *condition_fields(model.named_condition, null=model.takes_null_condition),
            *_sampler_field(model),
            *named,
        ),
        outputs=("steps.png",),
    )


def nearest_view(model: Any) -> View | None:
    """Samples beside what they may be copies of."""
    kind = model.named_condition
    if sample_view(model) is None or kind_of(model) != "picture" or not isinstance(kind, ClassLabel | None):
        return None
    return View(
        name="nearest",
        title="Copies",
        about="Each sample stands before the training pictures that are nearest to it, pixel by pixel.",
        verb="nearest",
        fields=(
            fields.data("Training data"),
            Field(name="n", label="How many samples", option="-n", value="6", least=1, most=64),
            Field(name="k", label="Beside each", option="-k", value="5", least=1, most=20),
            *condition_fields(kind, null=model.takes_null_condition),
            fields.seed(),
        ),
        outputs=("nearest.png",),
    )


def _options(model: Any, default: Any) -> list[str]:
    """The options that the model's samplers have, in the order of OPTIONS."""
    made = [default, *(kind() for kind in model.samplers.values())]
    known = {field.name for one in made if dataclasses.is_dataclass(one) for field in dataclasses.fields(one)}
    if model.condition is None:
        known.discard("guidance")
    return [name for name in OPTIONS if name in known]


def _sampler_field(model: Any) -> tuple[Field, ...]:
    if not model.samplers:
        return ()
    choices = (("", "the model's own"), *((name, name) for name in model.samplers))
    return (Field(name="sampler", label="Sampler", option="--sampler", control="choice", choices=choices),)


def condition_fields(kind: Condition | None, *, null: bool) -> tuple[Field, ...]:
    """The control for what a model is conditioned on."""
    if kind is None:
        return ()
    if isinstance(kind, ClassLabel):
        names = kind.names or tuple(map(str, range(min(kind.count, 1000))))
        free = (("", "each in turn"), *((("null", "none"),) if null else ()))
        choices = (*free, *((name, name) for name in names))
        return (Field(name="label", label="Class", option="--label", control="choice", choices=choices),)
    if isinstance(kind, Image):
        return (fields.picture("Picture to go by", "condition", "--condition"),)
    hints = {
        Tokens: "A sentence of the words that the model knows.",
        Attributes: "Such as " + ",".join(f"{name}=1" for name in getattr(kind, "names", ())[:3]),
    }
    required = isinstance(kind, Tokens)
    return (
        Field(
            name="condition",
            label="Condition",
            option="--condition",
            control="text",
            required=required,
            value=" ".join(kind.words[:1]) if isinstance(kind, Tokens) else "",
            hint=hints[type(kind)],
        ),
    )
