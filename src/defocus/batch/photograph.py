"""One photograph of a run: read it if it is what was planned, write its pictures, and its map last."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from defocus.batch.rows import Measured, is_row_of, row
from defocus.batch.run import Plan, Run
from defocus.batch.storage import (
    ChangedError,
    DeniedError,
    Entry,
    KeyNameError,
    MissingKeyError,
    StorageError,
    Store,
    UnreadableError,
)
from defocus.errors import MapFileError, ParameterError, WeightsError
from defocus.estimation import estimate_strips, find_parameters, map_recipe
from defocus.maps.map_file import metadata_of, write_map
from defocus.maps.map_strips import MapStrips
from defocus.maps.map_summary import MapSummary
from defocus.maps.preview import limits_of_photograph, preview
from defocus.messages import error_message, user_warnings
from defocus.methods.parameters import set_parameters
from defocus.methods.registry import Method, find_method
from defocus.outputs import MAP_ENDING, PREVIEW_ENDING
from defocus.photograph import read_photograph
from defocus.photograph.png_encoder import png
from defocus.provenance import Provenance
from defocus.runtime.atomic import write_bytes

__all__ = ["SMALL", "Made", "made", "method_of", "process", "recipe_of", "weights_of"]

_PAUSES = (0.5, 2.0)
"""Pauses in seconds after which a photograph is asked for again that the store has denied."""
SMALL = 4
"""Side in px of the blocks whose means a small map keeps."""
_SCALE = {"scale": "photograph"}
"""What the provenance of a preview says of its colours."""


def method_of(plan: Plan) -> tuple[Method, Any]:
    """Return the method of a plan and its parameters.

    Raises
    ------
    ParameterError
        If the method, the preset or a setting is unknown.
    """
    method = find_method(plan.method)
    return method, set_parameters(find_parameters(method, plan.parameters), plan.settings)


def recipe_of(plan: Plan, weights: Path | None = None) -> dict[str, Any]:
    """Return all that this installation's maps depend on beside the photograph, as JSON knows it.

    Parameters
    ----------
    plan : how maps are made.
    weights : file of weights, instead of the package's own.

    Raises
    ------
    WeightsError
        If the file of weights cannot be read.
    """
    return dict(json.loads(json.dumps(map_recipe(*method_of(plan), weights))))


def weights_of(run: Run, folder: Path) -> Path:
    """Copy the weights that were planned from the store into a folder, and return the file.

    Raises
    ------
    ParameterError
        If the store holds others by now.
    StorageError
        If the store fails.
    """
    assert run.plan.weights is not None
    contents, _ = Store(run.url).read(run.plan.weights)
    if hashlib.sha256(contents).hexdigest() != run.plan.recipe["weights_sha256"]:
        raise ParameterError(f"{run.plan.weights} in {run.url} is not what was planned: plan into another place.")
    file = folder / run.plan.weights.rpartition("/")[2]
    write_bytes(file, contents)
    return file


def process(
    run: Run, source: Store, store: Store, entry: Entry, weights: Path | None = None, beside: Sequence[str] = ()
) -> tuple[dict[str, Any], bool]:
    """Do one photograph, or find that it was done before.

    Whatever is wrong with the photograph becomes a row with an error; what is wrong with the store is raised.

    Parameters
    ----------
    run : the run.
    source, store : where the photographs are, and where the run is.
    entry : the photograph as it was planned.
    weights : file of the plan's weights; None for the package's own.
    beside : keys of other photographs: if the store denies this one and hands out one of them, the fault is this one's.

    Returns
    -------
    row, computed
        The row, and whether a map was estimated, or tried, for it now.

    Raises
    ------
    StorageError
        If the store fails, or the disk that takes a map until it is whole.
    WeightsError
        If the method's weights cannot be used.
    """
    begin = time.perf_counter()
    map_key = f"maps/{entry.key}{MAP_ENDING}"
    known = {"key": entry.key, "bytes": entry.size, "etag": entry.etag}

    def failed(error: StorageError) -> tuple[dict[str, Any], bool]:
        return row({**known, "error": str(error), "seconds": time.perf_counter() - begin}), False

    if {"small", "map"} & set(run.plan.outputs):
        try:
            done = _row_in(store, map_key, run.plan, entry)
        except KeyNameError as error:  # too long with what is put around it
            return failed(error)
        if done is not None:
            return done, False
    try:
        contents, read = _read(source, entry, beside)
    except MissingKeyError as error:
        if source.has_left():
            raise StorageError(
                f"The folder {source.url} is empty or gone: if its disk was taken away, attach it again."
            ) from error
        return failed(error)
    except (ChangedError, KeyNameError, UnreadableError) as error:
        return failed(error)
    known |= {"bytes": read.size, "etag": read.etag}
    with ExitStack() as stack:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)

            def finished(values: dict[str, Any]) -> dict[str, Any]:
                seconds = round(time.perf_counter() - begin, 4)
                return row(values | known | {"warning": " ".join(user_warnings(caught)) or None, "seconds": seconds})

            try:
                outputs = stack.enter_context(made(run.plan, contents, finished, weights))
            except WeightsError:
                raise
            except MapFileError as error:  # the disk of this worker is full, which is no fault of the photograph
                raise StorageError(str(error)) from error
            except Exception as error:  # a fault of ours must not cost the other photographs
                return row({**known, "error": error_message(error), "seconds": time.perf_counter() - begin}), True
        if outputs.preview is not None:
            try:
                store.write(f"maps/{entry.key}{PREVIEW_ENDING}", outputs.preview)
            except KeyNameError as error:
                return failed(error)
        if outputs.map is not None:  # last: with it the photograph is done, and its row is safe
            store.write(map_key, outputs.map)
        return outputs.row, True


@dataclass(frozen=True)
class Made:
    """What was made of a photograph.

    Attributes
    ----------
    row : its row.
    preview : contents of the PNG; None where it was not wanted.
    map : file of the map, open for reading until the block ends; None where it was not wanted.
    """

    row: dict[str, Any]
    preview: bytes | None
    map: BinaryIO | None


@contextmanager
def made(
    plan: Plan,
    contents: bytes,
    finished: Callable[[dict[str, Any]], dict[str, Any]],
    weights: Path | None = None,
) -> Iterator[Made]:
    """Estimate a map strip by strip, and make the photograph's row and outputs of it.

    The map's file is a temporary one without a name, which is gone with the process.

    Parameters
    ----------
    plan : how maps are made, and what is wanted.
    contents : the photograph's file.
    finished : makes the row of the values that the map has told; called when the last strip has been computed.
    weights : file of weights, instead of the package's own.

    Raises
    ------
    PhotographError
        If it cannot be read.
    MapFileError
        If the disk is full.
    """
    method, parameters = method_of(plan)
    photograph = read_photograph(
        contents,
        max_pixels=None if plan.max_megapixels is None else int(plan.max_megapixels * 1e6),
        strict=plan.strict,
        refuse_outputs=True,
    )
    found = estimate_strips(photograph, method, parameters, weights, device=plan.device)
    measured = Measured(photograph, found)
    strips = found.watched(measured.see)
    with ExitStack() as stack:
        file: BinaryIO | None = None
        if {"small", "map"} & set(plan.outputs):
            file = stack.enter_context(_temporary_file())
            whole: dict[str, Any] = {}

            def in_the_map() -> dict[str, Any]:
                whole.update(finished(measured.values()))
                return {"run": plan.uuid, "row": whole}

            write_map(file, strips, reduced=SMALL if "small" in plan.outputs else 1, further=in_the_map)
        else:
            for _ in strips.strips():
                pass
            whole = finished(measured.values())
        picture = None
        if "preview" in plan.outputs:
            picture = _preview(measured.summary, found, Provenance("preview", photograph.sha256, plan.recipe, _SCALE))
        yield Made(whole, picture, file)


def _temporary_file() -> BinaryIO:
    try:
        return cast(BinaryIO, TemporaryFile())
    except OSError as error:
        raise MapFileError(f"Cannot write the map: {error.strerror or error}.") from error


def _preview(summary: MapSummary, found: MapStrips, made_from: Provenance) -> bytes:
    """Return the picture that `defocus estimate` writes."""
    picture = preview(
        summary.sigma,
        sigma_limits=limits_of_photograph(summary.sigma, found.sigma_range),
        confidence=summary.confidence,
        scale_bar=True,
        unit=found.unit,
    )
    return png(picture, made_from)


def _read(
    source: Store, entry: Entry, beside: Sequence[str], pauses: tuple[float, ...] = _PAUSES
) -> tuple[bytes, Entry]:
    """Read a photograph, again where the store denies this one alone, as it may do for a moment.

    Raises
    ------
    UnreadableError
        If it goes on to deny this one, while it hands out others.
    """
    try:
        return source.read(entry.key, etag=entry.etag)
    except DeniedError as error:
        if not any(_handed_out(source, key) for key in beside if key != entry.key):
            raise
        if not pauses:
            raise UnreadableError(str(error)) from error
    time.sleep(pauses[0])
    return _read(source, entry, beside, pauses[1:])


def _handed_out(source: Store, key: str) -> bool:
    try:
        return source.has(key)
    except StorageError:
        return False


def _row_in(store: Store, key: str, plan: Plan, entry: Entry) -> dict[str, Any] | None:
    """Return the row inside a map that this very run made of the photograph as it was planned, if it is there."""
    file = store.open(key)
    if file is None:
        return None
    with file:
        metadata = metadata_of(file)
    if metadata is None or metadata.get("run") != plan.uuid or not isinstance(metadata.get("row"), dict):
        return None
    found = metadata["row"]
    return row(found) if is_row_of(found, entry.key, entry.etag) else None
