"""Turn a finished training run on MNIST into a bundled model, measured and with its card.

    python tools/bundle.py main runs/dcgan-mnist dcgan-mnist --data mnist:path/to/mnist
    python tools/bundle.py remeasure dcgan-mnist --data mnist:path/to/mnist

The first writes hub/gencore_hub/weights/NAME; the card's training command is that of the run. The second measures what
is there again.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import gencore
from gencore.cards import card_for
from gencore.data import open_source
from gencore.evaluation import Options, evaluate, train_classifier
from gencore.evaluation.reports import Figure
from gencore.training.callbacks import preview
from gencore.training.run import load_settings
from gencore_hub import Card, Metric, render_card
from gencore_hub.atomic import atomic_write

app = typer.Typer(pretty_exceptions_enable=False)
WEIGHTS = Path(__file__).parent.parent / "hub" / "gencore_hub" / "weights"
DATA = (
    "The MNIST training set (Y. LeCun, C. Cortes, C. J. C. Burges): 60,000 handwritten digits of 28 x 28, resized to "
    "{size} x {size}, values in [-1, 1]. The images are not part of gencore."
)


def measure(model: Any, data: str, size: int, n: int = 1000) -> list[Metric]:
    """The figures of gencore evaluate on the whole test set; and of samples, whether a judge sees all classes in them,
    and those that were asked for."""
    torch.set_num_threads(1)
    train, test = (open_source(data, image_size=size, split=split) for split in ("train", "test"))
    report = evaluate(model, test, options=Options(n=n, k=20), about={"weights": "as bundled"})
    metrics = [written(figure) for figure in report.figures]
    if any(figure.name == "precision" for figure in report.figures):
        judge, seed = train_classifier(train, steps=3000), 1
        labels = torch.arange(n) % 10 if getattr(model.config, "num_classes", None) else None
        named = judge(model.sample(n, seed=seed, condition=labels).clamp(-1, 1)).argmax(1)
        judged = {"judge": f"{judge.name} {judge.fingerprint()}", "n samples": str(n), "seed": str(seed)}
        if labels is not None:
            asked = (named == labels).float().mean().item()
            metrics.append(Metric(name="share classified as asked", value=asked, provenance=judged))
        share = named.bincount(minlength=10).min().item() / n
        metrics.append(Metric(name="share of the rarest class", value=share, provenance=judged))
    return metrics


def written(figure: Figure) -> Metric:
    """A figure as a card has it: its interval, what stands beside it, and how it came about."""
    said = {"95 %": f"{figure.low:.4g} to {figure.high:.4g}"}
    said |= {name: f"{value:.4g}" for name, value in figure.beside.items()}
    fields = {**figure.measured, **figure.drawn}
    named = ("extractor", "resize", "rounding", "n_real", "real_split", "real_rows", "n_samples", "likelihood")
    named += ("dequantised", "sampler", "steps", "guidance", "truncation", "seed", "gencore")
    said |= {name.replace("_", " "): str(fields[name]) for name in named if fields.get(name, "none") != "none"}
    for name in ("extractor_sha256", "real_digest"):
        if name in fields:
            said[name.replace("_", " ")] = str(fields[name])[:12]
    return Metric(name=figure.name, value=figure.value, provenance=said)


def renewed(card: str, metrics: list[Metric]) -> str:
    """A card with these metrics in the place of its own."""
    blank = Card(name="x", system="x", family="x", summary="", license="", data="", command="", limitations=())
    made = render_card(dataclasses.replace(blank, metrics=tuple(metrics)))
    head, tail = card.index("## Metrics"), card.index("## Limitations")
    return card[:head] + made[made.index("## Metrics") : made.index("## Limitations")] + card[tail:]


@app.command()
def remeasure(name: str, data: Annotated[str, typer.Option()], n: int = 1000) -> None:
    """Measure a bundled model again, and write the figures into its card; the weights stay."""
    model: Any = gencore.from_pretrained(WEIGHTS / name)
    card = WEIGHTS / name / "README.md"
    metrics = measure(model, data, model.config.data_shape[-1], n)
    atomic_write(card, renewed(card.read_text(encoding="utf-8"), metrics).encode())


@app.command()
def main(
    run: Path,
    name: str,
    data: Annotated[str, typer.Option()],
    limitation: Annotated[list[str], typer.Option()] = [],  # noqa: B006
) -> None:
    """Measure, and write the model directory."""
    model: Any = gencore.from_pretrained(run)
    settings, size = load_settings(run), model.config.data_shape[-1]
    samples = preview(model, open_source(data, image_size=size), 0)
    card = card_for(
        model,
        name=name,
        data=DATA.format(size=size),
        license="apache-2.0",
        command=settings.command(Path("runs") / name),
        metrics=measure(model, data, size),
        limitations=[
            "Small, for demonstrations and tests: digits only, and some of its samples are no digits.",
            *limitation,
        ],
        has_samples=samples is not None,
    )
    model.save_pretrained(WEIGHTS / name, card=card, samples=samples)


if __name__ == "__main__":
    app()
