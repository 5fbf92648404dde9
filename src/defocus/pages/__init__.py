"""The HTML pages that this package writes: templates beside this file, filled in here."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

__all__ = ["fill_page"]


def fill_page(name: str, **values: Any) -> bytes:
    """Return a page with its values filled in.

    Parameters
    ----------
    name : of the template, such as "report.html".
    values : what the template asks for; texts are escaped. A missing one is an error.

    Returns
    -------
    The page as UTF-8. What is no text, as in names of files that are not UTF-8, becomes escapes.

    Examples
    --------
    >>> page = fill_page("photograph/page.html", title="<cat>", held=None)
    >>> b"<title>&lt;cat&gt;</title>" in page
    True
    """
    return _environment().get_template(name).render(values).encode("utf-8", "backslashreplace")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("defocus", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
