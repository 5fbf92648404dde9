"""A page for the model card of every weights file in the package; the cards lie beside the weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

import defocus
from defocus.methods import METHODS

FOLDER = Path("reference/weights")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", _copy_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _copy_cards(app: Sphinx) -> None:
    folder = Path(app.srcdir) / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    package = Path(defocus.__file__).parent
    for name in (*METHODS, "motion"):  # movement is looked for by the pyramid method
        for card in package.rglob(f"{name}.md"):
            shutil.copy2(card, folder / card.name)
