"""config.json from a stranger: read, or refused at once with one of our errors. Nothing is written, nothing is run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gencore
from gencore.testing.conformance import tiny_model

from .hostile import MUST_BE_QUICK, configs, contents, put

SYSTEMS = ("dcgan", "gan", "vq-vae", "iaf-vae", "ddpm")
UNWANTED = ("subprocess.Popen", "os.system", "os.exec", "os.mkdir", "os.rename", "os.remove", "socket.connect")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`saved(system)`: the directory of its tiny model."""
    root = tmp_path_factory.mktemp("hostile")

    def find(system: str) -> Path:
        if not (root / system).exists():
            tiny_model(system).save_pretrained(root / system)
        return root / system

    return find


def attempt(folder: Path) -> ValueError | None:
    """Load it; the error, which must be a ValueError and come soon."""
    began = time.monotonic()
    try:
        gencore.from_pretrained(folder)
    except ValueError as error:
        return error
    finally:
        assert time.monotonic() - began < MUST_BE_QUICK
    return None


@pytest.fixture(scope="module")
def audited() -> list[str]:
    """What the process did that loading has no business doing, while the list is not full of it."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(UNWANTED) or (
            event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in "wax"
        ):
            seen.append(f"{event} {arguments}")

    sys.addaudithook(hook)
    return seen


@pytest.mark.parametrize("system", SYSTEMS)
def test_fuzzed_configs(system: str, saved: Callable[[str], Path], audited: list[str], tmp_path: Path) -> None:
    folder = saved(system)
    original = (folder / "config.json").read_bytes()
    state = torch.get_rng_state()

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def fuzz(data: st.DataObject) -> None:
        hostile = data.draw(configs(json.loads(original)))
        (folder / "config.json").write_bytes(hostile)
        before = contents(folder)
        audited.clear()
        attempt(folder)
        assert audited == []
        assert contents(folder) == before

    try:
        fuzz()
    finally:
        (folder / "config.json").write_bytes(original)
    assert torch.equal(torch.get_rng_state(), state)
    assert attempt(folder) is None


@pytest.mark.parametrize(
    ("system", "path", "value"),
    [
        ("vq-vae", ("prior_layers",), 10**9),
        ("vq-vae", ("prior_layers",), 2**24),
        ("vq-vae", ("width",), 10**9),
        ("dcgan", ("width",), 2**24),
        ("dcgan", ("latent_dim",), 10**18),
        ("ddpm", ("network", "blocks"), 10**6),
        ("ddpm", ("num_timesteps",), 10**10),
        ("iaf-vae", ("flow_steps",), 2**24),
        ("iaf-vae", ("flow_hidden",), [1] * 5000),
        ("gan", ("hidden",), [1] * 100_000),
        ("gan", ("hidden",), [2**24, 2**24]),
    ],
)
def test_a_huge_declaration_is_refused_at_once(
    system: str, path: tuple[str, ...], value: object, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """Before anything is allocated, and before a loop of 10^9 layers begins."""
    config = json.loads((saved(system) / "config.json").read_text())
    for name in ("model.safetensors", "README.md"):
        (tmp_path / name).write_bytes((saved(system) / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(put(config, ("config", *path), value)))
    assert "do not belong together" in str(attempt(tmp_path))


def test_loading_another_model_meanwhile_is_not_counted(saved: Callable[[str], Path]) -> None:
    """The limits hold for the thread that loads: what another builds at that time is its own affair."""
    import threading

    from gencore.pretrained import _Limits
    from gencore_hub import read_config

    failed: list[BaseException] = []

    def build() -> None:
        try:
            torch.nn.Sequential(*[torch.nn.Identity() for _ in range(20_000)])
        except BaseException as error:
            failed.append(error)

    with _Limits(saved("gan"), read_config(saved("gan"))):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert failed == []
