"""Configuration of Sphinx: `sphinx-build -W --keep-going docs site`. No page asks another host for anything."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

from defocus import __version__  # noqa: E402

project = "defocus"
author = "The defocus authors"
copyright = "The defocus authors, Apache-2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "command_line_pages",
    "model_card_pages",
]
exclude_patterns = ["extensions", "images/*.py"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

smartquotes = False  # they would join the two dashes of an option

html_theme = "furo"
html_title = f"defocus {version}"
html_static_path = ["static"]
html_css_files = ["defocus.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = False  # the search finds names as well
pygments_style = "friendly"
pygments_dark_style = "monokai"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Every reference has to lead somewhere, but for types of other packages, whose manuals are not at hand offline, and the
# names that annotations use for plain types.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(numpy|np|npt|pyarrow|PIL|collections|pathlib|typing|os|io)(\..*)?"),
    (
        "py:.*",
        r"(NDArray|ArrayLike|Path|Sequence|Mapping|Iterable|Callable|Any|Literal|PathLike|BinaryIO|(.*\.)?Image)",
    ),
    ("py:.*", r"type\[.*"),  # what NumPy's DTypeLike consists of
    # These are described in reference/python.md.
    ("py:.*", r"(annotated_types|defocus\.methods\.parameters)\..*"),  # constraints on parameters
    ("py:.*", r"(PhotographLike|Progress|Precision|Aperture|Device|Side|Provenance|.*\.Exif|.*\.Box)"),
]
