"""What several tests need: the shared measurements, where they are at hand, and a method that answers at once."""

import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import defocus
from browser import chromium, launch  # noqa: F401  # fixtures
from defocus.cli.app import main
from defocus.methods.registry import METHODS, Method

# A shell makes what it runs in the background deaf to Ctrl-C, and so would be the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared measurements are not beside the repository ({SHARED.name}/)")
    return SHARED


@pytest.fixture
def fake_method(monkeypatch):
    """Register `fake_method.py` as the method "fake"."""
    monkeypatch.setitem(METHODS, "fake", Method("fake", "sigma from brightness", "px", module="fake_method"))
    return "fake"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process: exit code, standard output, standard error."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["defocus", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return command


@pytest.fixture
def map_of():
    """Make a map of given sigma, sure everywhere."""

    def made(sigma, confidence=1.0, unit="px"):
        sigma = np.asarray(sigma, np.float32)
        return defocus.DefocusMap(
            sigma=sigma,
            confidence=np.full(sigma.shape, confidence, np.float32),
            saturated=np.zeros(sigma.shape, bool),
            seeds=defocus.Seeds.none(sigma.shape),
            method="made",
            sigma_range=(0.0, 40.0),
            unit=unit,
        )

    return made


@pytest.fixture(scope="session")
def authors_golden(shared):
    """Read a photograph of the authors' release and what their code made of it, by name."""
    folder = shared / "golden"

    def read(name):
        with np.load(folder / f"dhde_{name}.npz") as stored:
            return np.asarray(Image.open(folder / f"{name}.jpg").convert("RGB")), dict(stored)

    return read


@pytest.fixture(scope="session")
def authors_weights(shared):
    """Path of the authors' weights file."""
    return shared / "golden" / "DHDE_model.caffemodel"


@pytest.fixture(scope="session")
def astronaut_golden():
    """Value channel of a photograph that ships with scikit-image, and the values recorded by `golden/make.py`."""
    from skimage import data

    with np.load(Path(__file__).parent / "golden" / "astronaut.npz") as stored:
        return data.astronaut()[:200, 150:350].max(axis=2) / 255, dict(stored)
