"""Turn a finished training run on MNIST into a bundled model, measured and with its card.

    python tools/bundle.py runs/dcgan-mnist dcgan-mnist --data mnist:path/to/mnist

Writes hub/gencore_hub/weights/NAME. The card's training command is that of the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import gencore
from gencore.cards import card_for
from gencore.data import open_source
from gencore.evaluation import frechet_metric, train_classifier
from gencore.training.callbacks import preview
from gencore.training.run import load_settings
from gencore_hub import Metric

WEIGHTS = Path(__file__).parent.parent / "hub" / "gencore_hub" / "weights"
DATA = (
    "The MNIST training set (Y. LeCun, C. Cortes, C. J. C. Burges): 60,000 handwritten digits of 28 x 28, resized to "
    "{size} x {size}, values in [-1, 1]. The images are not part of gencore."
)


def measure(model: Any, data: str, size: int) -> list[Metric]:
    """Sample quality and, for an autoencoder, the reconstruction error, on the test set."""
    torch.set_num_threads(1)
    train, test = (open_source(data, image_size=size, split=split) for split in ("train", "test"))
    real = test.fetch(torch.arange(2000))["x"]
    metrics = []
    if hasattr(model, "reconstruct"):
        with torch.no_grad():
            error = (model.reconstruct(real) - real).square().mean().item()
        metrics.append(
            Metric(name="mean squared reconstruction error", value=error, provenance={"n real": "2000, test"})
        )
    if preview(model, train, 0) is not None:
        classifier = train_classifier(train, steps=3000)
        labels = torch.arange(2000) % 10 if getattr(model.config, "num_classes", None) else None
        samples = model.sample(2000, seed=1, condition=labels).clamp(-1, 1)
        found = frechet_metric(classifier, real, samples, seed=1)
        provenance = {
            "extractor": f"{found.extractor} {found.extractor_hash}",
            "n real": f"{found.n_real}, test",
            "n fake": str(found.n_fake),
            "seed": "1",
        }
        share = classifier(samples).argmax(1).bincount(minlength=10) / len(samples)
        metrics.append(Metric(name="Frechet distance", value=found.value, provenance=provenance))
        again = frechet_metric(classifier, real, train.fetch(torch.arange(2000))["x"], seed=1).value
        metrics.append(Metric(name="Frechet distance of as many training images", value=again, provenance=provenance))
        if labels is not None:
            asked = (classifier(samples).argmax(1) == labels).float().mean().item()
            metrics.append(Metric(name="share classified as asked", value=asked, provenance=provenance))
        metrics.append(Metric(name="share of the rarest class", value=share.min().item(), provenance=provenance))
    return metrics


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
    typer.run(main)
