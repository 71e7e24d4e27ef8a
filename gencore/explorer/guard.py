"""Who may ask, and for how much: the names that a browser may call the server by, a token, sizes, headers.

On the loopback address, a page of another site could make the browser of this machine ask too. It is refused by the
name in `Host` (a name of its own that leads here: DNS rebinding) and by `Sec-Fetch-Site` and `Origin`.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
COOKIE = "gencore-token"
MAX_BODY = 64 * 2**20
HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TooLargeError(Exception):
    """A request of more than MAX_BODY bytes."""


class Guard:
    """Around an ASGI app. `token`: what every request must bring, in `?token=` once, then in a cookie; None: nothing,
    and only the loopback address' names are answered."""

    def __init__(self, app: App, *, token: str | None, max_body: int = MAX_BODY) -> None:
        self.app, self.token, self.max_body = app, token, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(scope, headers):
            await _answer(send, *refusal)
            return
        if self.token is not None and "token" in parse_qs(scope["query_string"].decode("latin-1")):
            await self._welcome(scope, send)
            return
        await self._pass_on(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.token is None and _name(host) not in LOOPBACK:
            return 403, "This server answers on the loopback address only, as http://127.0.0.1."
        if _foreign(headers, host) and scope["method"] != "GET":
            return 403, "This request comes from another site."
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return 403, "This request comes from another site."
        if self.token is not None and not self._knows(scope, headers):
            return 403, "A token is needed: open the address that `gencore explore` has printed."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_body:
            return 413, self.too_large
        return None

    def _knows(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE:
                given = given or value
        return secrets.compare_digest(given.encode(), str(self.token).encode())

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """The token goes from the address, which is shown and kept in the history, into a cookie."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        query.pop("token")
        rest = urlencode(query, doseq=True)
        path = "/" + quote(scope["path"].lstrip("/"))
        location = (path + (f"?{rest}" if rest else "")).encode("ascii")
        cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/".encode("latin-1")
        await _answer(send, 303, "", {b"location": location, b"set-cookie": cookie})

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_body:
                raise TooLargeError
            return message

        async def headed(message: Message) -> None:
            if seen > self.max_body:
                return  # the app's answer to the error
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS.items()]
            await send(message)

        with contextlib.suppress(TooLargeError):
            await self.app(scope, counted, headed)
        if seen > self.max_body:
            await _answer(send, 413, self.too_large)

    @property
    def too_large(self) -> str:
        """What is said of too large a request."""
        return f"The files are too large: {self.max_body / 2**20:g} MB together at most."


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(24)


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    return host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdecimal() else host


def _foreign(headers: Mapping[str, str], host: str) -> bool:
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != host


async def _answer(send: Send, status: int, text: str, more: Mapping[bytes, bytes] = {}) -> None:
    body = f'<p role="alert" class="error">{text}</p>'.encode() if text else b""
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *HEADERS.items(),
        *more.items(),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
