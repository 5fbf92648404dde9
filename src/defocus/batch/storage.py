"""Where a run reads and writes: S3, Google Cloud, Azure, HTTP or a folder, behind the few operations a run needs.

The client is obstore. Nothing else of this package names it, so that what a store is asked for can be read here: list,
read (if unchanged), write, and create a key that nobody else has created.
"""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from defocus.errors import DefocusError, ParameterError

__all__ = [
    "ChangedError",
    "DeniedError",
    "Entry",
    "KeyNameError",
    "MissingKeyError",
    "StorageError",
    "Store",
    "UnreadableError",
    "checked_url",
]

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "http", "https", "file")
_ATTEMPTS = 6
"""Attempts at creating a key while the store answers that another request for it is under way (409)."""
_FIRST_PAUSE = 0.1
"""Pause in seconds before the second attempt; each further one is twice as long."""
_RETRIES = 8
_RETRY_SECONDS = 60
"""Retries of one request after 429 and 5xx, by the client with growing pauses, and the seconds they may take."""
_LISTED_AT_ONCE = 1000
_WHOLE = 2**26
"""Bytes of an open file up to which it is written by one request."""
_NAME_REFUSED = re.compile(r"\(os error (?:36|63|123|206)\)|Filenames containing trailing|KeyTooLong")
"""What the client says of names that are too long for a file system or for S3, or that it does not take itself."""
_METADATA_ADDRESS = "169.254.169.254"
"""Where the client asks for a machine's role when the environment holds no credentials."""
_TOLD = re.compile("<Message>(.+?)</Message>", re.DOTALL)
_NAME_LISTED = re.compile(r'Path "(.*?)"', re.DOTALL)
PIECE = 16384
"""Bytes that are read at once of an object that is not read whole."""


class StorageError(DefocusError):
    """The store cannot be reached, refuses, or failed in spite of retries; another attempt may succeed."""


class MissingKeyError(StorageError):
    """There is no such key."""


class ChangedError(StorageError):
    """The object is no longer what it was when it was listed."""


class KeyNameError(StorageError):
    """The store cannot have a key of this name: an empty part, ``.`` or ``..``, a control character, too long."""


class UnreadableError(StorageError):
    """The object is there but is not handed out: an archive holds it, or a file's permissions forbid reading it."""


class DeniedError(StorageError):
    """The credentials do not allow it: because they are not those, or have expired, or for this object alone."""


@dataclass(frozen=True)
class Entry:
    """One object, as it was listed or read.

    Attributes
    ----------
    key : its name within the store, with ``/`` between the parts.
    size : bytes.
    etag : what the store calls this state of the object; None where it does not tell.
    modified : when it was written; None where it was not asked for.
    """

    key: str
    size: int | None
    etag: str | None
    modified: datetime | None = None


def checked_url(url: str) -> str:
    """Return the address of a store as it may be written down: a folder's as an absolute path, without secrets.

    Parameters
    ----------
    url : ``s3://``, ``gs://``, ``az://``, ``http://``, ``https://`` or ``file://``, or the path of a folder.

    Raises
    ------
    ParameterError
        If the scheme is unknown, or the address holds a password, a token or a signature.

    Examples
    --------
    >>> checked_url("s3://photos/2024/")
    's3://photos/2024'
    >>> checked_url("https://me:secret@example.org/photos")
    Traceback (most recent call last):
    ...
    defocus.errors.ParameterError: The address of example.org holds a password, token or signature, which a plan must \
not keep: give it without, and the credentials in the environment.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", url) is None:
        return str(Path(url).absolute())
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ParameterError(
            f"{parts.scheme}:// is no storage that a run can use: give s3://, gs://, az://, https:// or a folder."
        )
    # Azure's own addresses name a container before the @.
    secret = parts.password is not None or (parts.username is not None and parts.scheme in ("http", "https"))
    if secret or parts.query or parts.fragment:
        raise ParameterError(
            f"The address of {parts.hostname} holds a password, token or signature, which a plan must not keep: give "
            "it without, and the credentials in the environment."
        )
    if parts.scheme == "file":
        return str(Path(unquote(parts.path)))
    return url.rstrip("/")


class Store:
    """A bucket with a prefix, or a folder.

    Parameters
    ----------
    url : as `checked_url` returns it. Credentials, the region and the endpoint come from the environment, as the
        cloud's own tools have them (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``,
        ``AZURE_STORAGE_ACCOUNT_NAME``, ...).
    make : make the folder of a local store if it is missing.

    Raises
    ------
    ParameterError
        If obstore is not installed, or the folder is missing.
    StorageError
        If the environment lacks what the store needs.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     store.create("a/b.txt", b"1"), store.create("a/b.txt", b"2"), store.read("a/b.txt")[0]
    (True, False, b'1')
    """

    def __init__(self, url: str, *, make: bool = False) -> None:
        try:
            import obstore
            from obstore import store as stores
        except ModuleNotFoundError as error:
            raise ParameterError(
                "Runs over object storage need two more packages: pip install 'defocus[batch]', or pip install "
                "obstore pyarrow."
            ) from error
        self.url = url
        self._client = obstore
        self._store: Any
        if "://" not in url:
            if not make and not Path(url).is_dir():
                raise ParameterError(f"There is no folder {url}.")
            try:
                Path(url).mkdir(parents=True, exist_ok=True)
                self._store = stores.LocalStore(url)
            except (OSError, obstore.exceptions.BaseError) as error:
                raise StorageError(f"The folder {url} cannot be used: {_reason(error)}.") from error
            return
        retries: Any = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)}
        try:
            # An endpoint without TLS is used only where the environment names one, as for a server of one's own.
            self._store = stores.from_url(
                url, retry_config=retries, client_options={"timeout": "120s", "allow_http": True}
            )
        except (ValueError, obstore.exceptions.BaseError) as error:
            raise StorageError(f"{url} cannot be opened: {_reason(error)}.") from error

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield what lies below a prefix, in the store's order, a page at a time: memory does not grow.

        Parameters
        ----------
        prefix : whole parts of a key, such as "rows".

        Raises
        ------
        StorageError
            If the store fails or may not be listed.
        """
        try:
            for page in self._client.list(self._store, prefix=prefix or None, chunk_size=_LISTED_AT_ONCE):
                for each in page:
                    yield Entry(each["path"], each["size"], each["e_tag"], each["last_modified"])
        except (OSError, ValueError, self._client.exceptions.BaseError) as error:
            listed = _NAME_LISTED.search(str(error))
            # A folder may hold any name, and one that a store cannot have ends the list.
            if listed is not None and isinstance(error, self._client.exceptions.InvalidPathError):
                raise KeyNameError(
                    f"Cannot list {self.url}: it holds {listed[1].lstrip('/')}, a name that storage cannot have. "
                    "Rename it, or name the photographs by --keys."
                ) from error
            raise self._failure(f"list {prefix or 'all keys'}", error) from error

    def read(self, key: str, *, etag: str | None = None) -> tuple[bytes, Entry]:
        """Return an object's bytes, and what it was when they were read.

        Parameters
        ----------
        key : its name.
        etag : read it only if it is still in this state.

        Raises
        ------
        MissingKeyError, ChangedError, KeyNameError, UnreadableError, StorageError
            If it is not there, in another state, has no name that can be asked for, is not handed out, or the store
            fails.
        """
        try:
            got = self._client.get(self._store, key, options=None if etag is None else {"if_match": etag})
            contents = bytes(got.bytes())
        except (OSError, ValueError, self._client.exceptions.BaseError) as error:
            raise self._failure(f"read {key}", error) from error
        return contents, Entry(key, got.meta["size"], got.meta["e_tag"], got.meta["last_modified"])

    def open(self, key: str, piece: int = PIECE) -> BinaryIO | None:
        """Return an object as a file that is read in pieces, the first of them now; None if it is not there.

        Parameters
        ----------
        key : its name.
        piece : size of a piece in bytes; what is read beyond one is asked for at once.

        Raises
        ------
        StorageError
            If the store fails, now or when the file is read.
        """
        try:
            return cast(BinaryIO, io.BufferedReader(_Pieces(self, key, piece), piece))
        except MissingKeyError:
            return None

    def read_part(self, key: str, start: int, end: int) -> tuple[bytes, int]:
        """Return the bytes of an object from `start` to before `end`, and its whole size in bytes."""
        try:
            got = self._client.get(self._store, key, options={"range": (start, end)})
            return bytes(got.bytes()), int(got.meta["size"])
        except (OSError, ValueError, self._client.exceptions.BaseError) as error:
            raise self._failure(f"read {key}", error) from error

    def find(self, key: str) -> Entry | None:
        """Return what is known of an object without reading it; None if it is not there."""
        try:
            found = self._client.head(self._store, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, self._client.exceptions.BaseError) as error:
            raise self._failure(f"look for {key}", error) from error
        return Entry(key, found["size"], found["e_tag"], found["last_modified"])

    def has(self, key: str) -> bool:
        """Tell whether there is such a key."""
        return self.find(key) is not None

    def has_left(self) -> bool:
        """Tell whether this is a folder that is missing or empty by now, as that of a disk that was taken away."""
        return "://" not in self.url and not (Path(self.url).is_dir() and any(Path(self.url).iterdir()))

    def write(self, key: str, contents: bytes | Path | BinaryIO) -> None:
        """Write an object, whole or not at all, replacing what is there.

        Parameters
        ----------
        key : its name.
        contents : bytes, or a file: by its path, or open for reading, of which all is written wherever it is at.
        """
        whole: Any = contents
        try:
            if not isinstance(contents, bytes | Path):
                size = contents.seek(0, io.SEEK_END)
                contents.seek(0)
                # One request while that needs little memory; larger files go in pieces, and appear at the end.
                whole = contents.read() if size <= _WHOLE else contents
            self._client.put(self._store, key, whole)
        except (OSError, ValueError, self._client.exceptions.BaseError) as error:
            raise self._failure(f"write {key}", error) from error

    def create(self, key: str, contents: bytes) -> bool:
        """Write an object that nobody has written yet.

        A request that was sent twice, because the first answer was lost, may be answered by False although it was this
        one that wrote: who must know compares what is there.

        Returns
        -------
        bool
            True if this call wrote it; False if it was there.

        Raises
        ------
        StorageError
            If the store fails, or still has other requests for this key under way after several attempts.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self._client.put(self._store, key, contents, mode="create")
                return True
            except self._client.exceptions.AlreadyExistsError:
                # The client says so for 409 too, by which S3 means that another request for the key is under way, and
                # that one may yet fail.
                if self.has(key):
                    return False
            except self._client.exceptions.NotSupportedError as error:
                raise StorageError(
                    f"{self.url} cannot create a key only if it is absent: use another store."
                ) from error
            except (OSError, ValueError, self._client.exceptions.BaseError) as error:
                raise self._failure(f"create {key}", error) from error
            time.sleep(_FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5))
        raise StorageError(f"{self.url} answered {_ATTEMPTS} times that others are writing {key}: try again later.")

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""
        try:
            self._client.delete(self._store, key)
        except FileNotFoundError:
            return
        except (OSError, ValueError, self._client.exceptions.BaseError) as error:
            raise self._failure(f"remove {key}", error) from error

    def _failure(self, what: str, error: Exception) -> StorageError:
        exceptions = self._client.exceptions
        kind: type[StorageError] = StorageError
        reason, text = _reason(error), str(error)
        if isinstance(error, FileNotFoundError):
            kind, reason = MissingKeyError, "it is not there"
        elif isinstance(error, exceptions.PreconditionError):
            kind, reason = ChangedError, "it has changed since it was listed"
        elif "InvalidObjectState" in text:
            kind, reason = UnreadableError, "it is archived, and has to be restored first"
        elif isinstance(error, PermissionError) or "(os error 13)" in text:
            kind, reason = UnreadableError, "its permissions do not allow it"
        elif isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            kind, reason = DeniedError, "the credentials in the environment do not allow it"
        elif _METADATA_ADDRESS in text:
            reason = (
                "neither the environment nor a role of this machine gives credentials (for S3: AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY)"
            )
        elif isinstance(error, ValueError) or _NAME_REFUSED.search(text):
            kind, reason = KeyNameError, "storage cannot have this name"
        return kind(f"Cannot {what} in {self.url}: {reason}.")


class _Pieces(io.RawIOBase):
    """An object of a store as a file, of which the first piece is kept."""

    def __init__(self, store: Store, key: str, piece: int) -> None:
        self._store, self._key, self._at = store, key, 0
        self._first, self._size = store.read_part(key, 0, piece)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        kept = self._first[self._at : end]
        part = kept if len(kept) == end - self._at else self._store.read_part(self._key, self._at, end)[0]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _reason(error: Exception) -> str:
    """Return the first sentence of an error: what follows is for those who debug the client."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "<Code>NoSuchBucket</Code>" in str(error):
        return "there is no such bucket"
    told = _TOLD.search(str(error))  # by the store, behind what the client has to say
    if told is not None:
        return " ".join(told[1].split()).rstrip(".")
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[0].split()).rstrip(".")
