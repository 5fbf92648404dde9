"""An S3 server on loopback for tests: moto's, with a log of what it was asked, and faults that a test chooses."""

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator

TESTS = os.path.dirname(os.path.abspath(__file__))
SECRET = "a-secret-that-must-not-be-written-down"


class Server:
    """An S3 server in this process.

    Attributes
    ----------
    asked : method, path, whether a range was asked for; of every request that reached the store.
    fault : called with method and path; returns a status to answer with instead, or None.
    ignores_conditions : whether it forgets If-None-Match, as some servers do.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else every request is a line
        self._inner = DomainDispatcherApplication(create_backend_app)
        self.asked: list[tuple[str, str, bool]] = []
        self.fault: Callable[[str, str], int | None] = lambda method, path: None
        self.ignores_conditions = False
        self.server = make_server(host, port, self._answer, threaded=True)
        self.url = f"http://{host}:{self.server.port}"

    def _answer(self, environ: dict, start_response) -> Iterator[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        status = self.fault(method, path)
        if status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} Fault", [("Content-Length", "0")])
            return iter([b""])
        if self.ignores_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        self.asked.append((method, path, "HTTP_RANGE" in environ))
        return self._inner(environ, start_response)

    def fetched(self, bucket: str) -> Counter:
        """How often each object of a bucket was read whole: a photograph that is estimated is read once."""
        path = f"/{bucket}/"
        return Counter(
            asked.removeprefix(path)
            for method, asked, ranged in list(self.asked)
            if method == "GET" and asked.startswith(path) and asked != path and not ranged
        )

    def start(self) -> None:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def environment(url: str) -> dict[str, str]:
    """The variables by which clients find the server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


def make_bucket(url: str, name: str) -> None:
    """Make a bucket, which the client of the package cannot."""
    from urllib.request import Request, urlopen

    with urlopen(Request(f"{url}/{name}", method="PUT")):
        pass


if __name__ == "__main__":  # in a network namespace of its own: HOST PORT
    alone = Server(sys.argv[1], int(sys.argv[2]))
    print("ready", flush=True)
    alone.server.serve_forever()
