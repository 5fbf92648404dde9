"""What several tests need: the shared measurements, where they are at hand, and a method that answers at once."""

from pathlib import Path

import pytest

from defocus.methods import METHODS, Method

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared measurements are not beside the repository ({SHARED.name}/)")
    return SHARED


@pytest.fixture
def fake_method(monkeypatch):
    """Register `fake_method.py` as the method "fake"."""
    monkeypatch.setitem(METHODS, "fake", Method("fake", "sigma from brightness", "fake_method", "px"))
    return "fake"
