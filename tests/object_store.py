"""An S3 server on loopback for tests: moto's, with a log of what it was asked, and faults that a test chooses."""

import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

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


class Listing:
    """A store of as many keys as wanted, none of which is kept anywhere: it is listed, and all keys read the same.

    Attributes
    ----------
    keys : how many there are.
    contents : of every object.
    """

    PAGE = 1000

    def __init__(self, keys: int, contents: bytes = b"") -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class KeepsAlive(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.keys, self.contents = keys, contents
        self.server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=KeepsAlive)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _answer(self, environ: dict, start_response) -> Iterator[bytes]:
        if environ["PATH_INFO"].endswith(".jpg"):
            number = int(environ["PATH_INFO"].rpartition("_")[2].removesuffix(".jpg"))
            about = [
                ("Content-Length", str(len(self.contents))),
                ("ETag", f'"{number:032x}"'),
                ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ]
            start_response("200 OK", about)
            return iter([self.contents])
        asked = parse_qs(environ["QUERY_STRING"])
        first = int(asked.get("continuation-token", ["0"])[0])
        end = min(first + self.PAGE, self.keys)
        following = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < self.keys else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>many</Name><Prefix></Prefix><KeyCount>{end - first}</KeyCount><MaxKeys>{self.PAGE}</MaxKeys>"
            f"<IsTruncated>{'true' if following else 'false'}</IsTruncated>{following}"
            + "".join(
                f"<Contents><Key>photos/{number // 10000:04d}/IMG_{number:08d}.jpg</Key>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{number:032x}&quot;</ETag><Size>3500000</Size><StorageClass>STANDARD</StorageClass>"
                "</Contents>"
                for number in range(first, end)
            )
            + "</ListBucketResult>"
        ).encode()
        start_response("200 OK", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return iter([body])

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
    with urlopen(Request(f"{url}/{name}", method="PUT")):
        pass


if __name__ == "__main__":  # in a network namespace of its own: HOST PORT
    alone = Server(sys.argv[1], int(sys.argv[2]))
    print("ready", flush=True)
    alone.server.serve_forever()
