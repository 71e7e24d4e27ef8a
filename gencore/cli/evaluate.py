"""`gencore evaluate`, a model's figures and how they came about, and `gencore compare`, what two of them say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gencore.cli.options import Model, Quiet, Seed
from gencore.cli.show import print_rows, say, shown
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from gencore.evaluation.reports import Compared, Figure, Report


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (evaluate, compare):
        app.command()(command)


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(help="Real examples, as for gencore train.")],
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Some of frechet,kid,precision-recall,density-coverage,accuracy,nll,psnr,ssim; all that the model has "
            "where none are named."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="Samples, and examples of a mean.")] = 1000,
    n_real: Annotated[int | None, typer.Option(help="A draw of so many real examples, not the whole split.")] = None,
    split: Annotated[Literal["train", "test", "all"], typer.Option(help="The part of the data.")] = "test",
    extractor: Annotated[
        str | None, typer.Option(help="bundled, numbers (the data's own), or inception:PATH for FID (extra fid).")
    ] = None,
    seed: Seed = 0,
    sampler: Annotated[str | None, typer.Option(help="One of the model's samplers, such as ddim or heun.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a diffusion sampler.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="0 ignores the label, 1 obeys it, more exaggerates it.")
    ] = None,
    truncation: Annotated[float | None, typer.Option(help="Of a sampler that truncates: less variety.")] = None,
    k: Annotated[int, typer.Option(help="Samples of a bound on the likelihood.")] = 50,
    resamples: Annotated[int | None, typer.Option(help="Of the bootstrap of distances; 100, or 20 for FID.")] = None,
    json: Annotated[Path | None, typer.Option(help="A .json file for gencore compare.")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure a trained model on real data that it has not seen."""
    import gencore
    from gencore.evaluation import evaluate as measure
    from gencore.evaluation.evaluating import Options
    from gencore.evaluation.extractors import open_extractor
    from gencore.training.progress import SamplingBar
    from gencore_hub.atomic import atomic_write

    if json is not None and json.suffix != ".json":
        raise GencoreError(f"--json is {json}; expected a name that ends in .json.")
    asked = {"steps": steps, "guidance": guidance, "truncation": truncation}
    options = Options(
        n=n,
        n_real=n_real,
        seed=seed,
        k=k,
        resamples=resamples,
        sampler=sampler,
        sampler_options={name: value for name, value in asked.items() if value is not None},
        split=split,
    )
    opened = None if extractor is None else open_extractor(extractor)
    loaded: Any = gencore.from_pretrained(model)
    source = _open(loaded, data, split)
    texts = hasattr(source, "vocabulary") and split != "train"
    with SamplingBar(batches=-(-n // options.batch_size), quiet=quiet) as bar:
        report = measure(
            loaded,
            source,
            metrics=None if metrics is None else tuple(metrics.split(",")),
            extractor=opened,
            options=options,
            about={"name": model, "weights": _weights(model)},
            train=_open(loaded, data, "train") if texts else None,
            callback=bar,
        )
    if json is not None:
        atomic_write(json, report.to_json().encode())
    _print(report)
    if json is not None:
        say(f"Wrote {json}.")


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="What gencore evaluate --json has written.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="The same of another model, or of the same one.")],
) -> None:
    """Say which of two evaluated models is better, and where that cannot be said."""
    from gencore.evaluation.reports import compare as compare_reports
    from gencore.evaluation.reports import read

    reports = read(a), read(b)
    found = compare_reports(*reports)
    for letter, report in zip("AB", reports, strict=True):
        say(f"{letter}: {shown(str(report.model.get('name', '?')))} (gencore {shown(report.gencore)})")
    rows = [(c.name, *(f"{value:.6g}" for value in c.values), c.verdict) for c in found]
    print_rows("Figures", ("figure", "A", "B", "verdict"), rows, False)
    _print_fields("Different, and allowed to be", found, "differs")
    _print_fields("Different, so that no ranking is possible", found, "forbids")
    refused = [c.name for c in found if c.forbids]
    if refused:
        fields = dict.fromkeys(field for c in found for field in c.forbids)
        raise GencoreError(
            f"{', '.join(refused)} do not compare: {', '.join(fields)} differ. Evaluate both models the same way."
        )


def _open(model: Any, data: str, split: Literal["train", "test", "all"]) -> Any:
    """That part of `data`, of the size and channels that the model has."""
    from gencore.data import open_source

    shape = model.config.data_shape
    if len(shape) != 3:
        return open_source(data, split=split)
    return open_source(data, image_size=shape[-1], channels=shape[0], split=split)


def _weights(model: str) -> str:
    """Whether the weights of a run are averages; other models do not say."""
    from gencore.api import recipe
    from gencore.paths import user_path
    from gencore.training.run import load_settings, parse_overrides
    from gencore.training.settings import RUN_FILE

    if not (user_path(model) / RUN_FILE).is_file():
        return "not recorded"
    settings = load_settings(user_path(model))
    averages = recipe(settings.system, **parse_overrides(settings.set)).ema
    return f"averages of {', '.join(part or 'all' for part in averages[0].parts)}" if averages else "live"


def _print(report: Report) -> None:
    """The figures, what stands beside them, and how they were measured."""
    rows = [_row(figure) for figure in report.figures]
    columns = ("figure", "value", "95 % interval", "at m", "real, at m", "m", "better")
    print_rows(f"{report.model.get('name', '')}", columns, rows, False)
    for figure in report.figures:
        others = {name: value for name, value in figure.beside.items() if name not in HALVES}
        if others:
            say(f"{figure.name}: " + ", ".join(f"{shown(k)} {v:.6g}" for k, v in others.items()))
    for name, why in report.left_out.items():
        say(f"left out {name}: {shown(why)}")
    fields = dict.fromkeys(field for figure in report.figures for field in (*figure.measured, *figure.drawn))
    print_rows("How they came about", ("field", "value"), [(name, _values(report, name)) for name in fields], False)


def _values(report: Report, field: str) -> str:
    """What a field is, in one figure or in each."""
    found: dict[str, list[str]] = {}
    for figure in report.figures:
        for fields in (figure.measured, figure.drawn):
            if field in fields:
                found.setdefault(str(fields[field]), []).append(figure.name)
    everywhere = sum(map(len, found.values())) == len(report.figures)
    if len(found) == 1 and everywhere:
        return next(iter(found))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in found.items())


HALVES = ("samples against as many", "real against real", "examples of each")


def _row(figure: Figure) -> tuple[str, ...]:
    halves = [f"{figure.beside[name]:.5g}" if name in figure.beside else "" for name in HALVES]
    interval = f"{figure.low:.5g} to {figure.high:.5g}"
    return (figure.name, f"{figure.value:.5g}", interval, *halves, figure.better)


def _print_fields(title: str, found: tuple[Compared, ...], which: Literal["differs", "forbids"]) -> None:
    """Each field once, with the figures that it is of."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for compared in found:
        for field, (mine, its) in getattr(compared, which).items():
            rows.setdefault((field, str(mine), str(its)), []).append(compared.name)
    if rows:
        listed = [(field, mine, its, ", ".join(names)) for (field, mine, its), names in rows.items()]
        print_rows(title, ("field", "A", "B", "of"), listed, False)
