"""gencore embed, retrieve, probe, verify, attack: through the command line, on digits and on a folder of pictures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from sklearn.metrics import roc_auc_score

import gencore
from gencore.cli import codes, judging
from gencore.data import digits, open_source
from gencore.errors import GencoreError
from gencore.evaluation.verification import draw_pairs
from gencore.latent import encode_all
from tests.cli.running import run, save_digits


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    for module in (codes, judging):
        module.register(made)
    return made


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("models") / "encoder"
        gencore.create("triplet-network", width=8, code_dim=4).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty digits of the test part: a folder "even" and a folder "odd"."""
    return save_digits(tmp_path_factory.mktemp("pictures"), 40)


def rows_of(app: typer.Typer, *words: object) -> list[dict[str, str]]:
    return json.loads(run(app, *words, "--json"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_embed_writes_codes_with_names_and_labels(
    app: typer.Typer, encoder: str, pictures: Path, tmp_path: Path
) -> None:
    """Row by row what the model says of the file that stands there."""
    run(app, "embed", encoder, "--data", pictures, "-o", tmp_path / "c.npy")
    z, rows = np.load(tmp_path / "c.npy"), table(tmp_path / "c.csv")
    assert z.shape == (40, 4)
    assert z.dtype == np.float32
    model: Any = gencore.from_pretrained(encoder)
    source = open_source(str(pictures), image_size=8, channels=1)
    for place in (0, 17, 39):
        row = rows[place]
        assert row["class"] == row["file_name"].split("/")[0] == ("even", "odd")[int(row["label"])]
        x = torch.from_numpy(np.array(Image.open(pictures / row["file_name"]))).float() / 127.5 - 1
        with torch.no_grad():
            np.testing.assert_allclose(model.encode(x[None, None])[0], z[place], atol=1e-5)
    assert [int(row["index"]) for row in rows] == list(range(len(source)))


def test_embed_of_data_without_files(app: typer.Typer, encoder: str, tmp_path: Path) -> None:
    run(app, "embed", encoder, "--part", "train", "-n", 7, "-o", tmp_path / "c.npy")
    rows = table(tmp_path / "c.csv")
    assert [row["file_name"] for row in rows] == [str(k) for k in range(7)]
    assert [int(row["label"]) for row in rows] == digits("train").label[:7].tolist()
    assert {row["class"] for row in rows} == {""}
    np.save(tmp_path / "plain.npy", np.full((5, 1, 8, 8), -0.5, np.float32))
    run(app, "embed", encoder, "--data", tmp_path / "plain.npy", "-o", tmp_path / "p.npy")
    assert {row["label"] for row in table(tmp_path / "p.csv")} == {""}
    for command in ("probe", "verify", "attack"):
        with pytest.raises(GencoreError, match="no labels"):
            run(app, command, encoder, "--data", tmp_path / "plain.npy")


def test_retrieve_draws_and_names_the_nearest(app: typer.Typer, encoder: str, pictures: Path, tmp_path: Path) -> None:
    """In the order of the distances of codes; the picture itself is no answer; three rows of k + 1 pictures."""
    source = open_source(str(pictures), image_size=8, channels=1)
    z = encode_all(gencore.from_pretrained(encoder), source).z
    own = 3
    order = [i for i in torch.cdist(z[own : own + 1], z)[0].argsort().tolist() if i != own][:5]
    out = tmp_path / "n.png"
    said = run(app, "retrieve", encoder, source.paths[own], "--data", pictures, "-k", 5, "-o", out).splitlines()
    assert [line.split()[1] for line in said[:5]] == [source.paths[i].relative_to(pictures).as_posix() for i in order]
    assert all("(even)" in line or "(odd)" in line for line in said[:5])
    with Image.open(out) as image:
        assert image.size == (6 * 10 + 2, 3 * 10 + 2)
        pixels = np.array(image)
    query = np.array(Image.open(source.paths[own]))
    for row in range(3):
        assert np.array_equal(pixels[2 + 10 * row : 10 + 10 * row, 2:10], query)
    raw = source.fetch(torch.arange(len(source)))["x"].flatten(1)
    nearest = torch.cdist(raw[own : own + 1], raw)[0].argsort()[1]
    assert np.array_equal(pixels[22:30, 12:20], np.array(Image.open(source.paths[int(nearest)])))


def test_probe_prints_baselines_beside(app: typer.Typer, encoder: str, pictures: Path) -> None:
    rows = rows_of(app, "probe", encoder, "-n", 150, "--few", 20, "--draws", 2, "-k", 3)
    assert [(row["codes"], row["labels"]) for row in rows] == [
        (name, count) for count in ("150", "20") for name in ("trained", "random weights", "raw data")
    ]
    assert float(rows[2]["linear"]) > float(rows[0]["linear"])
    assert " +- " in rows[5]["3-NN"]
    said = run(app, "probe", encoder, "--data", pictures, "--few", 4, "--draws", 1, "--nonlinear")
    assert "9 test examples" in said
    assert "nonlinear" in said
    assert " 31 " in said


def test_probe_of_an_attribute(app: typer.Typer, encoder: str, pictures: Path, tmp_path: Path) -> None:
    """A column beside the pictures; few labels are as many as the rarest value has."""
    shutil.copytree(pictures, tmp_path / "p")
    names = sorted(path.relative_to(tmp_path / "p").as_posix() for path in (tmp_path / "p").rglob("*.png"))
    lines = [
        json.dumps({"file_name": name, "odd": int("odd" in name), "rare": int(k < 6)}) for k, name in enumerate(names)
    ]
    (tmp_path / "p" / "metadata.jsonl").write_text("\n".join(lines))
    words = ["probe", encoder, "--draws", 1, "--data", tmp_path / "p", "--attribute"]
    assert "odd told" in run(app, *words, "odd")
    rows = rows_of(app, *words, "odd")
    assert rows[2] == rows_of(app, *words[:-1])[2], "the column says what the sub-folders say"
    assert [row["labels"] for row in rows_of(app, *words, "rare")] == ["31"] * 3 + ["8"] * 3


def test_verify_prints_rates_and_draws_the_curve(app: typer.Typer, encoder: str, tmp_path: Path) -> None:
    """Only the classes asked for; AUC of raw digits is scikit-learn's."""
    out = tmp_path / "roc.png"
    words = ["verify", encoder, "--classes", "6,7,8,9", "--pairs", 200, "--far", 0.02]
    rows = rows_of(app, *words, "-o", out)
    assert [row["codes"] for row in rows] == ["trained", "random weights", "raw data"]
    label = digits("test").label
    chosen = torch.isin(label, torch.tensor([6, 7, 8, 9]))
    x = digits("test").x[chosen].flatten(1)
    first, second, same = draw_pairs(label[chosen], 200, seed=0)
    expected = roc_auc_score(same.numpy(), -(x[first] - x[second]).norm(dim=1).numpy())
    assert float(rows[2]["AUC"]) == pytest.approx(expected, abs=1e-4)
    points = [row for row in table(out.with_suffix(".csv")) if row["codes"] == "raw data"]
    area = np.trapezoid([float(p["val"]) for p in points], [float(p["far"]) for p in points])
    assert area == pytest.approx(expected, abs=1e-3)
    with Image.open(out) as image:
        assert image.size == (600, 600)


def test_attack_of_a_classifier_and_of_a_probe(app: typer.Typer, encoder: str, tmp_path: Path) -> None:
    """No epsilon, no change; the larger the worse; the picture holds three rows within epsilon of each other."""
    model: Any = gencore.create("adversarial-training", width=8)
    model.save_pretrained(tmp_path / "classifier")
    rows = rows_of(app, "attack", tmp_path / "classifier", "--epsilon", 0, "--epsilon", 0.3, "-n", 100)
    assert rows[0]["clean"] == rows[0]["attacked"] == rows[0]["random signs"] == rows[1]["clean"]
    assert float(rows[1]["attacked"]) < float(rows[1]["clean"])
    out = tmp_path / "a.png"
    said = run(app, "attack", encoder, "--epsilon", 0.2, "--steps", 3, "-n", 50, "-o", out)
    assert "PGD of 3 steps" in said
    assert "linear probe" in said
    with Image.open(out) as image:
        pixels = np.array(image).astype(int)
    assert pixels.shape == (32, 102)
    clean, signs, attacked = (pixels[2 + 10 * row : 10 + 10 * row, 2:-2] for row in range(3))
    for changed in (signs, attacked):
        assert 20 <= np.abs(changed - clean).max() <= 27


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("embed", "-o", "codes.txt"), r"\.npy"),
        (("embed", "--data", "no-such-data"), "no-such-data"),
        (("retrieve", "none.png"), "does not exist"),
        (("retrieve", "none.png", "-o", "n.jpg"), r"\.png"),
        (("probe", "--few", "3"), "labelled examples"),
        (("verify", "-o", "roc.pdf"), r"\.png"),
        (("verify", "--classes", "3,cat"), "'cat'"),
        (("verify", "--classes", "3"), "1 classes"),
        (("verify", "--far", "1e-9"), "take more"),
        (("attack", "-o", "a.gif"), r"\.png"),
        (("attack", "--epsilon", "-1"), "epsilon"),
        (("attack", "--steps", "-1"), "steps"),
    ],
)
def test_bad_words_are_refused(app: typer.Typer, encoder: str, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        run(app, words[0], encoder, *words[1:])


def test_models_without_an_encoder(app: typer.Typer, tmp_path: Path) -> None:
    gencore.create("gan", hidden=[8]).save_pretrained(tmp_path / "gan")
    for command in ("embed", "probe", "verify"):
        with pytest.raises(GencoreError, match="no encoder"):
            run(app, command, tmp_path / "gan")
