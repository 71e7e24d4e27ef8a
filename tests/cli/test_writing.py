"""What gencore sample writes of models that draw no pictures: text to the terminal or a file, sound into a .wav."""

from __future__ import annotations

import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.cli.writing import write_samples
from gencore.data.sources.midi import read_notes
from gencore.data.sources.volumes import three_views
from gencore.data.toys.grammar import grammar
from gencore.kinds import kind_of


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object) -> str:
    with pytest.raises(gencore.GencoreError) as caught:
        CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return str(caught.value)


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = grammar(1).vocabulary
    made = gencore.create("causal-language-model", vocabulary=words, data_shape=(12, len(words)), width=8, heads=2)
    made.save_pretrained(folder := tmp_path_factory.mktemp("text") / "model")
    return folder


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"data_shape": (1, 30), "levels": 16, "width": 4, "skip_width": 4, "dilations": 2, "stacks": 1}
    made = gencore.create("wavenet", sample_rate=11025, **sizes)
    made.save_pretrained(folder := tmp_path_factory.mktemp("sound") / "model")
    return folder


def test_texts_go_to_the_terminal(text_model: Path) -> None:
    """All begin as asked; with temperature 0, and with a mass that only the likeliest has, all are the same."""
    options = ("-n", 3, "--prompt", "many old dogs", "-q")
    model = gencore.from_pretrained(text_model)
    told = model.text(model.sample(3, prompt="many old dogs", temperature=0.5, top_p=0.9, top_k=30))
    lines = run("sample", text_model, *options, "--temperature", 0.5, "--top-p", 0.9, "--top-k", 30).splitlines()
    assert lines == told
    assert all(line.startswith("many old dogs") for line in lines)
    assert len(set(lines)) == 3
    greedy = run("sample", text_model, *options, "--temperature", 0).splitlines()
    assert len(set(greedy)) == 1
    assert run("sample", text_model, *options, "--top-p", 1e-6).splitlines() == greedy
    assert run("sample", text_model, *options, "--top-k", 1).splitlines() == greedy


def test_texts_go_into_a_file(text_model: Path, tmp_path: Path) -> None:
    run("sample", text_model, "-n", 2, "-o", tmp_path / "a.txt", "-q")
    model = gencore.from_pretrained(text_model)
    assert (tmp_path / "a.txt").read_text().splitlines() == model.text(model.sample(2))
    run("sample", text_model, "-n", 2, "-o", tmp_path / "a.npy", "-q")
    assert np.load(tmp_path / "a.npy").shape == (2, 12, len(model.config.vocabulary))


def test_texts_of_several_lines_have_one_between_them(tmp_path: Path) -> None:
    made = gencore.create("rnn-language-model", vocabulary=("a", "\n"), data_shape=(5, 2), width=4)
    made.save_pretrained(tmp_path / "model")
    texts = made.eval().text(made.sample(2, seed=1))
    assert any("\n" in text.rstrip("\n") for text in texts)
    assert run("sample", tmp_path / "model", "-n", 2, "--seed", 1, "-q") == (
        "\n\n".join(text.rstrip("\n") for text in texts) + "\n"
    )


def test_a_model_of_byte_pairs_keeps_them(tmp_path: Path) -> None:
    """Trained on a file, it is prompted in any letters, and says what it was prompted with."""
    (tmp_path / "book.txt").write_text("a cat sat on a mat. " * 60)
    data = ["--data", f"text:{tmp_path}/book.txt,bpe270,12", "--steps", 1, "--batch-size", 2, "--set", "width=4"]
    run("train", "rnn-language-model", *data, "--out", tmp_path / "run", "-q")
    assert gencore.from_pretrained(tmp_path / "run").config.vocabulary[-1] == "<|endoftext|>"
    (tmp_path / "book.txt").unlink()
    assert run("sample", tmp_path / "run", "-n", 1, "--prompt", "a cat\u2603", "-q").startswith("a cat\u2603")


def test_sound_goes_into_a_wav(sound_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the model's rate, 16 bits, a quarter of a second between clips."""
    monkeypatch.chdir(tmp_path)
    assert "samples.wav" in run("sample", sound_model, "-n", 2, "--temperature", 0.7, "-q")
    with wave.open("samples.wav", "rb") as file:
        assert file.getparams()[:3] == (1, 2, 11025)
        numbers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    drawn = gencore.from_pretrained(sound_model).sample(2, temperature=0.7)
    pause = round(0.25 * 11025)
    assert len(numbers) == 60 + pause
    assert not numbers[30 : 30 + pause].any()
    read = torch.from_numpy(np.stack([numbers[:30], numbers[-30:]])) / 32767
    torch.testing.assert_close(read, drawn[:, 0], atol=1e-4, rtol=0)


def test_mistakes(text_model: Path, sound_model: Path, tmp_path: Path) -> None:
    assert "ends in .txt or .npy" in fail("sample", text_model, "-n", 1, "-o", tmp_path / "a.png")
    assert "ends in .wav or .npy" in fail("sample", sound_model, "-n", 1, "-o", tmp_path / "a.png")
    assert "has no field 'prompt'" in fail("sample", sound_model, "--prompt", "a")
    assert "top_p is 1.5" in fail("sample", text_model, "--top-p", 1.5)
    assert "'zebra' in 'zebra'" in fail("sample", text_model, "--prompt", "zebra")


def test_melodies_become_midi(tmp_path: Path) -> None:
    """As many notes as were drawn, at the pitches that were drawn."""
    gencore.create("c-rnn-gan", width=4, latent_dim=2, data_shape=(6, 4)).save_pretrained(tmp_path / "model")
    run("sample", tmp_path / "model", "-n", 3, "-o", tmp_path / "a.mid", "-q")
    drawn = gencore.from_pretrained(tmp_path / "model").sample(3)
    notes = read_notes(tmp_path / "a.mid")
    assert sorted(note.pitch for note in notes) == sorted((60 + drawn[..., 1].round().int().flatten()).tolist())
    assert r"ends in .mid or .npy" in fail("sample", tmp_path / "model", "-o", tmp_path / "a.png", "-q")


def test_points_of_the_plane_become_numbers_and_a_picture(tmp_path: Path) -> None:
    """As of a GAN of a ring; a name that ends in .png is the picture alone. Three numbers are no such points."""
    points, model = torch.randn(9, 2), SimpleNamespace(config=SimpleNamespace(data_shape=(2,)))
    write_samples(model, points, tmp_path / "a.npy")
    write_samples(model, points, tmp_path / "b.png")
    assert np.array_equal(np.load(tmp_path / "a.npy"), points.numpy())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(gencore.GencoreError, match=r"ends in \.npy"):
        write_samples(SimpleNamespace(config=SimpleNamespace(data_shape=(3,))), torch.randn(9, 3), tmp_path / "c.png")


def test_volumes_become_numbers_and_three_views(tmp_path: Path) -> None:
    gencore.create("3d-gan", width=2, latent_dim=4, data_shape=(1, 8, 8, 8)).save_pretrained(tmp_path / "model")
    said = run("sample", tmp_path / "model", "-n", 3, "-o", tmp_path / "a.npy", "-q")
    assert "three views of each of 3" in said
    drawn = gencore.from_pretrained(tmp_path / "model").sample(3)
    assert np.array_equal(np.load(tmp_path / "a.npy"), drawn.numpy())
    first = (tmp_path / "a.png").read_bytes()
    run("sample", tmp_path / "model", "-n", 3, "-o", tmp_path / "b.png", "-q")
    assert (tmp_path / "b.png").read_bytes() == first
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (2 + 3 * 10, 2 + 26)
    views = ((three_views(drawn) + 1) * 127.5).round().to(torch.uint8)
    assert np.array_equal(picture[2:10, 2:26], views[0, 0].numpy())


def test_numbers_that_are_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of showers; four axes are no volume where they are a series of pictures."""
    monkeypatch.chdir(tmp_path)
    assert kind_of(SimpleNamespace(config=SimpleNamespace(data_shape=(5, 1, 12, 12)))) == "numbers"
    assert kind_of(SimpleNamespace(config=SimpleNamespace(data_shape=(1, 12, 12, 12)))) == "volume"
    gencore.create("calogan", width=2, hidden=(4,), latent_dim=4).save_pretrained("model")
    run("sample", "model", "-n", 2, "--condition", "energy=20", "-q")
    assert np.load("samples.npy").shape == (2, 126)
    assert "ends in .npy." in fail("sample", "model", "-o", "a.png", "-q")
