"""`gencore explore` as a process: it says where it listens, answers there, and ends by a signal."""

from __future__ import annotations

import functools
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("fastapi")

from gencore.cli.app import app
from gencore.errors import GencoreError
from gencore.explorer.serving import is_loopback, listening
from tests.cli.running import run


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """The address that the command prints."""
    command = [sys.executable, "-m", "gencore", "explore", "dcgan-mnist", "--port", "0", *words]
    # A test run in the background has SIGINT ignored, and its children inherit that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"Open (http://\S+)\n", process.stdout.readline())
            assert found
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 128 + signal.SIGINT


def test_it_answers_this_machine_and_ends() -> None:
    with serving() as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert b"Samples of dcgan-mnist" in answer.read()


def test_elsewhere_it_asks_for_the_token() -> None:
    with serving("--host", "0.0.0.0") as address:
        here = address.replace("0.0.0.0", "127.0.0.1")
        plain, token = here.split("?token=")
        assert len(token) >= 32
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(plain)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(here) as answer:
            assert "token" not in answer.url
            assert b"Samples of dcgan-mnist" in answer.read()


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_which_addresses_other_machines_reach(host: str, local: bool) -> None:
    assert is_loopback(host) == local


def test_what_cannot_be_served_is_said() -> None:
    with pytest.raises(GencoreError, match="--port"):
        run(app, "explore", "dcgan-mnist", "--port", 70000)
    with pytest.raises(ValueError, match="no-such-model"):
        run(app, "explore", "no-such-model", "--port", 0)
    with listening("127.0.0.1", 0) as taken, pytest.raises(GencoreError, match="choose another --port"):
        run(app, "explore", "dcgan-mnist", "--port", taken.getsockname()[1])


def test_nothing_else_needs_the_server() -> None:
    """`import gencore` and the command line do without FastAPI."""
    code = "import gencore, gencore.cli.app, sys; print({'fastapi', 'uvicorn', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
