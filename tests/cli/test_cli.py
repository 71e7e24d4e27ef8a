"""The commands as a user types them; errors are one paragraph, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore_kernels import cpp, registered_operations


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def fail(*arguments: str) -> str:
    """The error of a command that a person mistyped."""
    with pytest.raises((ValueError, OSError, ImportError, ArithmeticError)) as caught:
        CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return str(caught.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "vq"
    sizes = ["--set", "width=4", "--set", "prior_width=8", "--set", "prior_layers=1", "--set", "prior_steps=2"]
    run("train", "vq-vae", "--data", "digits", "--steps", 2, *sizes, "--out", out, "--quiet")
    return out


@pytest.mark.parametrize(("columns", "lines"), [(100, 1), (80, 2)])
def test_the_table_of_systems_fits_the_terminal(columns: int, lines: int, monkeypatch) -> None:
    """No name is broken, and a system takes one line, or two on a narrow terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = run("list").splitlines()
    assert max(map(len, rows)) <= columns
    names = [row.split()[0] for row in rows if row.startswith("  ") and not row.startswith("   ")]
    assert names == [spec.name for spec in gencore.list_systems()]
    families = {spec.family for spec in gencore.list_systems()}
    assert len(rows) <= lines * len(names) + 2 * len(families)
    assert len(run("list", "--long").splitlines()) > len(rows)


def test_list_and_its_json() -> None:
    rows = json.loads(run("list", "*gan*", "--family", "gan", "--json"))
    assert {row["system"] for row in rows} >= {"gan", "dcgan", "wgan", "wgan-gp", "lsgan"}
    assert all(set(row) == {"system", "family", "summary", "paper"} for row in rows)
    assert "wgan-gp" in run("list")


def test_info() -> None:
    described = json.loads(run("info", "wgan-gp", "--json"))
    assert described["paper"]["arxiv"] == "1704.00028"
    assert described["arguments"]["critic_steps"] == 5
    assert "critic_steps" in run("info", "wgan-gp")
    assert "'stddev'" in run("info", "improved-gan"), "the values behind the alias BatchView"
    assert "E_u (||grad_u D(u)|| - 1)^2" in run("info", "wgan-gp"), "the equations of the page"
    assert described["meanings"]["gradient_penalty"] == "the paper's lambda."
    assert described["metrics"]["slope"] == (
        "mean length of that gradient; neither way is better: it should stay near the center"
    )
    assert "which way is good" in run("info", "vae")
    assert "nats an example; higher is better" in " ".join(run("info", "vae").replace("│", " ").split())
    assert json.loads(run("info", "arXiv:1704.00028", "--json"))["name"] == "wgan-gp"
    assert json.loads(run("info", "least squares generative", "--json"))["name"] == "lsgan"
    assert "fits several systems" in fail("info", "auto-encoding variational bayes")


def test_plugins_and_doctor() -> None:
    assert {row["state"] for row in json.loads(run("plugins", "--json"))} == {"ok"}
    states = {row["what"]: row["state"] for row in json.loads(run("doctor", "--json"))}
    assert states["torch"] == torch.__version__
    kernels = {what.removeprefix("kernel "): state for what, state in states.items() if what.startswith("kernel ")}
    assert set(kernels) == {operation.name for operation in registered_operations()}
    assert all(": " in state for state in kernels.values())
    assert states["C++ kernels"].startswith("built for ")
    assert kernels["nearest_code"].startswith("compiled: ")


def test_doctor_says_what_to_install_without_cpp_kernels(monkeypatch, tmp_path: Path) -> None:
    without = cpp.libraries(tmp_path)
    monkeypatch.setattr(cpp, "libraries", lambda: without)
    monkeypatch.setattr(cpp, "found", lambda: without)
    states = {row["what"]: row["state"] for row in json.loads(run("doctor", "--json"))}
    assert states["C++ kernels"].startswith("none: the C++ kernels were not built when gencore was installed")
    assert states["kernel nearest_code"].startswith("torch: ")
    assert "install g++ or clang" in states["kernel nearest_code"]


@pytest.mark.parametrize(
    ("default", "state"),
    [
        ("compiled", "compiled: "),
        ("triton", "none: nearest_code: backend 'triton'"),
        ("fast", "none: GENCORE_KERNELS is"),
    ],
)
def test_doctor_names_a_default_that_cannot_run(default: str, state: str, monkeypatch) -> None:
    monkeypatch.setenv("GENCORE_KERNELS", default)
    monkeypatch.setattr("gencore_kernels.dispatch.interpreting", lambda: False)
    states = {row["what"]: row["state"] for row in json.loads(run("doctor", "--json"))}
    assert states["kernel nearest_code"].startswith(state)


def test_a_run_directory(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    expected = {"run.json", "metrics.jsonl", "samples", "checkpoints", "config.json", "model.safetensors", "README.md"}
    assert expected | {"samples.png"} <= names
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 4
    assert lines[-1]["stage"] == "prior"
    assert not any(name.startswith("autoencoder/") for name in lines[-1])
    assert "gencore train vq-vae --data digits --steps 2" in (trained / "README.md").read_text()


def test_sample_is_a_picture_or_numbers(trained: Path, tmp_path: Path) -> None:
    run("sample", trained, "-n", 6, "-o", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").width > 8
    run("sample", trained, "-n", 6, "-o", tmp_path / "a.npy", "--batch-size", 4, "--seed", 5, "--label", 3)
    model = gencore.from_pretrained(trained)
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "a.npy")), model.sample(6, seed=5, condition=3))


def test_reconstruct(trained: Path, tmp_path: Path) -> None:
    run("reconstruct", trained, "-n", 8, "-o", tmp_path / "r.png")
    assert Image.open(tmp_path / "r.png").height > 16


def test_create(tmp_path: Path) -> None:
    run("create", "dcgan", "--set", "width=4", "--out", tmp_path / "new")
    assert gencore.from_pretrained(tmp_path / "new").config.width == 4


def test_a_folder_of_images(tmp_path: Path) -> None:
    for i, mode in enumerate(["RGB", "L", "RGBA", "P", "CMYK"] * 3):
        Image.new(mode, (20 + i, 33), i).save(tmp_path / f"{i}.{'tiff' if mode == 'CMYK' else 'png'}")
    sizes = ["--image-size", 8, "--steps", 1, "--batch-size", 4, "--set", "width=4"]
    run("train", "dcgan", "--data", tmp_path, *sizes, "--out", tmp_path / "run", "--quiet")
    assert gencore.from_pretrained(tmp_path / "run").sample(2).shape == (2, 3, 8, 8)


def test_mistakes_are_explained(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert "Did you mean 'wgan" in fail("train", "wgann", "--out", out)
    assert "no argument 'widht'. Did you mean 'width'" in fail("train", "dcgan", "--set", "widht=3", "--out", out)
    assert "name=value" in fail("train", "dcgan", "--set", "width", "--out", out)
    assert "no argument 'scale'" in fail("train", "dcgan", "--scale", 4, "--out", out)
    assert "--image-size 32" in fail("train", "dcgan", "--image-size", 28, "--out", out)
    assert "--out is missing" in fail("train", "dcgan")
    assert "Name a system" in fail("train", "--out", out)
    assert "steps is 0" in fail("train", "dcgan", "--steps", 0, "--out", out)
    assert not out.exists(), "a run that could not begin leaves nothing behind"
    assert "holds a run already" in fail("train", "vq-vae", "--out", trained)
    assert "ends in .png or .npy" in fail("sample", trained, "-o", tmp_path / "x.jpg")
    assert "from 0 to 9" in fail("sample", trained, "--label", 10)
    assert "takes no labels" in fail("sample", _gan(tmp_path), "--label", 1)
    assert "no autoencoder" in fail("reconstruct", _gan(tmp_path))
    assert "n is 0" in fail("sample", trained, "-n", 0)


def _gan(folder: Path) -> Path:
    if not (folder / "gan").exists():
        gencore.create("gan", hidden=[4]).save_pretrained(folder / "gan")
    return folder / "gan"


@pytest.mark.parametrize("debug", [False, True])
def test_errors_are_one_paragraph_unless_debugging(debug: bool) -> None:
    command = [sys.executable, "-m", "gencore.cli", *(["--debug"] if debug else []), "info", "wgann"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == debug
    assert "Did you mean" in done.stderr


def test_no_torch_for_the_light_commands() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from gencore.cli.app import app; "
        "assert CliRunner().invoke(app, ['list']).exit_code == 0; "
        "assert CliRunner().invoke(app, ['plugins']).exit_code == 0; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shell_completion() -> None:
    environment = os.environ | {"_GENCORE_COMPLETE": "complete_bash", "COMP_WORDS": "gencore sam", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "gencore.cli"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["sample"]
