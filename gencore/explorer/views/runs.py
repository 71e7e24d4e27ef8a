"""A run: its curves and grids while it trains, and what can be said of its failures."""

from __future__ import annotations

from gencore.explorer.fields import Field
from gencore.explorer.views.view import View

SECONDS = 5

CURVES = View(
    name="curves",
    title="Curves",
    about=f"What the run logs, and its newest pictures; anew every {SECONDS} seconds while this page is open.",
    verb="plot",
    fields=(
        Field(
            name="metric",
            label="Metric",
            option="--metric",
            control="text",
            hint="Such as critic/loss; all if empty.",
        ),
        Field(name="smooth", label="Smooth over lines", option="--smooth", value="1", least=1, most=1000),
    ),
    outputs=("curves.png",),
    live=True,
    again=SECONDS,
)
DIAGNOSIS = View(
    name="diagnosis",
    title="Diagnosis",
    about="A dozen known failures, each found, fine, or not judged.",
    verb="diagnose",
    fields=(Field(name="n", label="Samples looked at", option="-n", value="200", least=20, most=2000),),
)
OF_RUNS = (CURVES, DIAGNOSIS)
