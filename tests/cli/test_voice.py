"""gencore voice, and training on folders of sound."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.cli.voice import _faded, converted
from gencore.data.sound import read_sound
from gencore.data.sources.sounds import spectrogram_in
from gencore.data.spectrograms import spectrogram
from gencore.data.toys.vowels import vowel_waves


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers, one file each, of several vowels, at 11,025 Hz."""
    folder = tmp_path_factory.mktemp("speech")
    waves = vowel_waves(20).fetch(torch.arange(20))
    for speaker in range(4):
        (folder / f"speaker-{speaker}").mkdir()
        said = waves["x"][waves["label"] == speaker].flatten()
        soundfile.write(folder / f"speaker-{speaker}" / "a.wav", said.numpy(), 11025)
    return folder


def test_wavenet_on_a_folder(speech: Path, tmp_path: Path) -> None:
    """Rate, length and speakers are the data's; what it draws is a file of that rate."""
    sizes = [f"--set={size}" for size in ("width=4", "skip_width=4", "dilations=2", "stacks=1", "levels=16")]
    data = ["--data", f"sound:{speech},4000,0.05", "--steps", 2, "--batch-size", 2]
    run("train", "wavenet", *data, *sizes, "--out", tmp_path / "run", "-q")
    config = gencore.from_pretrained(tmp_path / "run").config
    assert (config.data_shape, config.sample_rate, config.num_classes) == ((1, 200), 4000, 4)
    run("sample", tmp_path / "run", "-n", 1, "--label", 2, "-o", tmp_path / "out.wav", "-q")
    with wave.open(str(tmp_path / "out.wav"), "rb") as file:
        assert (file.getframerate(), file.getnframes()) == (4000, 200)


def test_speech_on_a_folder_and_another_voice(speech: Path, tmp_path: Path) -> None:
    data = ["--data", f"spectrograms:{speech}", "--steps", 2, "--batch-size", 4, "--set", "width=8"]
    run("train", "speech-vq-vae", *data, "--out", tmp_path / "run", "-q")
    said = speech / "speaker-0" / "a.wav"
    run("voice", tmp_path / "run", said, "--speaker", 3, "-o", tmp_path / "out.wav")
    sound, rate = read_sound(tmp_path / "out.wav")
    assert (rate, len(sound)) == (8000, len(read_sound(said, rate=8000)[0]))


class Echo(torch.nn.Module):
    """Converts nothing."""

    config = gencore.create("speech-vq-vae").config

    def convert(self, x: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (1, 64, 32)
        assert speaker.tolist() == [2] * len(x)
        return x


def test_a_whole_recording_is_converted_without_seams() -> None:
    """A model that changes nothing gives sound of nearly the same spectrogram, as loud, over five clips and a bit."""
    said = vowel_waves(20).clips.x[:5].flatten()[:-700]
    made = converted(Echo(), said, 2)
    assert made.shape == said.shape
    assert made.square().mean().sqrt() / said.square().mean().sqrt() == pytest.approx(1, abs=0.06)
    size = said.square().mean().sqrt()
    apart = (spectrogram(made[None] / size) - spectrogram(said[None] / size)).abs().mean() * 35
    assert apart < 2, "decibels; 0.95 here, 10 to the same vowels a place further"


def test_wavenet_of_spectrograms(speech: Path, tmp_path: Path) -> None:
    """Trained on sound with its spectrogram, it draws that of a file, and makes the sound of a conversion."""
    sizes = [f"--set={size}" for size in ("width=4", "skip_width=4", "dilations=2", "stacks=1", "levels=16")]
    data = ["--data", f"sound:{speech},8000,0.04", "--condition", "spectrogram", "--steps", 2, "--batch-size", 2]
    run("train", "wavenet", *data, *sizes, "--out", tmp_path / "run", "-q")
    assert gencore.from_pretrained(tmp_path / "run").config.input_shape == (1, 64, 2)
    said = speech / "speaker-0" / "a.wav"
    given = [
        torch.from_numpy(np.load(tmp_path / name)) for name in drawn(tmp_path, said, speech / "speaker-3" / "a.wav")
    ]
    model = gencore.from_pretrained(tmp_path / "run")
    torch.testing.assert_close(given[0], model.sample(1, condition=spectrogram_in(str(said), (1, 64, 2))))
    assert not torch.equal(given[0], given[1]), "the same noise, another spectrogram"
    gencore.create("speech-vq-vae", width=8, data_shape=(1, 64, 8)).save_pretrained(tmp_path / "vq")
    small = {"width": 4, "skip_width": 4, "dilations": 2, "stacks": 1, "levels": 16}
    maker = gencore.create("wavenet", data_shape=(1, 704), input_shape=(1, 64, 8), **small)
    maker.save_pretrained(tmp_path / "maker")
    run("voice", tmp_path / "vq", said, "--speaker", 1, "--through", tmp_path / "maker", "-o", tmp_path / "b.wav")
    assert len(read_sound(tmp_path / "b.wav")[0]) == len(read_sound(said, rate=8000)[0])
    with pytest.raises(gencore.GencoreError, match="temperature"):
        converted(gencore.from_pretrained(tmp_path / "vq"), torch.randn(704), 1, maker, temperature=-1.0)


def drawn(folder: Path, *files: Path) -> list[str]:
    for number, file in enumerate(files):
        run("sample", folder / "run", "-n", 1, "--condition", file, "-o", folder / f"{number}.npy", "-q")
    return [f"{number}.npy" for number in range(len(files))]


def test_clips_fade_into_each_other() -> None:
    """Of one whole, cut where the next one began: the whole."""
    whole = torch.randn(2240 + 2 * 2048)
    clips = torch.stack([whole[first : first + 2240] for first in (0, 2048, 4096)])
    torch.testing.assert_close(_faded(clips), whole)


def test_mistakes(speech: Path, tmp_path: Path) -> None:
    def fail(*arguments: object) -> str:
        with pytest.raises(gencore.GencoreError) as caught:
            CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return str(caught.value)

    said = speech / "speaker-0" / "a.wav"
    gencore.create("speech-vq-vae", width=8).save_pretrained(tmp_path / "model")
    gencore.create("dcgan", width=4).save_pretrained(tmp_path / "gan")
    assert "converts no voices" in fail("voice", tmp_path / "gan", said, "--speaker", 0, "-o", tmp_path / "a.wav")
    assert "from 0 to 3" in fail("voice", tmp_path / "model", said, "--speaker", 4, "-o", tmp_path / "a.wav")
    through = ["--through", tmp_path / "gan", "-o", tmp_path / "a.wav"]
    assert "no sound of spectrograms" in fail("voice", tmp_path / "model", said, "--speaker", 0, *through)
    assert "ends in .wav" in fail("voice", tmp_path / "model", said, "--speaker", 0, "-o", tmp_path / "a.mp3")
