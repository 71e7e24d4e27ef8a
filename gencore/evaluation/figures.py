"""A model's figures, as many as its traits and the data allow, each with its interval and provenance.

frechet, kid, precision-recall, density-coverage   of samples, against real examples: gencore.evaluation.clouds
accuracy                                           of a classifier, on labelled examples
nll                                                of a density: gencore.evaluation.densities
psnr, ssim                                         of reconstructions, or of translations of pairs
merit                                              what a field compares samples by: gencore.evaluation.merits
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gencore.data.images import to_uint8
from gencore.data.source import Source
from gencore.data.toys.degradations import grey
from gencore.errors import GencoreError, suggest
from gencore.evaluation import clouds, intervals
from gencore.evaluation.evaluating import RESAMPLES, Job, NotApplicableError, Options, figure_of_mean
from gencore.evaluation.extractors import Extractor, bundled, numbers, weights_digest
from gencore.evaluation.fidelity import WINDOW, psnr, ssim
from gencore.evaluation.frechet import frechet_distance
from gencore.evaluation.merits import merits
from gencore.evaluation.reports import METHOD, Figure, Report
from gencore.latent.codes import in_batches


def evaluate(
    model: Any,
    source: Source,
    *,
    metrics: tuple[str, ...] | None = None,
    extractor: Extractor | None = None,
    options: Options | None = None,
    about: Mapping[str, Any] | None = None,
    train: Source | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Report:
    """The figures of `metrics`, names of METRICS; all that apply where None, the others named in `left_out`.

    `source`: real examples that the model was not trained on, of its shape. `extractor`: for the first four; the
    bundled one for pictures if None. `about`: what the report says of the model beside system and weights; its key
    "weights" says whether they are averages. `train`: what n-gram baselines are counted on, for language models.
    `callback`: follows a slow sampler's steps.
    Raises GencoreError for unknown metrics, ones asked for that do not apply, and where none applies.
    """
    import gencore

    for name in metrics or ():
        if name not in METRICS:
            raise GencoreError(f"There is no metric {name!r}.{suggest(name, METRICS)} There are {', '.join(METRICS)}.")
    about = dict(about or {})
    weights = about.pop("weights", "not recorded")
    job = Job(model, source, extractor, options or Options(), train, callback, weights=weights)
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for name in metrics or METRICS:
        try:
            figures += METRICS[name](job)
        except NotApplicableError as error:
            if metrics:
                raise
            left_out[name] = str(error)
    if not figures:
        reasons: dict[str, list[str]] = {}
        for name, why in left_out.items():
            reasons.setdefault(why, []).append(name)
        raise GencoreError("No metric applies. " + " ".join(f"{', '.join(names)}: {w}" for w, names in reasons.items()))
    _check_used(job)
    described = {**about, "system": model.system, "sha256": weights_digest(model)}
    return Report(model=described, figures=tuple(figures), left_out=left_out | job.remarks, gencore=gencore.__version__)


def _check_used(job: Job) -> None:
    """Raise GencoreError for options of sampling where no metric has drawn samples."""
    options = job.options
    given = [
        *options.sampler_options,
        *(["sampler"] if options.sampler else []),
        *(["extractor"] if job.extractor else []),
    ]
    if given and "samples" not in job.made:
        raise GencoreError(f"{', '.join(given)} is given, but no metric here draws samples. Leave it out.")


@dataclasses.dataclass(frozen=True, eq=False)
class Clouds:
    """Features of the reference and of samples, and what a figure of them says of itself."""

    real: Tensor
    fake: Tensor
    measured: Mapping[str, Any]
    drawn: Mapping[str, Any]

    def figure(
        self,
        name: str,
        value: float,
        interval: tuple[float, float],
        measure: intervals.Measure,
        *,
        lower: bool,
        beside: Mapping[str, float] | None = None,
    ) -> Figure:
        """With `measure` of two halves of the real, and of samples against one of them, all of one size m."""
        m = min(len(self.real) // 2, len(self.fake))
        first, second = self.real[:m], self.real[m : 2 * m]
        halves = {
            "real against real": measure(first, second),
            "samples against as many": measure(first, self.fake[:m]),
            "examples of each": float(m),
        }
        return Figure(
            name=name,
            value=value,
            low=interval[0],
            high=interval[1],
            better="lower" if lower else "higher",
            measured=self.measured,
            drawn=self.drawn,
            beside={**halves, **(beside or {})},
        )


def clouds_of(job: Job) -> Clouds:
    """Made once for all metrics that need them. Raises NotApplicableError."""
    if "clouds" in job.made:
        made: Clouds = job.made["clouds"]
        return made
    sampler = job.sampler()
    extractor = job.extractor or _fitting(job)
    reference = job.reference(job.options.n_real)
    if min(len(reference) // 2, job.options.n) < 8:
        raise NotApplicableError(f"{len(reference)} real examples and {job.options.n} samples; expected 16 and 8.")
    real = reference.map(lambda batch: extractor.features(batch["x"]))
    fake = extractor.features(job.samples(sampler)[0])
    measured = {
        "method": METHOD,
        "extractor": extractor.name,
        "extractor_sha256": extractor.sha256,
        "extractor_size": extractor.size or "as they are",
        "resize": extractor.resize,
        "rounding": "to uint8" if extractor.rounded else "none",
        **reference.identity,
        "n_samples": len(fake),
        "dtype": "features float32, statistics float64",
    }
    drawn = job.drawn() | job.sampler_fields(sampler)
    drawn["interval"] = f"bootstrap, {job.options.resamples_of(real.shape[1])} resamples"
    job.made["clouds"] = Clouds(real, fake, measured, drawn)
    return clouds_of(job)


def _fitting(job: Job) -> Extractor:
    """The bundled extractor for pictures; an example's own numbers for short vectors."""
    shape = tuple(job.source.shape)
    if hasattr(job.source, "vocabulary"):
        raise NotApplicableError("texts have no features here.")
    if len(shape) == 3 and shape[0] in (1, 3):
        return bundled()
    if torch.Size(shape).numel() > 1024:
        raise NotApplicableError(f"examples of shape {shape} are no pictures; give an extractor (from Python).")
    return numbers()


def _frechet(job: Job) -> list[Figure]:
    made = clouds_of(job)
    resamples = job.options.resamples_of(made.real.shape[1])
    extractor = job.extractor
    sizes = clouds.frechet_at_sizes(made.real, made.fake, seed=job.options.seed)
    return [
        made.figure(
            "FID" if extractor is not None and extractor.is_fid else "frechet",
            frechet_distance(made.real, made.fake),
            intervals.of_distance(frechet_distance, made.real, made.fake, resamples=resamples, seed=job.options.seed),
            frechet_distance,
            lower=True,
            beside={f"n = {size}" if size != "limit" else "extrapolated": value for size, value in sizes.items()},
        )
    ]


def _kid(job: Job) -> list[Figure]:
    made = clouds_of(job)
    value, resamples = clouds.kid(made.real, made.fake), job.options.resamples_of(made.real.shape[1])
    interval = intervals.of_kid(value, made.real, made.fake, resamples=resamples, seed=job.options.seed)
    return [made.figure("kid", value, interval, clouds.kid, lower=True)]


def _shares(names: tuple[str, ...]) -> Callable[[Job], list[Figure]]:
    """Of as many real examples as samples: these figures depend on both counts."""

    def of_job(job: Job) -> list[Figure]:
        made = clouds_of(job)
        n = min(len(made.real), len(made.fake))
        fewer = {"real_rows": f"{n} drawn by seed {job.options.seed}"} if n < len(made.real) else {}
        counts = {"n_real": n, "n_samples": n, "neighbours": clouds.NEIGHBOURS[names[0]]}
        equal = dataclasses.replace(
            made,
            fake=made.fake[:n],
            measured={**made.measured, **fewer, **counts},
            drawn={**made.drawn, "interval": f"bootstrap, {RESAMPLES} resamples"},
        )
        found = clouds.shares(made.real[:n], made.fake[:n])
        return [
            equal.figure(
                name,
                float(found[name].mean()),
                intervals.of_mean(found[name], resamples=RESAMPLES, seed=job.options.seed),
                lambda real, fake, name=name: float(clouds.shares(real, fake)[name].mean()),  # type: ignore[misc]
                lower=False,
            )
            for name in names
        ]

    return of_job


def _accuracy(job: Job) -> list[Figure]:
    if not hasattr(job.model, "classify"):
        raise NotApplicableError(f"{type(job.model).__name__} does not classify.")
    if job.source.num_classes is None:
        raise NotApplicableError(f"{job.source.name} has no labels.")
    reference = job.reference(job.options.n)
    label = reference.map(lambda batch: batch["label"])
    named = reference.map(lambda batch: in_batches(job.model, job.model.classify, batch["x"]))
    most = label.bincount().max().item() / len(label)
    beside = {"always the most frequent class": most}
    return [figure_of_mean(job, "accuracy", (named == label).double(), lower=False, beside=beside)]


def _pictures(job: Job) -> tuple[Tensor, Tensor, Tensor | None]:
    """(made, true, given), (N, C, H, W) in 0 ... 255, of reconstructions, or of translations of pairs; given: what a
    translation started from, at the true one's size, where it is a picture."""
    if "pictures" in job.made:
        return job.made["pictures"]
    shape, model = tuple(job.source.shape), job.model
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise NotApplicableError(f"examples of shape {shape} are no pictures.")
    key, function = "x", getattr(model, "reconstruct", None)
    if function is None:
        key, function = "x_input", getattr(model, "translate", None)
    if function is None:
        raise NotApplicableError(f"{type(model).__name__} neither reconstructs nor translates.")
    reference = job.reference(job.options.n)
    if key not in job.source.fetch(reference.rows[:1]):
        raise NotApplicableError(f"{job.source.name} has no pairs to translate and compare (paired:DIR has).")
    if key == "x_input":
        function = functools.partial(_translated, model)
    made = reference.map(lambda batch: to_uint8(in_batches(model, function, batch[key]).clamp(-1, 1)).float())
    true = reference.map(lambda batch: to_uint8(batch["x"]).float())
    if made.shape != true.shape:
        raise NotApplicableError(f"what the model makes is {tuple(made.shape[1:])}, the data are {shape}.")
    given = None
    if key == "x_input" and job.source.fetch(reference.rows[:1])[key].shape[1] in (1, shape[0]):
        given = reference.map(lambda batch: to_uint8(_enlarged(batch[key], shape).clamp(-1, 1)).float())
    job.made["pictures"] = made, true, given
    return made, true, given


def _translated(model: Any, x: Tensor) -> Tensor:
    """The translations of pictures (N, C, H, W), of coloured ones in grey where the model takes grey. Raises
    NotApplicableError for other channels than its own."""
    channels = (getattr(model.config, "input_shape", None) or x.shape[1:])[0]
    if (channels, x.shape[1]) == (1, 3):
        x = grey(x)
    if channels != x.shape[1]:
        raise NotApplicableError(f"the model translates pictures of {channels} channels; the data's have {x.shape[1]}.")
    translated: Tensor = model.translate(x)
    return translated


def _enlarged(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x (N, C, H, W) at the size and with the channels of `shape`, bicubic."""
    if x.shape[-2:] != shape[1:]:
        x = torch.nn.functional.interpolate(x, size=shape[1:], mode="bicubic", align_corners=False)
    return x.expand(-1, shape[0], -1, -1)


def _fidelity(name: str, measure: intervals.Measure, least: int) -> Callable[[Job], list[Figure]]:
    def of_job(job: Job) -> list[Figure]:
        made, true, given = _pictures(job)
        if min(made.shape[-2:]) < least:
            raise NotApplicableError(f"pictures are {made.shape[-2]} x {made.shape[-1]}; expected sides of {least}.")

        def each(x: Tensor) -> Tensor:
            values = [measure(x[i : i + 1], true[i : i + 1]) for i in range(len(x))]
            return torch.tensor(values, dtype=torch.float64)

        said = {"peak": 255, "space": "grey" if made.shape[1] == 1 else "RGB", "rounding": "to uint8"}
        beside = {} if given is None else {"of the input at that size, bicubic": each(given).mean().item()}
        return [figure_of_mean(job, name, each(made), lower=False, measured=said, beside=beside)]

    return of_job


def _nll(job: Job) -> list[Figure]:
    from gencore.evaluation.densities import nll

    return nll(job)


METRICS: dict[str, Callable[[Job], list[Figure]]] = {
    "frechet": _frechet,
    "kid": _kid,
    "precision-recall": _shares(("precision", "recall")),
    "density-coverage": _shares(("density", "coverage")),
    "accuracy": _accuracy,
    "nll": _nll,
    "psnr": _fidelity("psnr", psnr, 1),
    "ssim": _fidelity("ssim", ssim, WINDOW),
    "merit": merits,
}
