"""What several of the hub's tests use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CONFIG = {
    "system": "dcgan",
    "family": "gan",
    "config": {"width": 64, "betas": [0.5, 0.999]},
    "config_version": 1,
    "distribution": {"name": "gencore", "version": "0.1.0"},
}


class Tied(torch.nn.Module):
    """Parameters, a tie, buffers of other dtypes, a scalar and empty tensors."""

    def __init__(self, width: int = 5, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embed = torch.nn.Linear(width, 3, bias=False)
        self.out = torch.nn.Linear(width, 3)
        self.out.weight = self.embed.weight
        self.norm = torch.nn.BatchNorm1d(3)
        self.register_buffer("used", torch.tensor([True, False, True]))
        self.register_buffer("none", torch.empty(0, 4))
        self.register_buffer("also_none", torch.empty(0, 4))
        for tensor in self.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))


def same_state(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and torch.equal(one[name], two[name]) for name in one
    )


class RemoteError(Exception):
    """What a call in another process raised: its class's name and its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text


class Client:
    """A process that runs client.py. `warnings` are those of the last call."""

    def __init__(self, environment: dict[str, str]) -> None:
        script = Path(__file__).with_name("client.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, str(script)], env=environment, text=True, **pipes)
        self.warnings: list[str] = []

    def send(self, call: str, *args: Any, **kwargs: Any) -> None:
        self.process.stdin.write(json.dumps({"call": call, "args": args, "kwargs": kwargs}) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        answer = json.loads(self.process.stdout.readline())
        self.warnings = answer["warnings"]
        if "error" in answer:
            raise RemoteError(answer["error"], answer["text"])
        return answer["value"]

    def call(self, call: str, *args: Any, **kwargs: Any) -> Any:
        self.send(call, *args, **kwargs)
        return self.receive()

    def close(self) -> None:
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def die_at(step: int, write: Callable[[], object]) -> bool:
    """Runs `write` in a child that is killed, without any clean-up, before its `step`-th action on files.

    Returns:
        Whether it was killed: False once it has fewer actions.
    """
    child = os.fork()
    if child == 0:
        try:
            count = 0

            def hook(event: str, args: tuple[object, ...]) -> None:
                nonlocal count
                if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir"):
                    count += 1
                    if count == step:
                        os._exit(9)

            sys.addaudithook(hook)
            write()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9
