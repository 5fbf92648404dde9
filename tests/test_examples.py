"""The examples in docstrings run, and every public function has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import defocus

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(defocus.__path__, "defocus.")
    if not module.name.endswith("__main__")
)
PUBLIC = [name for name in defocus.__all__ if inspect.isfunction(getattr(defocus, name))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{error.name} is not installed")
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(module)
    assert outcome.failed == 0, "run python -m doctest to see the difference"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_an_example(name):
    text = inspect.getdoc(getattr(defocus, name))
    assert "Examples\n--------\n" in text
    assert ">>> " in text
    assert "+SKIP" not in text


@pytest.mark.parametrize(
    "name", [name for name in defocus.units.__all__ if inspect.isfunction(getattr(defocus.units, name))]
)
def test_every_conversion_has_an_example(name):
    assert ">>> " in inspect.getdoc(getattr(defocus.units, name))
