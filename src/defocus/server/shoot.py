"""The photographs of a page: what is known of each, the queue of those to be read, and what is kept in memory."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from defocus.culling.bursts import Shot, bursts
from defocus.culling.sidecars import REJECTED, read_rating, write_rating
from defocus.errors import DefocusError, ParameterError, PhotographError
from defocus.maps.defocus_map import DefocusMap
from defocus.maps.map_file import load
from defocus.maps.strokes import Strokes, corrected
from defocus.methods.session import Device
from defocus.outputs import MAP_ENDING, STROKES_ENDING, with_ending
from defocus.pages.pictures import PagePhotograph, crop_jpeg, photograph_jpeg
from defocus.photograph import Photograph, read_photograph
from defocus.photograph.reduced import read_reduced
from defocus.provenance import is_output
from defocus.runtime.cores import available_cores
from defocus.runtime.processes import Worker, WorkerLost
from defocus.server.readings import FullJob, Job, QuickJob, Reading, read

__all__ = ["ChangedMeanwhileError", "NotReadyError", "Settings", "Shoot"]

_AHEAD = 12
"""Number of photographs up to which all maps are made before they are asked for; of more only the quick readings."""
_PHOTOGRAPHS, _PAGES, _PREVIEWS = 2, 3, 2000
"""How many decoded photographs, photographs at the size of a page, and encoded previews are kept."""

Value = TypeVar("Value")


class NotReadyError(DefocusError):
    """The map of a photograph is not there yet, or the server is being ended."""


class ChangedMeanwhileError(DefocusError):
    """What a request began from is not there any more: another page or another program has changed it."""


@dataclass(frozen=True)
class Settings:
    """How photographs are read.

    Attributes
    ----------
    recipe : how maps are made, as `map_recipe` returns it.
    device : what the network is run on.
    max_pixels, strict : as for `read_photograph`.
    maps : folder for maps that are made; it belongs to this run.
    keep_maps : whether maps go among the exports instead, where other commands find them.
    """

    recipe: Mapping[str, Any]
    maps: Path
    device: Device = "auto"
    max_pixels: int | None = None
    strict: bool = False
    keep_maps: bool = False


@dataclass
class _Shown:
    """One photograph."""

    path: Path
    stem: Path
    state: str = "waiting"
    error: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    sha256: str | None = None
    map_file: Path | None = None
    shot: Shot | None = None
    burst: int | None = None
    strokes_version: str | None = None


class _Kept(Generic[Value]):
    """The last few results of a function of a number; one that several threads ask for is made once."""

    def __init__(self, most: int, make: Callable[[int], Value]) -> None:
        self._most, self._make = most, make
        self._lock = threading.Lock()
        self._values: OrderedDict[int, Value] = OrderedDict()
        self._making: dict[int, threading.Lock] = {}

    def __call__(self, number: int) -> Value:
        with self._lock:
            own = self._making.setdefault(number, threading.Lock())
        with own:
            with self._lock:
                if number in self._values:
                    self._values.move_to_end(number)
                    return self._values[number]
            value = self._make(number)
            with self._lock:
                self._values[number] = value
                while len(self._values) > self._most:
                    self._values.popitem(last=False)
            return value

    def forget(self, number: int) -> None:
        """Make it anew when it is asked for next."""
        with self._lock:
            self._values.pop(number, None)


class Shoot:
    """The photographs that a page shows.

    A process beside this one reads them: first those whose map is asked for, then all quickly, the smallest files
    first, then, of up to a dozen photographs, the other maps.

    Parameters
    ----------
    photographs : path of each photograph, and the path in the folder of exports that the names of its exports begin
        with.
    exports : folder that exports go to; it is made when the first is.
    settings : how photographs are read.
    """

    def __init__(self, photographs: Sequence[tuple[Path, Path]], exports: Path, settings: Settings) -> None:
        self.exports = exports
        self.settings = settings
        self.version = 1
        """Grows with everything that is new."""
        self.closing = False
        self._shown = [_Shown(path, stem) for path, stem in photographs]
        self._folder = Path(os.path.commonpath([path.parent for path, _ in photographs])).name
        self._changed = threading.Condition()
        self._asked: deque[int] = deque()
        self._reading: int | None = None
        order = sorted(range(len(self._shown)), key=lambda index: _size(self._shown[index].path))
        self._quick = deque(order if len(order) > 1 else [])
        self._ahead = deque(order if len(order) <= _AHEAD else [])
        self._worker = Worker(read, available_cores())
        self._thread = threading.Thread(target=self._work, name="defocus queue", daemon=True)
        self._turns = threading.BoundedSemaphore(2)
        self._writing = threading.Lock()  # from looking at what lies beside a photograph until it is replaced
        self.photograph = _Kept(_PHOTOGRAPHS, self._read)
        """Return the photograph of an index, of full size and in its own colours."""
        self._page = _Kept(_PAGES, self._make_page)
        self._painted = _Kept(_PAGES, self._painted_page)
        self.preview = _Kept(_PREVIEWS, self._preview)
        """Return a small JPEG of the photograph of an index, whether it has been read or not."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading, whatever is being read."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()
        self._worker.close()
        if self._thread.is_alive():
            self._thread.join()

    def __len__(self) -> int:
        return len(self._shown)

    # ---- what the page is told ----

    def overview(self) -> dict[str, Any]:
        """Return what is known of all photographs, as JSON knows it."""
        with self._changed:
            return {
                "version": self.version,
                "folder": self._folder,
                "exports": self.exports.name,
                "photographs": [self._line(index) for index in range(len(self._shown))],
            }

    def state(self, index: int) -> dict[str, Any]:
        """Return what is known of one photograph."""
        with self._changed:
            return self._line(index)

    def _line(self, index: int) -> dict[str, Any]:
        shown = self._shown[index]
        line: dict[str, Any] = {"index": index, "name": shown.path.name, "state": shown.state, **shown.about}
        line["has_map"] = shown.map_file is not None
        if shown.error:
            line["error"] = shown.error
        if shown.warnings:
            line["warnings"] = shown.warnings
        if shown.burst is not None:
            line["burst"] = shown.burst
        if shown.strokes_version is not None:
            line["strokes_version"] = shown.strokes_version
        if shown.shot is not None and shown.shot.taken is not None:
            line["time"] = shown.shot.taken
        return line

    def info(self, index: int) -> dict[str, Any] | None:
        """Return the figures of a photograph and its map; None where the map is not there yet: it is then read next.

        Raises
        ------
        PhotographError
            If it has failed.
        """
        with self._changed:
            shown = self._shown[index]
            if shown.map_file is None:
                if shown.error:
                    raise PhotographError(shown.error)
                self._ask(index)
                return None
        version = self.strokes_version(index)  # before they are read: who begins from an older one is told so
        told = self.page(index).info()
        painted = self.strokes(index) if told["unit"] == "px" else None
        size = told["width"], told["height"]
        strokes = [] if painted is None else json.loads(painted.scaled(size).to_json())["strokes"]
        self._know_strokes(shown, version)
        return {**self.state(index), **told, "strokes": strokes, "strokes_version": version}

    def rate(self, index: int, stars: int, was: int) -> None:
        """Write the rating of a photograph into its sidecar.

        Parameters
        ----------
        index : of the photograph.
        stars : 1..5, 0 for none, -1 for rejected.
        was : the rating that this one is to replace.

        Raises
        ------
        ChangedMeanwhileError
            If there is another rating than that: it stays.
        PhotographError
            If the photograph is not there any more.
        SidecarError
            If a sidecar is not understood or cannot be written.
        """
        shown = self._shown[index]
        with self._writing:
            self._check_still_there(shown)
            now = read_rating(shown.path).stars or 0
            if changed := now not in (was, stars):
                stars = now
            else:
                write_rating(shown.path, stars)
        with self._changed:
            shown.about["rating"] = stars
            self._tell()
        if changed:
            words = {REJECTED: "rejected", 0: "made unrated"}.get(now, f"rated {now} of 5 stars")
            raise ChangedMeanwhileError(
                f"{shown.path.name} has been {words} meanwhile, on another page or by another program: rate it again "
                "if that is to be replaced."
            )

    # ---- pictures ----

    def photograph_jpeg(self, index: int, side: int) -> bytes:
        """Return a photograph as a JPEG of at most `side` px, whether its map is there or not."""
        with self._turns:
            return photograph_jpeg(self._reduced(index, side), side)

    def crop_jpeg(self, index: int, box: tuple[int, int, int, int], side: int) -> bytes:
        """Return a part of a photograph as a JPEG of at most `side` px.

        Raises
        ------
        ParameterError
            If nothing of the photograph lies in the box.
        """
        photograph = self.photograph(index)
        try:
            return crop_jpeg(photograph, box, side)
        except ValueError as error:
            raise ParameterError(str(error)) from error

    def _preview(self, index: int) -> bytes:
        with self._turns:
            return photograph_jpeg(self._reduced(index, 320), 320, 80)

    def _reduced(self, index: int, side: int) -> Photograph:
        return read_reduced(
            self._shown[index].path, side, max_pixels=self.settings.max_pixels, strict=self.settings.strict
        )

    def _read(self, index: int) -> Photograph:
        shown = self._shown[index]
        with self._turns:
            photograph = read_photograph(
                shown.path, max_pixels=self.settings.max_pixels, own_colours=True, strict=self.settings.strict
            )
        if shown.sha256 is not None and photograph.sha256 != shown.sha256:
            raise PhotographError(f"{shown.path.name} has changed since its map was made: start defocus page again.")
        return photograph

    def defocus_map(self, index: int) -> DefocusMap:
        """Return the map of a photograph, with what was painted on it.

        Raises
        ------
        NotReadyError
            If it is not there yet.
        """
        found = self._load(index)
        strokes = self.strokes(index) if found.unit == "px" else None
        return found if strokes is None else corrected(self.photograph(index).in_srgb(), found, strokes)

    def _load(self, index: int) -> DefocusMap:
        with self._changed:
            shown = self._shown[index]
            if shown.map_file is None:
                self._ask(index)
                raise NotReadyError(f"The map of {shown.path.name} is not there yet: wait until it is.")
        return load(shown.map_file)

    def _make_page(self, index: int) -> PagePhotograph:
        shown = self._shown[index]
        found = self._load(index)
        return PagePhotograph.of(self.photograph(index), found, name=shown.path.name, seconds=shown.seconds)

    def page(self, index: int) -> PagePhotograph:
        """Return the photograph of an index with its map and what was painted on it, at the size of a page.

        It is kept until the strokes change, and with it what it has worked out.
        """
        version, page = self._painted(index)
        if version != self.strokes_version(index):
            self._painted.forget(index)
            page = self._painted(index)[1]
        return page

    def _painted_page(self, index: int) -> tuple[str, PagePhotograph]:
        page, version = self._page(index), self.strokes_version(index)
        strokes = self.strokes(index) if page.defocus_map.unit == "px" else None  # a score is no blur to correct
        return version, page if strokes is None else page.with_strokes(strokes)

    # ---- strokes ----

    def _check_still_there(self, shown: _Shown) -> None:
        """See that what is written beside a photograph will not lie there alone."""
        if not shown.path.is_file():
            raise PhotographError(
                f"{shown.path.name} has been moved or removed: nothing was kept. Start defocus page again to see what "
                "is there."
            )

    def strokes_file(self, index: int) -> Path | None:
        """Return the file of what was painted on a photograph, which lies beside it; None where there is none."""
        path = self._strokes_path(index)
        return path if path.is_file() else None

    def _strokes_path(self, index: int) -> Path:
        shown = self._shown[index]
        return with_ending(shown.path.with_name(shown.stem.name), STROKES_ENDING)

    def strokes(self, index: int) -> Strokes | None:
        """Return what was painted on a photograph; None where nothing was.

        Raises
        ------
        MapFileError
            If the file beside the photograph holds anything else.
        """
        path = self.strokes_file(index)
        return None if path is None else Strokes.load(path)

    def strokes_version(self, index: int) -> str:
        """Return a text that is another one whenever other strokes lie beside a photograph; empty where none do."""
        path = self.strokes_file(index)
        if path is None:
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _know_strokes(self, shown: _Shown, version: str) -> None:
        """Tell other pages of strokes that they may not know."""
        with self._changed:
            before, shown.strokes_version = shown.strokes_version, version
            if before not in (None, version):
                self._tell()

    def paint(self, index: int, strokes: Sequence[Mapping[str, Any]], began_from: str) -> str:
        """Keep what was painted on a photograph beside it, in place of what was painted before.

        Parameters
        ----------
        index : of the photograph.
        strokes : all of them, as JSON knows them; none to take them all away.
        began_from : the version of the strokes that these are to replace.

        Returns
        -------
        The version of these.

        Raises
        ------
        ChangedMeanwhileError
            If other strokes than those lie beside the photograph: they stay.
        ParameterError
            If they are no strokes, or the map is a score.
        PhotographError
            If the photograph is not there any more.
        MapFileError
            If the file beside the photograph holds anything else, or cannot be written.
        """
        page = self._page(index)
        if page.defocus_map.unit != "px":
            raise ParameterError(f"The map of {page.defocus_map.method} is a score: only sigma in px can be corrected.")
        size = page.size
        try:
            painted = Strokes.of(strokes, size)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError("These are no strokes: each has kind, points and radius.") from error
        path = self._strokes_path(index)
        with self._writing:
            self._check_still_there(self._shown[index])
            self.strokes(index)  # what is not ours is not replaced
            if began_from != self.strokes_version(index):
                raise ChangedMeanwhileError(
                    f"{self._shown[index].path.name} has been painted on meanwhile, on another page or by another "
                    "program: nothing was kept. Load the page again, and paint on what is there."
                )
            if painted.strokes:
                painted.save(path)
            else:
                path.unlink(missing_ok=True)
            version = self.strokes_version(index)
        self._know_strokes(self._shown[index], version)
        return version

    def stem(self, index: int) -> Path:
        """Return the path in the folder of exports that the names of a photograph's exports begin with."""
        return self._shown[index].stem

    def path(self, index: int) -> Path:
        """Return the file of a photograph."""
        return self._shown[index].path

    # ---- the queue; all of it with `_changed` held ----

    def _ask(self, index: int) -> None:
        if self._reading == index:  # if only quickly, the page will ask again
            return
        if index in self._asked:
            self._asked.remove(index)
        self._asked.appendleft(index)
        self._changed.notify_all()

    def _tell(self) -> None:
        self.version += 1
        self._changed.notify_all()

    def _next(self) -> tuple[int, bool] | None:
        """Index of the photograph to be read next, and whether its map is wanted."""
        for waiting, full in ((self._asked, True), (self._quick, False), (self._ahead, True)):
            while waiting:
                index = waiting.popleft()
                shown = self._shown[index]
                if shown.map_file is None and not (shown.error and waiting is not self._asked):
                    return index, full
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self.closing and (found := self._next()) is None:
                    self._changed.wait()
                if self.closing:
                    return
                assert found is not None
                index, full = found
                self._reading = index
                shown = self._shown[index]
                if not shown.about:  # else what is known stays in view
                    shown.state = "reading"
                self._tell()
            try:
                reading = self._worker.do(self._job(shown, full))
            except WorkerLost as error:
                reading = Reading(error=str(error))
            except DefocusError as error:  # of the weights, which all photographs share
                reading = Reading(error=str(error))
            with self._changed:
                self._reading = None
                if not self.closing:
                    self._take(shown, reading)

    def _job(self, shown: _Shown, full: bool) -> Job:
        settings = self.settings
        limits = settings.max_pixels, settings.strict, settings.device
        if not full:
            return QuickJob(shown.path, *limits)
        beside = shown.path.with_name(shown.stem.name)
        target = settings.maps / f"{self._shown.index(shown)}{MAP_ENDING}"
        if settings.keep_maps:
            among_exports = with_ending(shown.stem, MAP_ENDING)
            if not among_exports.exists() or is_output(among_exports):  # what is not ours is never replaced
                target = among_exports
        saved = tuple(dict.fromkeys(with_ending(each, MAP_ENDING) for each in (shown.stem, beside)))
        return FullJob(shown.path, *limits, recipe=settings.recipe, saved_maps=saved, target=target)

    def _take(self, shown: _Shown, reading: Reading) -> None:
        shown.error = reading.error
        shown.state = "failed" if reading.error else "done"
        shown.warnings = reading.warnings
        # What a person has said meanwhile holds.
        rated = {"rating": shown.about["rating"]} if "rating" in shown.about else {}
        shown.about |= {**reading.about, **rated}
        if reading.map_file is not None:
            shown.map_file, shown.sha256, shown.seconds = reading.map_file, reading.sha256, reading.seconds
        if reading.shot is not None:
            shown.shot = reading.shot
            if not self._quick or sum(each.shot is not None for each in self._shown) % 50 == 0:
                self._find_bursts()
        self._tell()

    def _find_bursts(self) -> None:
        known = [shown for shown in self._shown if shown.shot is not None]
        for number, group in enumerate(bursts([shown.shot for shown in known if shown.shot is not None])):
            for place in group:
                known[place].burst = number


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # said when it is read
        return 0
