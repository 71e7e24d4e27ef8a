"""Run as a script: a process of its own that calls `gencore_hub` as a user would, with the environment it was given.

Each line on stdin is `{"call": name, "args": [...], "kwargs": {...}}`; each line on stdout `{"value": ...}` or
`{"error": class, "text": ...}`, and `warnings`, the texts of those that were raised. NO_SOCKETS=1 cuts the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import warnings
from typing import Any

import gencore_hub


def _cut(*args: object, **kwargs: object) -> None:
    raise AssertionError("the network was touched")


def state_digest(path: str, width: int) -> str:
    """The sha256 of the values of an `nn.Linear(width, width)` that was filled from the directory."""
    import torch

    torch.set_num_threads(1)
    module = torch.nn.Linear(width, width)
    gencore_hub.load_into(path, module, gencore_hub.read_config(path))
    values = [tensor.numpy().tobytes() for tensor in module.state_dict().values()]
    return hashlib.sha256(b"".join(values)).hexdigest()


def is_imported(module: str) -> bool:
    return module in sys.modules


def _serve() -> None:
    calls: dict[str, Any] = {name: getattr(gencore_hub, name) for name in ("locate", "push", "cached", "read_config")}
    calls |= {"state_digest": state_digest, "is_imported": is_imported}
    for line in sys.stdin:
        request = json.loads(line)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = {"value": calls[request["call"]](*request["args"], **request["kwargs"])}
            except Exception as error:
                answer = {"error": type(error).__name__, "text": str(error)}
        answer["warnings"] = [str(item.message) for item in caught if item.category is UserWarning]
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    if os.environ.get("NO_SOCKETS"):
        socket.socket.connect = _cut  # type: ignore[assignment]
        socket.getaddrinfo = _cut  # type: ignore[assignment]
    _serve()
