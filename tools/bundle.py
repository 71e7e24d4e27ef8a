"""Turn a finished training run into a bundled model, measured and with its card.

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
from gencore.conditions import ClassLabel
from gencore.data import open_source
from gencore.evaluation import Options, evaluate, train_classifier
from gencore.evaluation.pairing import verify_rows
from gencore.evaluation.reports import Figure
from gencore.registry import default_registry
from gencore.training.callbacks import drawable, preview
from gencore.training.run import load_settings
from gencore_hub import Card, Metric, render_card
from gencore_hub.atomic import atomic_write

app = typer.Typer(pretty_exceptions_enable=False)
WEIGHTS = Path(__file__).parent.parent / "hub" / "gencore_hub" / "weights"
DATA = (
    "The MNIST training set (Y. LeCun, C. Cortes, C. J. C. Burges): 60,000 handwritten digits of 28 x 28, resized to "
    "{size} x {size}, values in [-1, 1]. The images are not part of gencore."
)


def opened(data: str, model: Any, split: str) -> Any:
    """A part of the data, pictures of the model's size."""
    shape = model.config.data_shape
    return open_source(data, split=split, **({"image_size": shape[-1]} if len(shape) == 3 else {}))


def measure(model: Any, data: str, n: int = 1000) -> list[Metric]:
    """The figures of gencore evaluate on the whole test set; those of gencore verify for an encoder alone; and of
    samples, whether a judge sees all classes in them, and those that were asked for."""
    torch.set_num_threads(1)
    train, test = (opened(data, model, split) for split in ("train", "test"))
    spec = default_registry().owner(model.system)[1]
    if "translate" in spec.traits:
        stage = gencore.recipe(model.system).stages[0]
        test = stage.data(test, model) if stage.data else test
    if spec.roles == ("encoder",) and not spec.traits:
        return verified(model, test)
    if hasattr(model, "translators"):
        return closed(model, test)
    report = evaluate(model, test, options=Options(n=n, k=20), about={"weights": "as bundled"}, train=train)
    metrics = [written(figure) for figure in report.figures]
    if any(figure.name == "precision" for figure in report.figures) and train.num_classes:
        metrics += judged(model, train, n)
    return metrics


def judged(model: Any, train: Any, n: int) -> list[Metric]:
    """What a classifier sees in n samples."""
    judge, seed = train_classifier(train, steps=3000), 1
    labels = torch.arange(n) % 10 if isinstance(model.condition, ClassLabel) else None
    named = judge(model.sample(n, seed=seed, condition=labels).clamp(-1, 1)).argmax(1)
    said = {"judge": f"{judge.name} {judge.fingerprint()}", "n samples": str(n), "seed": str(seed)}
    share = named.bincount(minlength=train.num_classes).min().item() / n
    metrics = [Metric(name="share of the rarest class", value=share, provenance=said)]
    if labels is not None:
        asked = (named == labels).float().mean().item()
        metrics.insert(0, Metric(name="share classified as asked", value=asked, provenance=said))
    return metrics


def verified(model: Any, test: Any) -> list[Metric]:
    """Recall at 1 and VAL, with random weights and raw data beside them."""
    rows = verify_rows(model, test)
    said = {"n real": str(len(test)), "real split": "test", "pairs": "3000 of one class, 3000 of two"}
    said |= {f"recall@1, {row.codes}": f"{row.recall:.4g}" for row in rows[1:]}
    metrics = [Metric(name="recall@1", value=rows[0].recall, provenance=said)]
    return [*metrics, Metric(name=f"VAL at FAR {rows[0].far:.2g}", value=rows[0].val[0], provenance=said)]


def closed(model: Any, test: Any) -> list[Metric]:
    """How far two translations, there and back, lead from where they began."""
    x = test.fetch(torch.arange(len(test)))["x"]
    with torch.no_grad():
        back = model.translate(model.translate(x, to="b"), to="a")
    said = {"n real": str(len(x)), "real split": "test", "of": "a translated to b and back; values in [-1, 1]"}
    return [Metric(name="mean absolute error of the cycle", value=(back - x).abs().mean().item(), provenance=said)]


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
    metrics = measure(model, data, n)
    atomic_write(card, renewed(card.read_text(encoding="utf-8"), metrics).encode())


@app.command()
def main(
    run: Path,
    name: str,
    data: Annotated[str, typer.Option()],
    about: Annotated[str, typer.Option(help="What the data are, for the card.")] = DATA,
    limitation: Annotated[list[str], typer.Option()] = [],  # noqa: B006
) -> None:
    """Measure, and write the model directory."""
    model: Any = gencore.from_pretrained(run)
    settings, source = load_settings(run), opened(data, model, "train")
    if settings.data is not None:  # the reader's folder is another one
        settings = dataclasses.replace(settings, data=data)
    stage = gencore.recipe(model.system).stages[-1]
    shown = stage.data(source, model) if stage.data else source
    samples = preview(model, shown, 0) if drawable(source.shape) else None
    card = card_for(
        model,
        name=name,
        data=about.format(size=model.config.data_shape[-1]),
        license="apache-2.0",
        command=settings.command(Path("runs") / name),
        metrics=measure(model, data),
        limitations=["Small, for demonstrations and tests.", *limitation],
        has_samples=samples is not None,
    )
    model.save_pretrained(WEIGHTS / name, card=card, samples=samples)


if __name__ == "__main__":
    app()
