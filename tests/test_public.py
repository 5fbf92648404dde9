"""The public data sets: what they hold, that every run makes the same, and what is said where they cannot be made."""

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from defocus.errors import DefocusError
from defocus.evaluation import layouts, public, render
from defocus.evaluation.datasets import Example


def digest(e: Example) -> tuple[str, str, str, int, int]:
    return e.name, e.source, e.condition, zlib.crc32(e.image.tobytes()), zlib.crc32(e.truth.tobytes())


@pytest.fixture
def two_pictures(monkeypatch):
    """A photograph and a drawing, both small, so that the sets are made in a second."""
    monkeypatch.setattr(public, "PHOTOGRAPHS", public.PHOTOGRAPHS[1:2])
    monkeypatch.setattr(public, "DRAWINGS", {"texture": public.DRAWINGS["texture"]})
    monkeypatch.setattr(public, "LARGEST", (120, 160))
    public._drawn.cache_clear()
    yield
    public._drawn.cache_clear()


def sets():
    return {data.name: data for data in layouts.open_data("public")}


def test_photographs_come_from_the_wheel_and_have_a_free_licence():
    folder = Path(skimage.__file__).parent / "data"
    for photograph in public.PHOTOGRAPHS:
        assert (folder / f"{photograph.name}.png").is_file()
        assert photograph.licence in ("CC0", "public domain")


def test_every_picture_is_a_source_of_its_own(two_pictures):
    assert [e.name for e in public.sharp_pictures()] == ["brick", "texture"]
    for data in sets().values():
        examples = list(data.examples())
        assert {e.source for e in examples} == {"brick", "texture"}
        assert len({e.name for e in examples}) == len(examples)
        # The pictures of public-content have frames and captions, which do not count.
        assert data.name == "public-content" or all(e.valid.all() for e in examples)


def test_every_run_makes_the_same(two_pictures):
    first = {name: [digest(e) for e in data.examples()] for name, data in sets().items()}
    public._drawn.cache_clear()
    assert {name: [digest(e) for e in data.examples()] for name, data in sets().items()} == first


def test_drawings_are_sharp_and_of_one_size():
    for name in public.DRAWINGS:
        picture = public.draw(name)
        assert picture.shape == (*public.LARGEST, 3) and picture.dtype == np.uint8
        step = np.abs(np.diff(picture.astype(float), axis=1))
        softer = np.abs(np.diff(render.gaussian_blur(picture, 1.0).astype(float), axis=1))
        assert step.max() > 2 * softer.max()
    with pytest.raises(DefocusError, match="choose of leaves"):
        public.draw("nothing")


def test_even_blur_is_the_truth(two_pictures):
    found = sets()
    for name, sigmas in (("public-gaussian", public.GAUSSIANS), ("public-disc", public.DISCS)):
        examples = list(found[name].examples())
        assert [float(e.truth.max()) for e in examples] == list(sigmas) * 2
        assert all(np.ptp(e.truth) == 0 for e in examples)
    sharp = next(public.sharp_pictures()).image
    blurred = next(e for e in found["public-gaussian"].examples() if e.condition == "2 px")
    np.testing.assert_array_equal(blurred.image, render.gaussian_blur(sharp, 2.0))


def test_a_ramp_runs_through_the_focus(two_pictures):
    for e in sets()["public-ramp"].examples():
        assert e.truth.dtype == np.float32
        assert e.truth.min() < 0.2
        assert e.truth.max() == pytest.approx(public.RAMP, abs=0.2)
        # Where the truth is small the picture changes more when it is blurred once again.
        detail = np.abs(e.image.astype(float) - render.gaussian_blur(e.image, 1.0)).mean(axis=2)
        low, high = np.quantile(e.truth, (0.1, 0.9))
        assert detail[e.truth <= low].mean() > 1.5 * detail[e.truth >= high].mean()


def test_of_two_layers_one_keeps_its_pixels(two_pictures):
    pictures = {e.name: e.image for e in public.sharp_pictures()}
    for e in sets()["public-layers"].examples():
        words, sigma = e.condition.split(" px")[0].split()
        assert set(np.unique(e.truth)) == {np.float32(0), np.float32(sigma)}
        inside = e.truth == 0 if words == "background" else e.truth > 0
        assert 0.2 < inside.mean() < 0.4
        if words == "background":  # the shape in front covers what it covered, but at its own outline
            other = pictures["texture" if e.source == "brick" else "brick"]
            rows, columns = (np.arange(n) % m for n, m in zip(inside.shape, other.shape, strict=False))
            same = (e.image == other[np.ix_(rows, columns)]).all(axis=2)
            assert same[inside].mean() > 0.98


def test_masks_are_true_where_the_layers_are_blurred(two_pictures):
    found = sets()
    for e, layer in zip(found["public-masks"].examples(), found["public-layers"].examples(), strict=True):
        assert e.truth.dtype == bool
        np.testing.assert_array_equal(e.truth, layer.truth > 0)
        np.testing.assert_array_equal(e.image, layer.image)


def test_the_command_takes_the_word(two_pictures, run, fake_method, tmp_path):
    arguments = ["--data", "public", "--sets", "public-masks", "--methods", fake_method, "-o", tmp_path / "out"]
    code, out, err = run("benchmark", *arguments, "--no-costs")
    assert code == 0, err
    assert "public-masks" in out and "AP" in out


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "public").mkdir()
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "public" / "a.png")
    assert "public-masks" not in sets()


def test_without_scikit_image_a_sentence_says_what_to_install(monkeypatch, run, tmp_path):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(DefocusError, match="pip install scikit-image"):
        layouts.open_data("public")
    code, _, err = run("benchmark", "--data", "public", "--methods", "zhuo2011", "-o", tmp_path / "out")
    assert code == 2
    assert "pip install scikit-image" in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_photograph_that_the_wheel_lacks_is_named(monkeypatch):
    monkeypatch.setattr(public, "PHOTOGRAPHS", (public.PublicPhotograph("unknown", 1, "nobody", "CC0"),))
    with pytest.raises(DefocusError, match="without the photograph unknown"):
        public.public_sets()
