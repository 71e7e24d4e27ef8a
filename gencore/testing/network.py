"""The network cut, for tests: what loads must load without it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock


@contextlib.contextmanager
def no_network() -> Iterator[None]:
    """Inside the `with`, every attempt to connect a socket or to look up a name raises AssertionError."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"a connection was attempted: {arguments}")

    with (
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
    ):
        yield
