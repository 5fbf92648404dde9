"""Which folders of the package import which: what several need lies below all of them."""

import ast
from pathlib import Path

import pytest

import defocus

PACKAGE = Path(defocus.__file__).parent
IMPORTERS = {
    "cli": {"__main__.py"},
    "server": {"cli"},
    "training": {"cli", "methods"},  # the registry finds the trainer of a method
    "culling": {"cli", "server"},
    "batch": {"cli"},
    "pages": {"cli", "server", "evaluation", "maps"},
    "evaluation": {"cli", "training"},
}
"""Folder, and the files and folders of `defocus` that may import it; the lower folders may be imported by all."""


def imported(file: Path) -> set[str]:
    """The modules of this package that a file imports, also within its functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = file.relative_to(PACKAGE.parent).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{each.name}" for each in node.names)}
    return found


def importers(folder: str) -> set[str]:
    """The files and folders of the package that import from one of its folders, but for itself."""
    inner = f"defocus.{folder}"
    files = [file for file in PACKAGE.rglob("*.py") if not file.is_relative_to(PACKAGE / folder)]
    return {
        file.relative_to(PACKAGE).parts[0]
        for file in files
        if any(name == inner or name.startswith(f"{inner}.") for name in imported(file))
    }


@pytest.mark.parametrize("folder", IMPORTERS)
def test_folder_is_imported_only_by_those_above_it(folder):
    assert importers(folder) == IMPORTERS[folder]
