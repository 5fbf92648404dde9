"""What every request has to pass before it reaches the page: only the browser of the person at this computer does.

Any site that a browser shows can send requests to 127.0.0.1, and a site's name can be made to mean 127.0.0.1 (DNS
rebinding). So the host has to be the very address, requests from other sites are refused, and all but the empty page
needs a token that only the person's own browser was given. Other users of the computer do not have it either.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MOST_BYTES", "TOKEN_HEADER", "Guard"]

MOST_BYTES = 2**22
"""Largest size in bytes of what is sent to the server."""
TOKEN_HEADER = "X-Defocus-Token"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": _POLICY.encode("ascii"),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
_METHODS = ("GET", "HEAD", "POST")


class _Refused(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """An application that lets only proper requests through to another, and puts safe headers on all answers.

    Parameters
    ----------
    app : the application behind it.
    port : port that it is reached at, on 127.0.0.1.
    token : what requests to /api have to bring in the header `TOKEN_HEADER`.
    entered : called with each request that brought the token.
    """

    def __init__(self, app: ASGIApp, port: int, token: str, entered: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._host = f"127.0.0.1:{port}".encode("ascii")
        self._token = token.encode("ascii")
        self._entered = entered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets here
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message["headers"] if name.lower() not in _HEADERS]
                message = {**message, "headers": [*own, *_HEADERS.items()]}
            await send(message)

        try:
            self._check(scope)
            if scope["method"] == "POST":
                receive = _again(await _body(scope, receive))
        except _Refused as refused:
            await _answer(send_safely, refused)
            return
        # A fault of the application has been answered, and said, when it arrives here.
        with suppress(Exception):
            await self._app(scope, receive, send_safely)

    def _check(self, scope: Scope) -> None:
        """Refuse what does not come from the page itself."""

        def all_of(name: bytes) -> list[bytes]:
            return [value for key, value in scope["headers"] if key.lower() == name]

        if all_of(b"host") != [self._host]:
            raise _Refused(421, f"This server is {self._host.decode()} and nothing else: use the address it printed.")
        if scope["method"] not in _METHODS:
            raise _Refused(405, "Only GET, HEAD and POST are answered here.")
        if any(origin != b"http://" + self._host for origin in all_of(b"origin")):
            raise _Refused(403, "Other sites get no answer here.")
        # The page itself, without any photograph, may be opened from elsewhere: from the file that leads to it.
        opened = scope["path"] == "/" and all_of(b"sec-fetch-mode") == [b"navigate"]
        if not opened and any(site not in (b"same-origin", b"none") for site in all_of(b"sec-fetch-site")):
            raise _Refused(403, "Other sites get no answer here.")
        if not scope["path"].startswith("/api/"):
            return
        tokens = all_of(TOKEN_HEADER.lower().encode("ascii"))
        if len(tokens) != 1 or not secrets.compare_digest(tokens[0], self._token):
            raise _Refused(401, "The page is not allowed in any more: open the address that defocus printed.")
        self._entered()


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The body of a request: JSON of a bounded size, also where it does not say how long it is."""
    headers = {key.lower(): value for key, value in scope["headers"]}
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        raise _Refused(415, "Only JSON is taken here.")
    too_long = _Refused(413, f"This is too much: {MOST_BYTES} bytes at most are taken here.")
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit() or int(stated) > MOST_BYTES:
        raise too_long
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "The request was broken off.")
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise too_long
        if not message.get("more_body", False):
            return body


def _again(body: bytes) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    return receive


async def _answer(send: Send, refused: _Refused) -> None:
    body = json.dumps({"error": str(refused)}).encode("ascii")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"connection", b"close"),  # what is still to come of the request is not read
    ]
    if refused.status == 405:
        headers.append((b"allow", ", ".join(_METHODS).encode("ascii")))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
