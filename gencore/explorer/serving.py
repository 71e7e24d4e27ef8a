"""The explorer on an address of this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import python_multipart as python_multipart  # what forms are read with: asked for here, where its absence is explained
import uvicorn

from gencore.errors import GencoreError
from gencore.explorer.guard import new_token
from gencore.explorer.server import create_app


def serve(words: list[str], host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve models and runs until a signal ends it; `say` is told where. On another address than the loopback one,
    browsers must bring a token. Raises GencoreError where the address cannot be had, or what create_app raises."""
    if not 0 <= port < 65536:
        raise GencoreError(f"--port is {port}; expected 0 to 65535.")
    token = None if is_loopback(host) else new_token()
    with listening(host, port) as door:
        app = create_app(words, token=token)
        shown = f"[{host}]" if ":" in host else host
        query = "" if token is None else f"?token={token}"
        say(f"Open http://{shown}:{door.getsockname()[1]}/{query}\nStop with Ctrl+C.")
        config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False)
        uvicorn.Server(config).run(sockets=[door])


def is_loopback(host: str) -> bool:
    """Whether no other machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises GencoreError where the address cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise GencoreError(
            f"{host}:{port} cannot be listened on ({error}): choose another --port, or 0 for a free one."
        ) from error
