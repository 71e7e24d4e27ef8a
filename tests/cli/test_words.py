"""gencore neighbours and gencore analogy, on vectors that were set by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app

WORDS = ("king", "queen", "man", "woman", "bread", "\n")
VECTORS = [[5, 1, 0], [5, -1, 0], [1, 1, 0], [1, -1, 0], [0, 0, 1], [0, 0.2, 1]]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = gencore.create("word2vec", vocabulary=WORDS, data_shape=(4, 6), width=3)
    made.vectors.word.weight.data = torch.tensor(VECTORS)
    made.save_pretrained(folder := tmp_path_factory.mktemp("words") / "model")
    return folder


def test_neighbours(model: Path) -> None:
    """cos(king, queen) = 24 / 26, cos(king, man) = 6 / sqrt(52)."""
    rows = json.loads(run("neighbours", model, "king", "-n", 2, "--json"))
    assert rows == [{"word": "queen", "cosine": "0.923"}, {"word": "man", "cosine": "0.832"}]
    assert "queen" in run("neighbours", model, "king")


def test_analogy(model: Path) -> None:
    """man is to woman as king to queen; none of the three is its own answer."""
    (first, *others) = json.loads(run("analogy", model, "man", "woman", "king", "--json"))
    assert first["word"] == "queen"
    assert not {"man", "woman", "king"} & {row["word"] for row in others}


def test_mistakes(model: Path, tmp_path: Path) -> None:
    def fail(*arguments: object) -> str:
        with pytest.raises(gencore.GencoreError) as caught:
            CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return str(caught.value)

    assert "Did you mean 'queen'" in fail("neighbours", model, "quen")
    assert "no word 'prince'" in fail("analogy", model, "man", "woman", "prince")
    assert "-n is 0" in fail("neighbours", model, "king", "-n", 0)
    gencore.create("dcgan", width=4).save_pretrained(tmp_path / "gan")
    assert "no vectors of words (ConvGAN)" in fail("neighbours", tmp_path / "gan", "king")
