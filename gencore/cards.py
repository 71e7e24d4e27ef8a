"""The card of a model: what gencore knows of it, in gencore_hub's form."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gencore.conditions import ClassLabel
from gencore.kinds import SUFFIX, kind_of
from gencore.protocols import Encoder
from gencore.registry import default_registry
from gencore_hub import Card, Metric, render_card

if TYPE_CHECKING:
    from gencore.model import Model
    from gencore.spec import SystemSpec

UNKNOWN = "not recorded"


def card_for(
    model: Model,
    *,
    name: str,
    data: str = UNKNOWN,
    command: str = UNKNOWN,
    license: str | None = None,
    metrics: Sequence[Metric] = (),
    limitations: Sequence[str] = (),
    has_samples: bool = True,
) -> str:
    """The text of README.md for a model with a system name; `name` is what from_pretrained is given.

    `license`: of the weights; without one the card names none, since nobody has stated it.
    """
    assert model.system is not None
    spec = default_registry().owner(model.system)[1]
    use = use_of(model, spec)
    return render_card(
        Card(
            name=name,
            system=spec.name,
            family=spec.family,
            summary=spec.summary,
            license=license or "",
            data=data,
            command=command,
            limitations=tuple(limitations),
            pipeline_tag=use.task,
            paper=f"{spec.paper.title} ({spec.paper.authors} {spec.paper.year})",
            arxiv=spec.paper.arxiv or "",
            metrics=tuple(metrics),
            python=use.python,
            shell=shlex.join(["gencore", use.verb, name, *use.options]) if use.verb else "",
            has_samples=has_samples,
        )
    )


class Use(NamedTuple):
    """The Hub's task, "" where it has none for such a model; a line of Python; and a command, `gencore verb NAME
    options`, with verb "" where the command needs more than the reader may have."""

    task: str
    python: str
    verb: str = ""
    options: tuple[str, ...] = ()


def use_of(model: Model, spec: SystemSpec) -> Use:
    """What a reader does first with a model: translate a picture, draw samples, encode."""
    if "translate" in spec.traits:
        return Use(
            "image-to-image", "pictures = model.translate(x)", "translate", ("picture.png", "-o", "translated.png")
        )
    if "sampler" in spec.roles:
        return _sampled(model)
    if isinstance(model, Encoder):
        return Use("feature-extraction", "codes = model.encode(x)", "embed", ("--data", "DIR", "-o", "codes.npy"))
    return Use("feature-extraction", "scores = model.judge(x)")


def _sampled(model: Model) -> Use:
    kind, several = kind_of(model), ("-n", "4")
    if not isinstance(model.condition, ClassLabel | None):
        return Use("", "samples = model.sample(16, seed=0, condition=condition)")
    if kind == "text":
        return Use("text-generation", "texts = model.text(model.sample(4, seed=0))", "sample", several)
    if kind == "sound":
        return Use("", "waves = model.sample(4, seed=0)", "sample", (*several, "-o", "samples.wav"))
    if kind == "picture":
        task = "unconditional-image-generation"
        return Use(task, "images = model.sample(16, seed=0)", "sample", ("-n", "64", "-o", "samples.png"))
    return Use("", "samples = model.sample(16, seed=0)", "sample", ("-n", "16", "-o", f"samples{SUFFIX[kind]}"))
