"""As a newcomer: a new environment, the README's commands; then the wheel and a stranger's plugin, outside the tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ..hub.server import HubServer

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fresh-install"), pytest.mark.timeout(1800)]
CUT = {"HF_HUB_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
NOT_A_NEWCOMERS = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def run(command: str, environment: Path, folder: Path, **variables: str) -> str:
    """A shell command with the environment's programs first; its output. pip compiles nothing: half of the time that
    an install takes went into files that no command imports."""
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    quick = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_COMPILE": "0"}
    variables = {"PATH": path, "OMP_NUM_THREADS": "1", **quick, **variables}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST") and k not in NOT_A_NEWCOMERS}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=inherited | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed and the new files, without what git ignores."""
    copy = tmp_path_factory.mktemp("tree") / "gencore"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


def ensure_installed(environment: Path, tree: Path) -> None:
    """gencore with what it needs, where the README's test has not run in this process."""
    if not (environment / "bin" / "gencore").exists():
        run("pip install -q -e . -c constraints.txt", environment, tree)


def assert_cpp_kernels_serve(environment: Path, folder: Path) -> None:
    """The install has built them, and "auto" takes them."""
    states = {row["what"]: row["state"] for row in json.loads(run("gencore doctor --json", environment, folder, **CUT))}
    assert states["C++ kernels"].startswith("built for "), states
    assert states["kernel nearest_code"].startswith("compiled: ")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_commands_of_the_readme(tree: Path, environment: Path) -> None:
    """Each `sh` block, in order; after the install the network is cut. Then the Python block. The long training plays
    a thirtieth of its steps."""
    text = (tree / "README.md").read_text()
    assert "--steps 2000 --seed 1 --checkpoint-every 200" in text
    text = text.replace("--steps 2000 --seed 1 --checkpoint-every 200", "--steps 60 --seed 1 --checkpoint-every 20")
    commands = [line for block in blocks(text, "sh") for line in block.splitlines() if line]
    assert commands[0].startswith("pip install -e")
    assert len(commands) > 8
    run(commands[0], environment, tree)
    assert_cpp_kernels_serve(environment, tree)
    outputs = {command: run(command, environment, tree, **CUT) for command in commands[1:]}
    assert (tree / "samples.png").stat().st_size > 10_000
    assert any("torch.Size([16, 1, 32, 32])" in output for output in outputs.values())
    assert "wgan-gp" in outputs["gencore list"]
    (tree / "block.py").write_text("".join(blocks(text, "python")).replace("steps=50", "steps=3"))
    run("python block.py", environment, tree, **CUT)
    run("gencore sample my-lsgan -n 4 -o mine.png", environment, tree, **CUT)


def test_the_wheel_outside_the_tree(tree: Path, environment: Path, tmp_path: Path) -> None:
    """Built from the sdist (`python -m build` does both), installed where no source is in reach."""
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(tree)], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    ensure_installed(environment, tree)
    run(f"pip uninstall -q -y gencore && pip install -q --no-deps {wheel}", environment, tmp_path)
    run("gencore sample dcgan-mnist -n 16 -o out.png", environment, tmp_path, **CUT)
    assert (tmp_path / "out.png").is_file()
    assert_cpp_kernels_serve(environment, tmp_path)
    where = run(
        "python -c 'import gencore, gencore_gan, gencore_hub; print(gencore_gan.__file__)'", environment, tmp_path
    )
    assert "site-packages" in where


def test_a_strangers_plugin(tree: Path, environment: Path, tmp_path: Path) -> None:
    """The template, copied out, installed beside the wheel, found, trained and held to the suite."""
    ensure_installed(environment, tree)
    stranger = tmp_path / "stranger"
    shutil.copytree(tree / "examples" / "plugin-template", stranger)
    run("pip install -q --no-deps .", environment, stranger)
    run(f"pip install -q pytest -c {tree / 'constraints.txt'}", environment, stranger)
    assert "affine-gaussian" in run("gencore plugins", environment, tmp_path)
    run("gencore train affine-gaussian --data digits --steps 20 --out runs/affine", environment, tmp_path, **CUT)
    run("python -m pytest -q -p no:cacheprovider tests", environment, stranger)
    run("gencore sample runs/affine -n 4 -o affine.png", environment, tmp_path, **CUT)
    run("pip uninstall -q -y gencore-affine", environment, tmp_path)
    told = subprocess.run(
        [environment / "bin" / "gencore", "sample", "runs/affine"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert 'pip install "gencore-affine"' in re.sub(r"\s+", " ", told.stderr)


def test_a_strangers_translator(tree: Path, environment: Path, tmp_path: Path) -> None:
    """A paired translator written outside the tree: held to the suite, trained on pairs of files, run on a new picture
    of another size, pushed to a Hub on loopback and pulled from there."""
    ensure_installed(environment, tree)
    stranger = tmp_path / "stranger"
    shutil.copytree(tree / "examples" / "paired-translator", stranger)
    run("pip install -q --no-deps .", environment, stranger)
    run(f"pip install -q pytest -c {tree / 'constraints.txt'}", environment, stranger)
    run("python -m pytest -q -p no:cacheprovider tests", environment, stranger)
    for number in range(6):
        for folder, mode in (("input", "L"), ("target", "RGB")):
            (tmp_path / "pairs" / folder).mkdir(parents=True, exist_ok=True)
            picture = Image.linear_gradient("L").resize((16, 16)).rotate(60 * number).convert(mode)
            picture.save(tmp_path / "pairs" / folder / f"{number}.png")
    sizes = "--steps 5 --batch-size 4 --set width=4 --quiet"
    run(f"gencore train colourizer --data paired:pairs {sizes} --out runs/colour", environment, tmp_path, **CUT)
    Image.linear_gradient("L").resize((30, 22)).save(tmp_path / "new.png")
    run("gencore translate runs/colour new.png -o out.png --quiet", environment, tmp_path, **CUT)
    with Image.open(tmp_path / "out.png") as made:
        assert (made.size, made.mode) == ((30, 22), "RGB")
    with HubServer() as hub:
        client = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        run("gencore push runs/colour org/colour", environment, tmp_path, HF_TOKEN=hub.token, **client)
        run("gencore pull org/colour --out pulled", environment, tmp_path, **client)
    run("gencore translate pulled new.png -o again.png --quiet", environment, tmp_path, **CUT)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()
