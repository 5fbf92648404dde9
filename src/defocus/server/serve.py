"""Running the server on 127.0.0.1, and opening the page in the browser of the person at this computer."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvicorn

from defocus.errors import DefocusError
from defocus.server.app import application
from defocus.server.guard import Guard
from defocus.server.shoot import Shoot

__all__ = ["PortError", "serve"]

_ADDRESS = "127.0.0.1"
_LEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>defocus</title>
</head>
<body><p><a href="{address}">Open the photographs</a></p></body>
</html>
"""


class PortError(DefocusError):
    """The port cannot be used."""


class _Server(uvicorn.Server):
    """A server that ends with its photographs, and ends what is going on with them when it is told to end."""

    def __init__(self, config: uvicorn.Config, shoot: Shoot) -> None:
        super().__init__(config)
        self._shoot = shoot

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of Ctrl-C or SIGTERM, which is raised again once everything has ended."""
        self._shoot.closing = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end."""
        return self._shoot.closing or await super().on_tick(counter)


def serve(
    shoot: Shoot,
    *,
    port: int = 0,
    open_browser: bool = True,
    started: Callable[[str, bool], None] = lambda address, opened: None,
    fault: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Serve a page of photographs until the process is interrupted, or they are closed.

    Parameters
    ----------
    shoot : the photographs; reading of them begins, and they are closed at the end.
    port : port on 127.0.0.1; 0 for one that is free.
    open_browser : open the page in the person's browser.
    started : called once requests are answered, with the address of the page, which holds its token, and whether a
        browser was opened.
    fault : called with a sentence for each request that failed by a fault of this package.

    Raises
    ------
    PortError
        If the port is taken or not allowed.
    KeyboardInterrupt
        After Ctrl-C.
    """
    # What the library remarks is not for the user's terminal; programs with logging of their own get it.
    for name in ("uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(32)
        address = f"http://{_ADDRESS}:{port}/#{token}"
        lead = _Lead(address)
        app = Guard(application(shoot, fault), port, token, entered=lead.remove)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=100,
            timeout_graceful_shutdown=5,
        )
        server = _Server(config, shoot)

        def begin() -> None:
            while not server.started and not shoot.closing:
                time.sleep(0.02)
            if shoot.closing:
                return
            opened = open_browser and lead.open()
            started(address, opened)

        # A browser of the terminal does not return before it is closed.
        threading.Thread(target=begin, name="defocus browser", daemon=True).start()
        shoot.start()
        try:
            server.run(sockets=[listener])
        finally:
            lead.remove()
            shoot.close()


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        if os.name == "posix":  # elsewhere this would let other programs take the port over
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_ADDRESS, port))
        except OSError as error:
            raise PortError(
                f"Port {port} cannot be used ({error.strerror}): choose another with --port, or leave it out."
            ) from error
        yield listener


class _Lead:
    """A file that leads the browser to the page.

    The token in the address must not stand among the arguments of a process, which all users of the computer can see;
    the file can be read by this user alone, and is removed when the page has asked for the first photograph.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._path: Path | None = None

    def open(self) -> bool:
        """Open the page; return whether there is a browser."""
        # A browser that is a snap sees neither the temporary folder nor hidden ones.
        folder = Path.home() if Path("/snap/bin").is_dir() and os.access(Path.home(), os.W_OK) else None
        descriptor, name = tempfile.mkstemp(prefix="defocus-", suffix=".html", dir=folder)  # of mode 0600
        self._path = Path(name)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(_LEAD.format(address=self._address))
        try:
            opened = webbrowser.open(self._path.as_uri())
        except webbrowser.Error:
            opened = False
        if not opened:
            self.remove()
        return opened

    def remove(self) -> None:
        """Remove the file, if it is there."""
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                path.unlink()
