"""What the documentation promises and a build of it does not check."""

import re
from pathlib import Path

import pytest

import defocus

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LARGEST = 2.5e6
"""Bytes of all pictures together, so that a clone stays small."""


def test_every_public_name_is_in_the_reference():
    text = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    assert [name for name in defocus.__all__ if f"defocus.{name}" not in text] == []


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_pages_outside_the_site_link_to_files_that_exist(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_pages_of_docs_that_sources_name_exist():
    named = {
        match
        for folder in ("src", "benchmarks", "tests")
        for file in (ROOT / folder).rglob("*.py")
        for match in re.findall(r"docs/[\w/.-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert [page for page in sorted(named) if not (ROOT / page).exists()] == []


def test_pictures_are_small():
    assert sum(file.stat().st_size for file in (DOCS / "images").rglob("*.[jp][pn]g")) < LARGEST
