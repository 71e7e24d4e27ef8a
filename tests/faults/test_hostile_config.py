"""config.json from a stranger: read, or refused at once with one of our errors. Nothing is written, nothing is run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gencore
from gencore.testing.conformance import tiny_model

from .hostile import MUST_BE_QUICK, OURS, Watch, configs, contents, lay_traps, put

SYSTEMS = ("dcgan", "gan", "vq-vae", "iaf-vae", "ddpm")


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
    """Load it; the error, which must be one of ours and come soon."""
    began = time.monotonic()
    try:
        gencore.from_pretrained(folder)
    except OURS as error:
        return error
    finally:
        assert time.monotonic() - began < MUST_BE_QUICK
    return None


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.mark.parametrize("system", SYSTEMS)
def test_fuzzed_configs(system: str, saved: Callable[[str], Path], watch: Watch, tmp_path: Path) -> None:
    folder = saved(system)
    lay_traps(folder)
    original = (folder / "config.json").read_bytes()
    state = torch.get_rng_state()

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def fuzz(data: st.DataObject) -> None:
        hostile = data.draw(configs(json.loads(original)))
        (folder / "config.json").write_bytes(hostile)
        before = contents(folder)
        with watch:
            attempt(folder)
        assert watch.seen == []
        assert contents(folder) == before

    try:
        fuzz()
    finally:
        (folder / "config.json").write_bytes(original)
    assert torch.equal(torch.get_rng_state(), state)
    assert attempt(folder) is None


def test_the_watch_sees(watch: Watch, tmp_path: Path) -> None:
    """What it must not miss: a pickle that runs a program, and a file written by either way of opening."""
    import os
    import pickle

    from .hostile import PICKLE

    with watch:
        pickle.loads(PICKLE)
    assert [line.split()[0] for line in watch.seen] == ["pickle.find_class", "os.system"]
    with watch:
        (tmp_path / "a").write_bytes(b"")
        os.close(os.open(tmp_path / "b", os.O_WRONLY | os.O_CREAT))
        (tmp_path / "a").read_bytes()
    assert len(watch.seen) == 2


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
        ("gan", ("hidden",), [2048] * 12),
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
    told = str(attempt(tmp_path))
    assert "do not belong together" in told
    assert "cannot be built" not in told


def test_loading_another_model_meanwhile_is_not_counted(saved: Callable[[str], Path]) -> None:
    """The limits hold for the thread that loads: what another builds at that time is its own affair."""
    import threading

    from gencore.building import Limits
    from gencore_hub import read_config

    failed: list[BaseException] = []

    def build() -> None:
        try:
            torch.nn.Sequential(*[torch.nn.Identity() for _ in range(20_000)])
        except BaseException as error:
            failed.append(error)

    with Limits(saved("gan"), read_config(saved("gan"))):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert failed == []
