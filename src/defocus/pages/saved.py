"""Pages that hold all they show: one HTML file that opens from a disk or a mail, and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from defocus.pages import fill_page
from defocus.pages.pictures import PagePhotograph
from defocus.provenance import Provenance, stamp
from defocus.runtime.atomic import write_bytes

__all__ = ["ASSETS", "View", "asset", "held", "page_of", "save_page", "served_page"]

View = Literal["photograph", "overlay", "map", "refocus", "3-D"]
_VIEWS: tuple[View, ...] = ("photograph", "overlay", "map", "refocus", "3-D")

ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "brush.js": "text/javascript; charset=utf-8",
    "carrier.js": "text/javascript; charset=utf-8",
    "flat.js": "text/javascript; charset=utf-8",
    "gestures.js": "text/javascript; charset=utf-8",
    "mask.js": "text/javascript; charset=utf-8",
    "measured.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "refocus.js": "text/javascript; charset=utf-8",
    "renderer.js": "text/javascript; charset=utf-8",
    "shoot.js": "text/javascript; charset=utf-8",
    "solid.js": "text/javascript; charset=utf-8",
    "strokes.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
}
"""Files of the page besides its HTML, and their media types."""
_SCRIPTS = (
    "measured", "refocus", "mask", "view", "gestures", "renderer", "flat", "solid", "shoot", "strokes", "brush",
    "carrier", "page",
)  # fmt: skip
"""The scripts in an order in which each comes after those that it uses."""
_FULL = 4
"""A picture on the page gets the bytes of a photograph with at most this many times its pixels."""
_IMPORT = re.compile(r"^import \{([^}]*)\} from '\./(\w+)\.js';$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async function|function|class|const) (\w+)", re.MULTILINE)


def asset(name: str) -> bytes:
    """Return a file of the page.

    Parameters
    ----------
    name : one of `ASSETS`.

    Raises
    ------
    KeyError
        If it is none of them.

    Examples
    --------
    >>> asset("icon.svg")[:4]
    b'<svg'
    """
    if name not in ASSETS:
        raise KeyError(name)
    return resources.files("defocus.pages").joinpath("photograph", name).read_bytes()


def served_page(title: str = "defocus") -> bytes:
    """Return the HTML of the page that a server fills; its scripts and styles are `ASSETS`.

    Examples
    --------
    >>> b"assets/page.js" in served_page()
    True
    """
    return fill_page("photograph/page.html", title=title, held=None)


def held(shown: PagePhotograph, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a page holds of one photograph, as JSON knows it.

    Parameters
    ----------
    shown : the photograph and its map.
    more : further figures that the list of several photographs shows: "in_focus" (0..1), "words", "shaken", "time", and
        "look", the x and y (fractions of the frame) where two photographs are compared first.

    Examples
    --------
    >>> import defocus, numpy as np
    >>> photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> sorted(held(PagePhotograph.of(photo, defocus.estimate(photo), name="noise"))["pictures"])
    ['depth', 'map', 'photograph', 'sharpened']
    """
    info = shown.info()
    pictures = {"map": shown.map_webp()}
    if info["unit"] == "px":
        pictures["depth"] = shown.depth_webp()
    # For its size in the page, not in the file: what is reduced needs fewer bytes.
    pixels = min(info["width"] * info["height"], _FULL * shown.photograph.width * shown.photograph.height)
    left = _most_bytes(pixels) - sum(map(len, pictures.values()))
    photograph, sharpened = shown.jpegs_within(left)
    pictures |= {"photograph": photograph} | ({} if sharpened is None else {"sharpened": sharpened})
    kinds = {"photograph": "image/jpeg", "sharpened": "image/jpeg", "map": "image/webp", "depth": "image/webp"}
    coded = {name: (kinds[name], base64.b64encode(picture).decode()) for name, picture in pictures.items()}
    return {"info": {**info, **(more or {})}, "pictures": coded}


def page_of(photographs: Sequence[dict[str, Any]], title: str | None = None, *, opens_with: View = "overlay") -> bytes:
    """Return one HTML file that holds photographs and their maps.

    Parameters
    ----------
    photographs : one or more, as `held` returns them.
    title : what the browser calls the page; the name of the first photograph if None.
    opens_with : the view that is shown first.

    Raises
    ------
    ValueError
        If there is no photograph.

    Examples
    --------
    >>> import defocus, numpy as np
    >>> photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> page = page_of([held(PagePhotograph.of(photo, defocus.estimate(photo), name="noise"))])
    >>> page[:15], b"http://" in page.replace(b"http://www.w3.org", b"")
    (b'<!doctype html>', False)
    """
    if not photographs:
        raise ValueError("A page needs at least one photograph.")
    title = title or photographs[0]["info"]["name"]
    script, style = _script(), asset("page.css").decode()
    holding = json.dumps({"folder": title, "photographs": photographs, "view": _VIEWS.index(opens_with)})
    return fill_page(
        "photograph/page.html",
        title=title,
        # Nothing in it can end the element that holds it.
        held=Markup(holding.replace("<", "\\u003c")),
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        icon=base64.b64encode(asset("icon.svg")).decode(),
    )


def save_page(
    path: str | os.PathLike[str], photographs: Iterable[PagePhotograph], made_from: Provenance | None = None
) -> None:
    """Write `page_of` to a file, whole or not at all.

    Parameters
    ----------
    path : file to write; an existing one is replaced.
    photographs : one or more.
    made_from : what the page says it was made from; by default its photographs.
    """
    photographs = list(photographs)
    if made_from is None:
        made_from = Provenance("page", photographs[0].made_from or None)
    write_bytes(Path(path), stamp(page_of([held(shown) for shown in photographs]), made_from))


@cache
def _script() -> str:
    """All scripts as one: every file is a function of its own, which returns what the file exports."""
    return "\n".join(_as_function(name, asset(f"{name}.js").decode()) for name in _SCRIPTS)


def _as_function(name: str, text: str) -> str:
    exported = ", ".join(_EXPORT.findall(text))
    body = _IMPORT.sub(r"const {\1} = from_\2;", text)
    body = _EXPORT.sub(lambda match: match[0].removeprefix("export "), body)
    return f"const from_{name} = (() => {{\n{body}\nreturn {{{exported}}};\n}})();"


def _most_bytes(pixels: int) -> int:
    """Number of bytes of the pictures of a photograph, so that a page stays one that can be mailed.

    As base64 and with the scripts that is 0.5 MB for 0.3 megapixels and 3 MB for 24.
    """
    return round(300_000 * max(pixels / 300_000, 1) ** 0.45)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
