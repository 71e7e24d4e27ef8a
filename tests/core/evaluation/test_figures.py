"""`evaluate`: which figures a model has, what they say of themselves, and that they are right where that is known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

import gencore
from gencore.data import InMemory, arrays, digits, ring
from gencore.data.toys.grammar import VOCABULARY, grammar
from gencore.errors import GencoreError, NonFiniteError
from gencore.evaluation import Options, compare, evaluate, from_module
from gencore.evaluation.reference import Reference

FEW = Options(n=32, k=2, resamples=5)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def model(system: str, **config: object) -> gencore.Model:
    made = gencore.create(system, **config).eval()
    made.system = system
    return made


@pytest.fixture(scope="module")
def flat() -> object:
    """An extractor that costs nothing."""
    return from_module(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), name="means", channels=1)


def names(report: object) -> set[str]:
    return {figure.name for figure in report.figures}


CLOUDS = {"frechet", "kid", "precision", "recall", "density", "coverage"}


@pytest.mark.parametrize(
    ("system", "config", "expected"),
    [
        ("gan", {"hidden": [8]}, CLOUDS),
        ("vae", {"data_shape": [1, 8, 8], "hidden": [8]}, CLOUDS | {"nll", "bits_per_dim", "psnr"}),
        ("deep-autoencoder", {"hidden": [8], "code_dim": 2, "data_shape": [1, 8, 8]}, {"psnr"}),
        ("pixelcnn", {"data_shape": [1, 8, 8], "levels": 17}, {"nll", "bits_per_dim"}),
    ],
)
def test_only_what_the_traits_allow(system: str, config: dict, expected: set, flat: object) -> None:
    source = digits("test")
    asked = ("nll", "psnr", "ssim", "accuracy") if system == "pixelcnn" else None
    made = model(system, **config)
    if asked:
        with pytest.raises(GencoreError, match="neither reconstructs nor translates"):
            evaluate(made, source, metrics=asked, options=FEW)
        assert names(evaluate(made, source, metrics=("nll",), options=FEW)) == expected
        return
    extractor = flat if "frechet" in expected else None
    report = evaluate(made, source, extractor=extractor, options=FEW)
    assert names(report) == expected
    assert "accuracy" in report.left_out
    assert set(report.left_out) >= {"ssim", "accuracy"}
    for figure in report.figures:
        assert figure.low <= figure.value <= figure.high or figure.name in ("density",)


def test_provenance_is_whole(flat: object) -> None:
    made = model("gan", hidden=[8])
    report = evaluate(
        made, digits("test"), metrics=("frechet",), extractor=flat, options=FEW, about={"weights": "live"}
    )
    (figure,) = report.figures
    wanted = {"extractor", "extractor_sha256", "resize", "rounding", "real_digest", "real_split", "n_real", "n_samples"}
    assert set(figure.measured) >= wanted | {"dtype"}
    assert set(figure.drawn) >= {"seed", "weights", "truncation", "guidance", "sampler", "steps", "gencore"}
    assert figure.drawn["weights"] == "live"
    assert figure.measured["n_real"] == 397
    assert figure.measured["real_rows"] == "all"
    assert set(figure.beside) == {
        *("n = 32", "n = 16", "n = 8", "extrapolated"),
        *("real against real", "samples against as many", "examples of each"),
    }
    assert figure.beside["examples of each"] == 32
    assert figure.beside["real against real"] < figure.beside["samples against as many"]
    assert len(report.model["sha256"]) == 64
    with torch.no_grad():
        next(iter(made.parameters())).mul_(2)
    assert evaluate(made, digits("test"), metrics=("kid",), extractor=flat, options=FEW).model != report.model


def test_shares_are_of_as_many_real_examples_as_samples(flat: object) -> None:
    """And say which: another seed takes others, and forbids a ranking."""
    made = model("gan", hidden=[8])
    reports = [
        evaluate(
            made,
            digits("test"),
            metrics=("precision-recall",),
            extractor=flat,
            options=dataclasses.replace(FEW, seed=s),
        )
        for s in (0, 1)
    ]
    assert reports[0].figures[0].measured["n_real"] == 32
    assert reports[0].figures[0].measured["real_rows"] == "32 drawn by seed 0"
    assert set(compare(*reports)[0].forbids) == {"real_rows"}


def test_the_reference_is_a_draw_and_not_the_first_rows() -> None:
    source = digits("test")
    drawn = Reference.draw(source, split="test", n=50)
    assert drawn.rows.tolist() != list(range(50))
    assert drawn.identity == Reference.draw(source, split="test", n=50).identity
    other = Reference.draw(source, split="test", n=50, seed=1)
    assert other.identity["real_digest"] != drawn.identity["real_digest"]
    whole = [Reference.draw(source, split="test", seed=seed).identity["real_digest"] for seed in (0, 1)]
    assert whole[0] == whole[1]
    with pytest.raises(GencoreError, match="expected at least 1"):
        Reference.draw(source, split="test", n=0)


def test_data_that_a_likelihood_is_not_of_are_left_out_and_said(flat: object) -> None:
    """Grey digits for binary decoders; in default mode the other figures come all the same."""
    made = model("bernoulli-vae", data_shape=[1, 8, 8], hidden=[8])
    report = evaluate(made, digits("test"), extractor=flat, options=FEW)
    assert "neither -1 nor 1" in report.left_out["nll"]
    assert "psnr" in names(report)
    with pytest.raises(GencoreError, match="neither -1 nor 1"):
        evaluate(made, digits("test"), metrics=("nll",), options=FEW)
    with pytest.raises(GencoreError, match="frechet, kid, precision-recall, density-coverage: .* has no sampler"):
        evaluate(model("triplet-network"), digits("test"), options=FEW)


def test_broken_weights_are_an_error() -> None:
    made = model("vae", data_shape=[1, 8, 8], hidden=[8])
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(NonFiniteError):
        evaluate(made, digits("test"), options=FEW)


def test_another_reference_forbids_a_ranking(flat: object) -> None:
    made = model("gan", hidden=[8])
    first = evaluate(made, digits("test"), metrics=("frechet",), extractor=flat, options=FEW)
    fewer = evaluate(
        made, digits("test"), metrics=("frechet",), extractor=flat, options=dataclasses.replace(FEW, n_real=100)
    )
    (found,) = compare(first, fewer)
    assert set(found.forbids) == {"real_rows", "real_digest", "n_real"}


class Perfect(gencore.Model):
    """Rebuilds what it is given, a level away; knows the class; its likelihood is that of fair coins."""

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Config(gencore.ModelConfig):
        data_shape: tuple[int, ...] = (1, 12, 12)

    config_class = Config

    def reconstruct(self, x: Tensor) -> Tensor:
        return x + 2 / 255

    def classify(self, x: Tensor) -> Tensor:
        return (x.flatten(1)[:, 0] > 0).long()

    def log_prob(self, x: Tensor) -> Tensor:
        return x.new_full((len(x),), -x[0].numel() * math.log(2))

    @property
    def likelihood_scale(self) -> object:
        from gencore.nn.likelihood import PROBABILITY

        return PROBABILITY


class Enlarging(gencore.Model):
    """Knows one grey picture, which it gives for any of half its size."""

    config_class = Perfect.Config
    true = torch.linspace(-1, 1, 144).view(1, 12, 12)

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        return self.true.expand(len(x), -1, -1, -1) - 2 / 255


def test_a_translation_stands_beside_what_it_started_from() -> None:
    """PSNR of the input, enlarged: what the model must beat. A level away is 48.1 dB; an input of zeros 10.7."""
    true = Enlarging.true.expand(40, -1, -1, -1)
    pairs = InMemory(x=true.clone(), further={"x_input": torch.zeros(40, 1, 6, 6)})
    report = evaluate(Enlarging(Perfect.Config()), pairs, metrics=("psnr",), options=Options(n=40))
    (found,) = report.figures
    assert found.value == pytest.approx(48.1, abs=0.5)
    assert found.beside == {"of the input at that size, bicubic": pytest.approx(10.7, abs=0.1)}


def test_coloured_inputs_are_grey_to_a_model_that_takes_grey() -> None:
    """Pairs on disk are read alike, in colour; another number of channels is no pair of this model's."""
    made = model("pix2pix", data_shape=[3, 16, 16], input_shape=[1, 16, 16], width=4, critic_width=4)
    x = torch.rand(20, 3, 16, 16) * 2 - 1
    found = evaluate(made, InMemory(x=x, further={"x_input": x}), metrics=("psnr",), options=Options(n=20))
    assert [figure.name for figure in found.figures] == ["psnr"]
    with pytest.raises(GencoreError, match="translates pictures of 1 channels; the data's have 2"):
        evaluate(made, InMemory(x=x, further={"x_input": x[:, :2]}), metrics=("psnr",), options=Options(n=20))


def test_figures_of_a_known_model() -> None:
    """A level of 255 away everywhere: PSNR 20 log10 255; every label right; one bit a pixel."""
    x = torch.randint(0, 255, (60, 1, 12, 12), dtype=torch.uint8)
    label = (x.flatten(1)[:, 0] > 127).long()
    label[:6] = 1 - label[:6]
    report = evaluate(Perfect(Perfect.Config()), InMemory(x=x, label=label, num_classes=2), options=Options(n=60))
    found = {figure.name: figure for figure in report.figures}
    assert set(found) == {"psnr", "ssim", "accuracy", "nll", "bits_per_dim"}
    assert found["psnr"].value == pytest.approx(20 * math.log10(255), abs=1e-6)
    assert found["ssim"].value > 0.99
    assert found["accuracy"].value == pytest.approx(0.9)
    assert 0.5 < found["accuracy"].low < 0.9 < found["accuracy"].high <= 1
    assert found["accuracy"].beside["always the most frequent class"] == label.bincount().max() / 60
    assert found["nll"].value == pytest.approx(144 * math.log(2))
    assert found["bits_per_dim"].value == pytest.approx(1)
    assert "no sampler" in report.left_out["frechet"]


def test_points_are_measured_by_their_numbers() -> None:
    report = evaluate(model("gan", data_shape=[2], hidden=[8]), ring(300), options=FEW, metrics=("frechet",))
    (figure,) = report.figures
    assert figure.measured["extractor"] == "the numbers themselves"
    assert figure.measured["rounding"] == "none"


def test_texts_stand_beside_n_grams() -> None:
    """An untrained model is about as good as no model: perplexity near the size of the vocabulary, n-grams below."""
    made = model("causal-language-model", vocabulary=VOCABULARY, data_shape=grammar(10).shape, width=8, heads=2)
    report = evaluate(made, grammar(200, split="test"), options=FEW, train=grammar(500))
    found = {figure.name: figure for figure in report.figures}
    assert set(found) == {"nll", "perplexity", "bits_per_byte"}
    length = grammar(10).shape[0]
    perplexity = found["perplexity"]
    assert perplexity.value == pytest.approx(math.exp(found["nll"].value / length))
    assert perplexity.low < perplexity.value < perplexity.high
    assert 0.7 * len(VOCABULARY) < perplexity.value < 1.5 * len(VOCABULARY)
    grams = [perplexity.beside[f"{name} perplexity"] for name in ("unigram", "bigram", "trigram")]
    assert perplexity.value > grams[0] > grams[1]
    bits = found["bits_per_byte"]
    assert bits.beside["unigram bits per byte"] < bits.value
    assert bits.value / bits.beside["unigram bits per byte"] == pytest.approx(
        math.log(perplexity.value) / math.log(grams[0])
    )
    other = dataclasses.replace(grammar(20), vocabulary=(*VOCABULARY[:-1], "another"))
    with pytest.raises(GencoreError, match="vocabulary"):
        evaluate(made, other, options=FEW)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("fid",)}, "no metric 'fid'"),
        ({"metrics": ("accuracy",)}, "does not classify"),
        ({"metrics": ("psnr",), "options": dataclasses.replace(FEW, sampler_options={"steps": 3})}, "steps is given"),
        ({"options": dataclasses.replace(FEW, n=4)}, "expected 16 and 8"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict, message: str) -> None:
    system = "deep-autoencoder" if "psnr" in arguments.get("metrics", ()) else "gan"
    made = model(system, hidden=[8], data_shape=[1, 8, 8])
    with pytest.raises(GencoreError, match=message):
        evaluate(made, digits("test"), **{"options": FEW, **arguments})


def test_data_of_another_shape(flat: object) -> None:
    with pytest.raises(GencoreError, match="expected the same"):
        evaluate(model("gan", hidden=[8]), arrays(torch.rand(40, 1, 4, 4) * 2 - 1), extractor=flat, options=FEW)


@pytest.mark.parametrize("name", ["n", "n_real", "k", "resamples"])
def test_bad_counts(name: str) -> None:
    with pytest.raises(GencoreError, match=f"{name} is 0"):
        Options(**{name: 0})
