"""gencore augment and gencore select, through the command line, on a folder of pictures and on digits."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

import gencore
from gencore.cli import labelling
from gencore.data import digits, open_source
from gencore.data.parts import at_most
from gencore.errors import GencoreError
from gencore.evaluation.probe import linear_probe
from gencore.latent import encode_all, select_k_centre
from tests.cli.running import run, save_digits


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    labelling.register(made)
    return made


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("models") / "autoencoder"
        gencore.create("deep-autoencoder", hidden=[16], code_dim=6, data_shape=[1, 8, 8]).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty digits: a folder "even" and a folder "odd"."""
    return save_digits(tmp_path_factory.mktemp("pictures"), 30)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_mixtures_are_what_their_names_say(app: typer.Typer, autoencoder: str, pictures: Path, tmp_path: Path) -> None:
    """Twice as many pictures in the same classes; one made again from its parents, by its name alone."""
    out = tmp_path / "more"
    assert "60 pictures" in run(app, "augment", autoencoder, "--data", pictures, "--times", 2, "-o", out)
    for kind in ("even", "odd"):
        assert len(list((out / kind).iterdir())) == 2 * len(list((pictures / kind).iterdir()))
    assert open_source(str(out)).class_names == ("even", "odd")
    model: Any = gencore.from_pretrained(autoencoder)
    for file in sorted((out / "odd").iterdir())[:5]:
        found = re.fullmatch(r"\d{6}_mix_(d\d+)_(d\d+)_t(0\.\d\d)_seed0\.png", file.name)
        assert found
        parents = [np.array(Image.open(pictures / "odd" / f"{name}.png")) for name in found.groups()[:2]]
        x = torch.from_numpy(np.stack(parents))[:, None].float() / 127.5 - 1
        with torch.no_grad():
            z = model.encode(x)
            made = model.generate(torch.lerp(z[0], z[1], float(found[3]))[None])
        shown = torch.from_numpy(np.array(Image.open(file))).float() / 127.5 - 1
        assert (made.clamp(-1, 1)[0, 0] - shown).abs().max() < 0.05


def test_samples_of_a_class_conditional_model(app: typer.Typer, tmp_path: Path) -> None:
    """As many of each class as the data have, in folders by number; the default of a model that only samples."""
    gencore.create("cgan", hidden=(8,)).save_pretrained(tmp_path / "cgan")
    out = tmp_path / "more"
    run(app, "augment", tmp_path / "cgan", "-n", 40, "--seed", 3, "-o", out)
    chosen = at_most(digits("train"), 40, seed=3)
    wanted = chosen.fetch(torch.arange(40))["label"].bincount(minlength=10).tolist()
    assert [len(list((out / str(kind)).glob("*.png"))) for kind in range(10)] == wanted
    assert all(re.fullmatch(r"(\d{6})_sample_\d+_seed3\.png", file.name) for file in out.rglob("*.png"))


def test_unlabelled_data_stay_without_classes(app: typer.Typer, autoencoder: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", digits("test").x[:6].numpy())
    out = tmp_path / "more"
    assert "near" in run(app, "augment", autoencoder, "--data", tmp_path / "x.npy", "--amount", 0.2, "-o", out)
    assert sorted(file.name for file in out.iterdir()) == [f"00000{k}_near_{k}_s0.2_seed0.png" for k in range(6)]


def test_selecting_labelling_and_selecting_again(
    app: typer.Typer, autoencoder: str, pictures: Path, tmp_path: Path
) -> None:
    """Four by k-centre, filled in by hand; then four more where a probe of those wavers most, and the labelled files
    sorted into classes."""
    out = tmp_path / "labels.csv"
    words = ["select", autoencoder, "--data", pictures, "-n", 4, "-o", out]
    assert "4 new rows of 4" in run(app, *words)
    rows = table(out)
    source = open_source(str(pictures), image_size=8, channels=1)
    names = [path.relative_to(pictures).as_posix() for path in source.paths]
    z = encode_all(gencore.from_pretrained(autoencoder), source).z
    assert [row["file_name"] for row in rows] == [names[i] for i in select_k_centre(z, 4).tolist()]
    assert {row["label"] for row in rows} == {""}
    with pytest.raises(GencoreError, match="may hold labels"):
        run(app, *words)
    filled = [f"{row['file_name']},{('cat', 'dog')[k % 2]},me" for k, row in enumerate(rows)]
    out.write_text("\n".join(["file_name,label,by", *filled]) + "\n")
    said = run(app, *words, "--by", "margin", "--labelled", out, "--into", tmp_path / "sorted")
    assert "4 new rows of 8" in said
    again = table(out)
    assert [(row["label"], row["by"]) for row in again[:4]] == [(word, "me") for word in ("cat", "dog") * 2]
    listed = [names.index(row["file_name"]) for row in again]
    assert len(set(listed)) == 8
    probe = linear_probe(z[listed[:4]], torch.tensor([0, 1, 0, 1]))
    top = probe(z).softmax(1).topk(2).values
    margin = (top[:, 0] - top[:, 1]).tolist()
    assert max(margin[i] for i in listed[4:]) <= min(margin[i] for i in range(30) if i not in listed)
    made = open_source(str(tmp_path / "sorted"))
    assert made.class_names == ("cat", "dog")
    assert [path.name for path in made.paths] == sorted(names[i].replace("/", "-") for i in listed[0:4:2]) + sorted(
        names[i].replace("/", "-") for i in listed[1:4:2]
    )


@pytest.mark.parametrize("by", ["k-centre", "clusters", "random"])
def test_other_choices(app: typer.Typer, autoencoder: str, tmp_path: Path, by: str) -> None:
    """Of the training part, by number where there are no files; never twice."""
    out = tmp_path / "labels.csv"
    run(app, "select", autoencoder, "-n", 5, "--by", by, "-o", out)
    run(app, "select", autoencoder, "-n", 5, "--by", by, "--labelled", out, "-o", tmp_path / "more.csv")
    rows = [int(row["file_name"]) for row in table(tmp_path / "more.csv")]
    assert len(set(rows)) == 10
    assert max(rows) < 1400


def test_bad_words_are_refused(app: typer.Typer, autoencoder: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.csv"
    select = ["select", autoencoder, "--data", pictures, "-o", out]
    for words, message in (
        ([*select[:-1], tmp_path / "l.txt"], r"\.csv"),
        ([*select, "--by", "margin"], "two classes or more, and has 0"),
        ([*select, "-n", 31], "expected 1 to 30"),
        ([*select, "--labelled", tmp_path / "none.csv"], "does not exist"),
        ([*select, "--into", tmp_path / "x"], "nothing has a label"),
        (["select", autoencoder, "--into", tmp_path / "x", "-o", out], "copies files"),
        (["augment", autoencoder, "-o", pictures], "not empty"),
        (["augment", autoencoder, "-o", tmp_path / "x", "--how", "sample"], "not told a class"),
        (["augment", autoencoder, "-o", tmp_path / "x", "--times", 0], "times"),
    ):
        with pytest.raises(GencoreError, match=message):
            run(app, *words)
    assert not out.exists()
    assert not (tmp_path / "x").exists()
