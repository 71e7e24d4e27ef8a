"""The card of a model: what gencore knows of it, in gencore_hub's form."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gencore.protocols import Encoder
from gencore.registry import default_registry
from gencore_hub import Card, Metric, render_card

if TYPE_CHECKING:
    from gencore.model import Model

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
    samples = "sampler" in spec.roles
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
            pipeline_tag="unconditional-image-generation" if samples else "feature-extraction",
            paper=f"{spec.paper.title} ({spec.paper.authors} {spec.paper.year})",
            arxiv=spec.paper.arxiv or "",
            metrics=tuple(metrics),
            python="images = model.sample(16, seed=0)"
            if samples
            else "model.encode(x)"
            if isinstance(model, Encoder)
            else "model.judge(x)",
            shell=shlex.join(["gencore", "sample", name, "-n", "64", "-o", "samples.png"]) if samples else "",
            has_samples=has_samples,
        )
    )
