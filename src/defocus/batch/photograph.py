"""One photograph of a run: read it if it is what was planned, write its pictures, and its map last."""

from __future__ import annotations

import dataclasses
import time
import warnings
from typing import Any

from defocus.batch.rows import measured, row
from defocus.batch.run import Plan, Run
from defocus.batch.storage import ChangedError, Entry, KeyNameError, MissingKeyError, Store
from defocus.errors import WeightsError
from defocus.estimation import estimate_strips, find_parameters, map_recipe
from defocus.maps.map_file import map_bytes, metadata_of
from defocus.messages import error_message
from defocus.methods.parameters import set_parameters
from defocus.methods.registry import Method, find_method
from defocus.outputs import MAP_ENDING, PREVIEW_ENDING
from defocus.photograph import read_photograph
from defocus.photograph.png_encoder import png
from defocus.provenance import Provenance

__all__ = ["SMALL", "encoded", "method_of", "process", "recipe_of"]

SMALL = 4
"""Side in px of the blocks whose means a small map keeps."""


def method_of(plan: Plan) -> tuple[Method, Any]:
    """Return the method of a plan and its parameters.

    Raises
    ------
    ParameterError
        If the method, the preset or a setting is unknown.
    """
    method = find_method(plan.method)
    return method, set_parameters(find_parameters(method, plan.parameters), plan.settings)


def recipe_of(plan: Plan) -> dict[str, Any]:
    """Return all that this installation's maps depend on beside the photograph, as JSON knows it."""
    import json

    return dict(json.loads(json.dumps(map_recipe(*method_of(plan)))))


def process(run: Run, source: Store, store: Store, entry: Entry) -> tuple[dict[str, Any], bool]:
    """Do one photograph, or find that it was done before.

    Whatever is wrong with the photograph becomes a row with an error; what is wrong with the store is raised.

    Parameters
    ----------
    run : the run.
    source, store : where the photographs are, and where the run is.
    entry : the photograph as it was planned.

    Returns
    -------
    row, computed
        The row, and whether a map was estimated, or tried, for it now.

    Raises
    ------
    StorageError
        If the store fails.
    WeightsError
        If the method's weights cannot be used.
    """
    begin = time.perf_counter()
    map_key = f"maps/{entry.key}{MAP_ENDING}"
    known = {"key": entry.key, "bytes": entry.size, "etag": entry.etag}
    try:
        if {"small", "map"} & set(run.plan.outputs):
            done = _row_in(store, map_key, run.plan, entry)
            if done is not None:
                return done, False
        contents, read = source.read(entry.key, etag=entry.etag)
    except (MissingKeyError, ChangedError, KeyNameError) as error:
        return row({**known, "error": str(error), "seconds": time.perf_counter() - begin}), False
    known |= {"bytes": read.size, "etag": read.etag}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            values, outputs = encoded(run.plan, contents)
        except WeightsError:
            raise
        except Exception as error:  # a fault of ours must not cost the other photographs
            return row({**known, "error": error_message(error), "seconds": time.perf_counter() - begin}), True
    said = dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, UserWarning))
    values |= known | {"warning": " ".join(said) or None, "seconds": round(time.perf_counter() - begin, 4)}
    done = row(values)
    if "preview" in outputs:
        store.write(f"maps/{entry.key}{PREVIEW_ENDING}", outputs["preview"](done))
    if "map" in outputs:  # last: with it the photograph is done, and its row is safe
        store.write(map_key, outputs["map"](done))
    return done, True


def encoded(plan: Plan, contents: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a row says of a photograph, and functions of the whole row that return the contents of its outputs.

    Parameters
    ----------
    plan : how maps are made, and what is wanted.
    contents : the photograph's file.

    Raises
    ------
    PhotographError
        If it cannot be read.
    """
    method, parameters = method_of(plan)
    photograph = read_photograph(
        contents,
        max_pixels=None if plan.max_megapixels is None else int(plan.max_megapixels * 1e6),
        strict=plan.strict,
        refuse_outputs=True,
    )
    found = estimate_strips(photograph, method, parameters, device=plan.device).whole()
    values = measured(photograph, found)
    outputs: dict[str, Any] = {}
    if "preview" in plan.outputs:
        made_from = Provenance("preview", photograph.sha256, plan.recipe, {"scale": "photograph"})
        outputs["preview"] = lambda _: png(found.preview(scale_bar=True), made_from)
    if {"small", "map"} & set(plan.outputs):

        def written(whole: dict[str, Any]) -> bytes:
            kept = dataclasses.replace(found, metadata={**found.metadata, "run": plan.uuid, "row": whole})
            return map_bytes(kept, reduced=SMALL if "small" in plan.outputs else 1)

        outputs["map"] = written
    return values, outputs


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
    same = found.get("key") == entry.key and (entry.etag is None or found.get("etag") == entry.etag)
    return row(found) if same else None
