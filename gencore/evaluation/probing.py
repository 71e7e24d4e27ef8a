"""A model's codes before the probes of gencore.evaluation.probe, beside random weights and raw data, at several numbers
of labels.

With few labels a figure depends on which they are: they are drawn several times, evenly of every class, and the mean
stands with its standard deviation over the draws. The test part is the same throughout.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gencore.config import check
from gencore.data.by_class import balanced_rows
from gencore.data.source import Source
from gencore.errors import GencoreError
from gencore.evaluation.beside import with_baselines
from gencore.evaluation.probe import accuracy, knn_accuracy, linear_probe, nonlinear_probe
from gencore.latent.codes import Codes, encode_all

Figures = tuple[float, float]
FEW = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """Whose codes, their dimension, the number of labels, and test accuracies: (mean, deviation over draws) in [0, 1].

    The deviation is 0 where all labels are taken: then there is one draw. `nonlinear` is None where it was not wanted.
    """

    codes: str
    dim: int
    labels: int
    linear: Figures
    knn: Figures
    nonlinear: Figures | None = None


def probe_rows(
    model: Any,
    train: Source,
    test: Source,
    *,
    few: Sequence[int] | None = (),
    draws: int = 5,
    k: int = 5,
    nonlinear: bool = False,
    seed: int = 0,
) -> tuple[ProbeRow, ...]:
    """All labels first, then each number in `few`; within each the model, random weights, raw data.

    `few` None: 10 a class, or as many as the rarest class has.
    `k`: neighbours that vote, no more than a class has labels. `seed`: of the random network and of the draws. Raises
    GencoreError for data without labels, or a number of labels that they do not have.
    """
    check(draws >= 1, "draws", draws, "at least 1")
    check(k >= 1, "k", k, "at least 1")
    encoded = []
    for name, encoder in with_baselines(model, seed=seed):
        encoded.append((name, encode_all(encoder, train), encode_all(encoder, test)))
    label = _labels(encoded[0][1], train.name)
    _labels(encoded[0][2], test.name)
    classes = tuple(label.unique().tolist())
    if few is None:
        few = (len(classes) * min(FEW, int(label.unique(return_counts=True)[1].min())),)
    rows = []
    for count in (None, *few):
        if count is None:
            choices: list[Tensor | slice] = [slice(None)]
        else:
            choices = [balanced_rows(label, classes, count, seed=seed + i, name=train.name) for i in range(draws)]
        votes = k if count is None else max(1, min(k, count // len(classes)))
        for name, fitted, held_out in encoded:
            figures = [_figures(fitted, chosen, held_out, votes, nonlinear) for chosen in choices]
            linear, knn, *more = (_spread(column) for column in zip(*figures, strict=True))
            rows.append(
                ProbeRow(
                    codes=name,
                    dim=fitted.z.shape[1],
                    labels=count or len(label),
                    linear=linear,
                    knn=knn,
                    nonlinear=more[0] if more else None,
                )
            )
    return tuple(rows)


def _figures(fitted: Codes, rows: Tensor | slice, test: Codes, k: int, nonlinear: bool) -> list[float]:
    assert fitted.label is not None
    assert test.label is not None
    z, label = fitted.z[rows], fitted.label[rows]
    figures = [
        accuracy(linear_probe(z, label), test.z, test.label),
        knn_accuracy(z, label, test.z, test.label, k=k),
    ]
    return [*figures, accuracy(nonlinear_probe(z, label), test.z, test.label)] if nonlinear else figures


def _spread(values: Sequence[float]) -> Figures:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _labels(codes: Codes, name: str) -> Tensor:
    if codes.label is None:
        raise GencoreError(f"{name} has no labels: a probe learns classes. Put the pictures into a folder a class.")
    return codes.label
