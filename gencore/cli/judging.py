"""Judging a trained model's codes: gencore probe, verify, attack. Each prints a table, or JSON."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencore.cli.codes import open_part, sizes_of
from gencore.cli.options import Data, Json, Model, Seed
from gencore.cli.show import print_rows, say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from gencore.data.source import Source
    from gencore.evaluation.pairing import VerifyRow

BothParts = Annotated[str, typer.Option(help="As for gencore train. Data without parts are divided in two.")]
Most = Annotated[int, typer.Option("-n", "--number", help="How many examples at most, drawn by --seed.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (probe, verify, attack):
        app.command()(command)


def probe(
    model: Model,
    data: BothParts = "digits",
    test: Annotated[str | None, typer.Option(help="Other data of the same classes, to test on.")] = None,
    few: Annotated[
        list[int] | None,
        typer.Option(
            help="Labels in all, evenly of every class; repeatable. Else 10 a class, where there are as many."
        ),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            help="Instead of the classes: a column of the folder's metadata, or a number that drawn data have."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="How often these few are drawn.")] = 5,
    k: Annotated[int, typer.Option("-k", help="Neighbours that vote.")] = 5,
    nonlinear: Annotated[bool, typer.Option("--nonlinear", help="A probe with a hidden layer, too.")] = False,
    n: Most = 5000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """What codes know of the classes, or of an attribute: fresh probes, beside random weights and raw data."""
    import gencore
    from gencore.data.parts import at_most
    from gencore.evaluation.probing import probe_rows

    loaded: Any = gencore.from_pretrained(model)
    fitted, held_out = (at_most(part, n, seed=seed) for part in _parts(loaded, data, test, seed, attribute))
    rows = probe_rows(loaded, fitted, held_out, few=few or None, draws=draws, k=k, nonlinear=nonlinear, seed=seed)
    columns = ["codes", "numbers", "labels", "linear", f"{k}-NN", *(["nonlinear"] if nonlinear else [])]
    cells = [
        [row.codes, str(row.dim), str(row.labels)]
        + [_share(*figures) for figures in (row.linear, row.knn, row.nonlinear) if figures is not None]
        for row in rows
    ]
    of = f", {attribute} told" if attribute else ""
    _say(f"Accuracy on {len(held_out)} test examples of {test or data}{of}.", as_json)
    print_rows("probes", columns, cells, as_json)


def verify(
    model: Model,
    data: Data = "digits",
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these, such as those that training has not seen.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of one class, and as many of two.")] = 3000,
    far: Annotated[float, typer.Option(help="The rate of false acceptances for VAL.")] = 0.001,
    folds: Annotated[int, typer.Option(help="A threshold is chosen on all folds but its own.")] = 10,
    metric: Annotated[Literal["euclidean", "cosine"], typer.Option(help="The distance of codes.")] = "euclidean",
    n: Most = 2000,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A .png picture of the ROC; its numbers go to a .csv.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether two examples are of one class, by the distance of their codes; beside random weights and raw data."""
    import gencore
    from gencore.data.parts import at_most
    from gencore.evaluation.pairing import verify_rows

    if output is not None and output.suffix.lower() != ".png":
        raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
    loaded: Any = gencore.from_pretrained(model)
    source = open_part(loaded, data, "test")
    source = at_most(source if classes is None else _of_classes(source, classes), n, seed=seed)
    rows = verify_rows(loaded, source, pairs=pairs, far=far, folds=folds, metric=metric, seed=seed)
    columns = ["codes", "numbers", "AUC", "accuracy", f"VAL at FAR {far:g}", "FAR found", "recall@1"]
    cells = [
        [
            row.codes,
            str(row.dim),
            f"{row.auc:.4f}",
            _share(*row.accuracy),
            _share(*row.val),
            f"{row.far:.4f}",
            f"{row.recall:.4f}",
        ]
        for row in rows
    ]
    _say(f"{pairs} pairs of one class and {pairs} of two, of {len(source)} examples of {data}.", as_json)
    print_rows("pairs", columns, cells, as_json)
    if output is not None:
        _write_curves(rows, output)
        _say(f"Wrote the ROC to {output} and {output.with_suffix('.csv')}.", as_json)


def attack(
    model: Model,
    data: BothParts = "digits",
    epsilon: Annotated[
        list[float], typer.Option(help="The largest change of a number; pixels run from -1 to 1. Repeatable.")
    ] = [0.1],  # noqa: B006
    steps: Annotated[int, typer.Option(help="0: one step (FGSM). More: PGD from a random start.")] = 0,
    clip: Annotated[bool, typer.Option("--clip/--no-clip", help="Keep pixels within -1 and 1.")] = True,
    test: Annotated[str | None, typer.Option(help="Other data of the same classes, to attack.")] = None,
    n: Most = 1000,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A .png grid: pictures, random signs, attacked pictures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Attack a classifier, or a linear probe on a model's codes; random signs of the same size stand beside."""
    import gencore
    from gencore.data.parts import at_most
    from gencore.evaluation.robust import IMAGES, attack_rows, target_of

    if output is not None and output.suffix.lower() != ".png":
        raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
    loaded: Any = gencore.from_pretrained(model)
    fitted, attacked = _parts(loaded, data, test, seed)
    target = target_of(loaded, at_most(fitted, 5000, seed=seed))
    source = at_most(attacked, n, seed=seed)
    bounds = IMAGES if clip and len(source.shape) == 3 else None
    rows = attack_rows(target, source, tuple(epsilon), steps=steps, bounds=bounds, seed=seed)
    how = f"PGD of {steps} steps" if steps else "FGSM"
    whose = "its own logits" if target.whose == "own" else "a linear probe on its codes"
    cells = [[f"{row.epsilon:g}", *(f"{v:.4f}" for v in (row.clean, row.random, row.attacked))] for row in rows]
    _say(f"Accuracy on {len(source)} test examples of {test or data}: {how} on {whose}.", as_json)
    print_rows("attack", ["epsilon", "clean", "random signs", "attacked"], cells, as_json)
    if output is not None:
        _write_attacked(target, source, epsilon[-1], steps, bounds, seed, output)
        _say(f"Wrote pictures at epsilon {epsilon[-1]:g} to {output}.", as_json)


def _parts(model: Any, data: str, test: str | None, seed: int, attribute: str | None = None) -> tuple[Source, Source]:
    """What a judge is fitted to and tested on, of the size and the channels that the model takes."""
    from gencore.data.parts import train_and_test

    return train_and_test(data, test=test, attribute=attribute, seed=seed, **sizes_of(model))


def _of_classes(source: Source, words: str) -> Source:
    from gencore.conditions import ClassLabel
    from gencore.data.by_class import of_classes
    from gencore.data.source import class_names_of

    if source.num_classes is None:
        raise GencoreError(f"--classes is {words}, but {source.name} has no labels.")
    known = ClassLabel(count=source.num_classes, names=class_names_of(source))
    return of_classes(source, tuple(known.parse(word.strip()) for word in words.split(",")))


def _say(sentence: str, as_json: bool) -> None:
    if not as_json:
        say(sentence)


def _share(mean: float, spread: float) -> str:
    return f"{mean:.4f} +- {spread:.4f}" if spread else f"{mean:.4f}"


def _write_curves(rows: tuple[VerifyRow, ...], output: Path) -> None:
    from gencore.evaluation.curves import draw_roc
    from gencore_hub.atomic import atomic_write

    buffer = io.BytesIO()
    draw_roc({row.codes: row.curve for row in rows}).save(buffer, format="PNG")
    atomic_write(output, buffer.getvalue())
    lines = ["codes,threshold,val,far"]
    for row in rows:
        points = zip(row.curve.threshold.tolist(), row.curve.val.tolist(), row.curve.far.tolist(), strict=True)
        lines += [f"{row.codes},{threshold:.6g},{val:.6g},{far:.6g}" for threshold, val, far in points]
    atomic_write(output.with_suffix(".csv"), ("\n".join(lines) + "\n").encode())


def _write_attacked(
    target: Any, source: Source, epsilon: float, steps: int, bounds: Any, seed: int, output: Path
) -> None:
    import torch

    from gencore.data.images import save_grid
    from gencore.evaluation.robust import attacked

    if len(source.shape) != 3:
        raise GencoreError(f"--output is {output}, but {source.name} has examples of shape {source.shape}: no images.")
    batch = source.fetch(torch.arange(min(10, len(source))))
    x, label = batch["x"].to(target.device), batch["label"].to(target.device)
    rows = torch.cat(attacked(target.logits, x, label, epsilon, steps, bounds, seed))
    save_grid(rows.clamp(-1, 1), output, columns=len(x))
