"""The addresses of the page and what each answers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from defocus.culling.sidecars import SidecarError
from defocus.errors import DefocusError, ParameterError
from defocus.messages import error_message
from defocus.pages.pictures import LONGEST_SIDE
from defocus.pages.saved import ASSETS, asset, served_page
from defocus.server.exports import Wanted, export
from defocus.server.shoot import ChangedMeanwhileError, NotReadyError, Shoot

__all__ = ["application"]

_WAIT, _LOOK = 10.0, 0.1
"""Longest time in seconds that a request for news waits, and the time between two looks."""
_SMALLEST_SIDE, _LARGEST_SIDE, _LARGEST_MAP_SIDE = 16, 8192, 4096
_JPEG, _WEBP = "image/jpeg", "image/webp"

Endpoint = Callable[[Request], Response]


class _Told(JSONResponse):
    """An answer in JSON, also where a file's name is not in UTF-8."""

    def render(self, content: Any) -> bytes:
        """Return the answer's bytes, all of them ASCII."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def application(shoot: Shoot, fault: Callable[[str], None] = lambda sentence: None) -> Starlette:
    """Return the application that answers the page; who may ask is up to `Guard`.

    Parameters
    ----------
    shoot : the photographs.
    fault : called with a sentence for what went wrong that is nobody's fault but ours.
    """
    exporting = threading.Lock()

    def page(_: Request) -> Response:
        return Response(served_page(), media_type="text/html; charset=utf-8")

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            raise HTTPException(404)
        return Response(asset(name), media_type=ASSETS[name])

    async def photographs(request: Request) -> Response:
        known = request.query_params.get("known", "")
        until = time.monotonic() + _WAIT
        while known == str(shoot.version) and not shoot.closing and time.monotonic() < until:
            await asyncio.sleep(_LOOK)
            if await request.is_disconnected():
                break
        return _Told(await run_in_threadpool(shoot.overview))

    def photograph(request: Request) -> Response:
        index = _index(request)
        info = shoot.info(index)
        return _Told(info) if info is not None else _Told(shoot.state(index), 202)

    def picture(request: Request) -> Response:
        index = _index(request)
        name = request.path_params["picture"]
        if name == "preview.jpg":
            return Response(shoot.preview(index), media_type=_JPEG)
        if name == "crop.jpg":
            left, top, right, bottom = (_integer(request, side, -(10**6), 10**6) for side in _SIDES)
            side = _side(request, LONGEST_SIDE, _LARGEST_SIDE)
            return Response(shoot.crop_jpeg(index, (left, top, right, bottom), side), media_type=_JPEG)
        if name == "photograph.jpg":
            side = _side(request, LONGEST_SIDE, _LARGEST_SIDE)
            if side == LONGEST_SIDE and shoot.state(index)["has_map"]:
                return Response(shoot.page(index).photograph_jpeg(), media_type=_JPEG)
            return Response(shoot.photograph_jpeg(index, side), media_type=_JPEG)
        if name == "sharpened.jpg":
            return Response(shoot.page(index).sharpened_jpeg(), media_type=_JPEG)
        if name == "map.webp":
            side = _side(request, None, _LARGEST_MAP_SIDE)
            shown = shoot.page(index)
            return Response(shown.map_webp() if side is None else shown.map_webp(side), media_type=_WEBP)
        if name == "depth.webp":
            return Response(shoot.page(index).depth_webp(), media_type=_WEBP)
        raise HTTPException(404)

    def exported(index: int, wanted: dict[str, Any]) -> dict[str, Any]:
        order = Wanted.of(wanted)
        with exporting:  # one at a time: each takes much memory
            return export(shoot, index, order)

    def rated(index: int, wanted: dict[str, Any]) -> dict[str, Any]:
        stars, was = (_stars(wanted, name) for name in ("rating", "was"))
        shoot.rate(index, stars, was)
        return {"rating": stars}

    def painted(index: int, wanted: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        strokes = wanted.get("strokes")
        if not isinstance(strokes, list):
            raise ParameterError("strokes must be a list of strokes.")
        began_from = wanted.get("began_from", "")
        if not isinstance(began_from, str):
            raise ParameterError("began_from must be the version of the strokes that these replace.")
        version = shoot.paint(index, strokes, began_from)
        shoot.page(index)
        return {"version": version, "seconds": round(time.perf_counter() - start, 2)}

    def post(work: Callable[[int, dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            index = _index(request)
            try:
                wanted = json.loads(await request.body())
            except (ValueError, RecursionError) as error:
                raise HTTPException(400, "This is not JSON.") from error
            if not isinstance(wanted, dict):
                raise HTTPException(400, "An object of JSON was expected.")
            return _Told(await run_in_threadpool(work, index, wanted))

        return endpoint

    def _index(request: Request) -> int:
        text = request.path_params["index"]
        if len(text) > 8 or not (text.isascii() and text.isdecimal()) or int(text) >= len(shoot):
            raise HTTPException(404, "There is no such photograph.")
        return int(text)

    one = "/api/photographs/{index}"

    def failed(_: Request, error: Exception) -> Response:
        sentence = error_message(error)
        status = _status(error)
        if status == 500 and not isinstance(error, OSError | MemoryError):
            fault(sentence)
        return _Told({"error": sentence}, status)

    app = Starlette(
        routes=[
            Route("/", page, methods=["GET"]),
            Route("/assets/{name}", file, methods=["GET"]),
            Route("/api/photographs", photographs, methods=["GET"]),
            Route(one, photograph, methods=["GET"]),
            Route(f"{one}/export", post(exported), methods=["POST"]),
            Route(f"{one}/rating", post(rated), methods=["POST"]),
            Route(f"{one}/strokes", post(painted), methods=["POST"]),
            Route(f"{one}/{{picture}}", picture, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, DefocusError: failed, OSError: failed, Exception: failed},
    )
    app.router.redirect_slashes = False
    return app


_SIDES = ("left", "top", "right", "bottom")


def _side(request: Request, default: Any, most: int) -> Any:
    return _integer(request, "side", _SMALLEST_SIDE, most) if "side" in request.query_params else default


def _integer(request: Request, name: str, low: int, high: int) -> int:
    text = request.query_params.get(name, "")
    if len(text) > 8 or not text.removeprefix("-").isdecimal() or not low <= int(text) <= high:
        raise HTTPException(400, f"{name} must be a whole number from {low} to {high}.")
    return int(text)


def _stars(wanted: dict[str, Any], name: str) -> int:
    stars = wanted.get(name)
    if stars is not None and (type(stars) is not int or not -1 <= stars <= 5):
        raise ParameterError(f"{name} must be a whole number from -1 (rejected) to 5, or null for none.")
    return stars or 0


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail
    if error.status_code in (404, 405) and sentence == HTTPStatus(error.status_code).phrase:
        sentence = "There is nothing here." if error.status_code == 404 else "This is not answered here."
    return _Told({"error": sentence}, error.status_code, headers=error.headers)


def _status(error: Exception) -> int:
    if isinstance(error, ChangedMeanwhileError | NotReadyError | SidecarError):
        return 409
    if isinstance(error, ParameterError):
        return 400
    return 422 if isinstance(error, DefocusError) else 500
