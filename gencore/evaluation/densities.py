"""How well a density predicts real examples: nats, and bits per dimension; perplexity and bits per byte of texts.

bits per dimension   a code length: of discrete data, or of data dequantised uniformly (gencore.nn.likelihood)
perplexity           exp(nats / tokens); bits per byte   nats / (bytes of the text in UTF-8 log 2)
n-grams (Witten-Bell, gencore.evaluation.ngram) counted on training texts stand beside them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gencore.conditions import ClassLabel, of_batch
from gencore.data.sources.text import decode
from gencore.errors import GencoreError, NonFiniteError
from gencore.evaluation.evaluating import Job, NotApplicableError, figure_of_mean
from gencore.evaluation.ngram import NGram
from gencore.evaluation.reports import Figure
from gencore.latent.codes import in_batches
from gencore.nn.likelihood import PROBABILITY, bits_per_dim

ORDERS = {1: "unigram", 2: "bigram", 3: "trigram"}
MOST_COUNTED = 200_000
"""Tokens that n-grams are counted on, at most: a draw of the training sequences."""
ROWS = 100


def nll(job: Job) -> list[Figure]:
    """The figures of a model with `log_prob` or `bound`. Raises NotApplicableError for others, and for data that the
    likelihood is not of, such as grey pictures for a model of binary ones."""
    if not hasattr(job.model, "log_prob") and not hasattr(job.model, "bound"):
        raise NotApplicableError(f"{type(job.model).__name__} has no likelihood.")
    if hasattr(job.source, "vocabulary"):
        return _texts(job)
    try:
        return _of_numbers(job)
    except NonFiniteError:
        raise
    except GencoreError as error:
        raise NotApplicableError(str(error)) from error


def _of_numbers(job: Job) -> list[Figure]:
    """Nats, and bits per dimension where they are a code length."""
    model = job.model
    exact = hasattr(model, "log_prob")
    scale = getattr(model, "likelihood_scale", None)
    said = {
        "likelihood": "exact" if exact else f"bound of {job.options.k} samples",
        "of": "not stated" if scale is None else scale.name,
    }
    nats = _log_prob(job) if exact else _by_parts(job, "bound")
    figures = [figure_of_mean(job, "nll", -nats, lower=True, measured=said)]
    size = torch.Size(job.source.shape).numel()
    if scale == PROBABILITY:
        figures.append(_bits(job, bits_per_dim(nats, size, PROBABILITY), said | {"dequantised": "no: discrete data"}))
    elif hasattr(model, "code_length"):
        try:
            bits = _by_parts(job, "code_length")
        except GencoreError as error:
            job.remarks["bits_per_dim"] = str(error)
        else:
            figures.append(_bits(job, bits, said | {"dequantised": "uniformly"}))
    else:
        job.remarks["bits_per_dim"] = f"the likelihood of {type(model).__name__} is a density, and no code length."
    return figures


def _bits(job: Job, bits: Tensor, said: dict[str, Any]) -> Figure:
    return figure_of_mean(job, "bits_per_dim", bits, lower=True, measured=said)


def _log_prob(job: Job) -> Tensor:
    """log p(x) (N,) nats; given the condition where that is no class."""
    model, kind = job.model, job.model.condition
    asked = kind is not None and not isinstance(kind, ClassLabel)

    def of_batches(batch: dict[str, Tensor]) -> Tensor:
        parts = batch["x"].split(ROWS)
        given = of_batch(kind, batch).split(ROWS) if asked else [None] * len(parts)
        with torch.no_grad():
            return torch.cat(
                [
                    model.log_prob(x) if c is None else model.log_prob(x, condition=c)
                    for x, c in zip(parts, given, strict=True)
                ]
            )

    return job.reference(job.options.n).map(of_batches).double()


def _by_parts(job: Job, method: str) -> Tensor:
    """`bound` or `code_length` of all examples, (N,), each part with a seed of its own."""
    found, options = [], job.options
    for place, batch in enumerate(job.reference(options.n).batches()):
        for row, x in enumerate(batch["x"].split(ROWS)):
            found.append(getattr(job.model, method)(x, options.k, seed=options.seed + 1000 * place + row))
    return torch.cat(found).double()


def _texts(job: Job) -> list[Figure]:
    """Of each token given those before it."""
    model, source = job.model, job.source
    vocabulary: tuple[str, ...] = source.vocabulary  # type: ignore[attr-defined]
    known = tuple(getattr(model.config, "vocabulary", ()))
    if known and known != tuple(vocabulary):
        raise GencoreError(
            f"The model's vocabulary has {len(known)} tokens, that of {source.name} {len(vocabulary)}, and they are "
            "not the same: take the text that it was trained on, or one in the same units."
        )
    reference = job.reference(job.options.n)
    nats = -reference.map(lambda b: in_batches(model, model.log_prob, b["x"], ROWS)).double()
    tokens = reference.map(lambda b: b["x"].argmax(2))
    length, written = tokens.shape[1], _bytes(tokens, vocabulary)
    baselines = _baselines(job, tokens)
    beside = {f"{name} perplexity": math.exp(value / length) for name, value in baselines.items()}
    figures = [
        figure_of_mean(job, "nll", nats, lower=True, measured={"likelihood": "exact", "of": "tokens"}),
        figure_of_mean(job, "perplexity", nats / length, lower=True, beside=beside, scale=math.exp),
    ]
    per_byte = math.log(2) * written
    beside = {f"{name} bits per byte": value / per_byte for name, value in baselines.items()}
    figures.append(figure_of_mean(job, "bits_per_byte", nats / per_byte, lower=True, beside=beside))
    return figures


def _bytes(tokens: Tensor, vocabulary: tuple[str, ...]) -> float:
    """Bytes of UTF-8 that a row says, in the mean. Of bytes as tokens, their number."""
    if len(vocabulary) == 256:
        return float(tokens.shape[1])
    return sum(len(decode(row, vocabulary).encode()) for row in tokens) / len(tokens)


def _baselines(job: Job, tokens: Tensor) -> dict[str, float]:
    """Nats of a row in the mean under n-grams counted on training texts; none without those."""
    if job.train is None:
        job.remarks["n-gram baselines"] = "no training text is given."
        return {}
    rows = max(1, MOST_COUNTED // tokens.shape[1])
    seen = type(job.reference(None)).draw(job.train, split="train", n=rows, seed=job.options.seed)
    counted = seen.map(lambda batch: batch["x"].argmax(2))
    size = job.train.shape[1]
    return {name: NGram(counted, order, size).nats(tokens).sum(1).mean().item() for order, name in ORDERS.items()}
