"""Run as a script: a user's process. `push PREFIX SYSTEM...` publishes tiny models, `publish NAME SYSTEM JSON` one with
a grid of samples and the options of push_to_hub, `load NAME...` loads models, `commands JSON` runs command lines.
Prints one JSON object. NO_SOCKETS=1 cuts the network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from typing import Any

import torch

import gencore
from gencore.testing.conformance import tiny_model
from gencore.testing.network import no_network


def digest(model: torch.nn.Module) -> str:
    state = hashlib.sha256(repr(model.config).encode())  # type: ignore[union-attr]
    for name, tensor in model.state_dict().items():
        state.update(name.encode() + tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def push(prefix: str, *systems: str) -> dict[str, Any]:
    pushed = {}
    for system in systems:
        model = tiny_model(system)
        model.push_to_hub(prefix + system)
        pushed[system] = digest(model)
    return pushed


def publish(name: str, system: str, options: str) -> str:
    model = tiny_model(system)
    return model.push_to_hub(name, samples=model.sample(4, seed=0), **json.loads(options))


def load(*names: str) -> dict[str, Any]:
    return {name: digest(gencore.from_pretrained(name)) for name in names}


def commands(lines: str) -> list[Any]:
    """[output, None or the error's class and text] of each command line."""
    import typer
    from typer.testing import CliRunner

    from gencore.cli import hub

    app = typer.Typer()
    hub.register(app)
    answers = []
    for line in json.loads(lines):
        result = CliRunner().invoke(app, line)
        failed = result.exception if result.exit_code else None
        answers.append([result.stdout, failed and f"{type(failed).__name__}: {failed} {result.stderr}"])
    return answers


if __name__ == "__main__":
    torch.set_num_threads(1)
    with no_network() if os.environ.get("NO_SOCKETS") else contextlib.nullcontext():
        result = {"push": push, "publish": publish, "load": load, "commands": commands}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(result) + "\n")
