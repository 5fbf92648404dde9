"""Strokes where a map is wrong, and what becomes of the map."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

import defocus
from defocus.maps.strokes import Stroke, Strokes, corrected
from defocus.outputs import STROKES_ENDING

HEIGHT, WIDTH = 90, 120


@pytest.fixture
def two_things():
    """A dark and a light thing, both bare."""
    photo = np.random.default_rng(0).normal(0.2, 0.01, (HEIGHT, WIDTH, 3))
    photo[:, WIDTH // 2 :] += 0.5
    return defocus.Photograph(photo.clip(0, 1))


def stroke(kind, *points, radius=6.0, place=None):
    return Strokes((Stroke(kind, points, radius, place),), (WIDTH, HEIGHT))


def test_a_stroke_holds_for_the_thing_it_is_on(two_things, map_of):
    unsure = map_of(np.full((HEIGHT, WIDTH), 1.5), confidence=0.1)
    for kind, low, high in (("blurred", 1.8, 2.05), ("sharp", 0.55, 0.75)):
        found = corrected(two_things, unsure, stroke(kind, (20.0, 45.0)))
        here, there = found.sigma[:, : WIDTH // 2 - 3], found.sigma[:, WIDTH // 2 + 3 :]
        assert low < here.min()
        assert here.max() < high
        assert np.abs(there - 1.5).max() < 0.1
        assert found.confidence[45, 20] > 0.9
        assert found.confidence[45, 100] < 0.2


def test_what_is_surely_read_stays_as_it_is(two_things, map_of):
    sure = map_of(np.full((HEIGHT, WIDTH), 0.5), confidence=1.0)
    found = corrected(two_things, sure, stroke("blurred", (20.0, 45.0)))
    assert found.sigma[45, 20] > 1.5  # but where it was painted
    assert np.abs(found.sigma[:, 40:58] - 0.5).max() < 0.05


def test_a_later_stroke_holds_over_an_earlier_one(two_things, map_of):
    unsure = map_of(np.full((HEIGHT, WIDTH), 1.5), confidence=0.1)
    both = Strokes(stroke("blurred", (20.0, 45.0)).strokes + stroke("sharp", (20.0, 45.0)).strokes, (WIDTH, HEIGHT))
    np.testing.assert_allclose(
        corrected(two_things, unsure, both).sigma, corrected(two_things, unsure, stroke("sharp", (20.0, 45.0))).sigma
    )


def test_like_there_takes_the_blur_of_that_place(two_things, map_of):
    sigma = np.full((HEIGHT, WIDTH), 1.0, np.float32)
    sigma[:, WIDTH // 2 :] = 5.0
    found = corrected(two_things, map_of(sigma, confidence=0.1), stroke("like", (20.0, 45.0), place=(100.0, 20.0)))
    assert found.sigma[45, 20] == pytest.approx(5.0, rel=0.1)


def test_strokes_mean_the_same_at_every_size(map_of):
    photo = data.astronaut()
    small = np.asarray(Image.fromarray(photo).resize((256, 256), Image.Resampling.BOX))
    strokes = Strokes((Stroke("blurred", ((100.0, 100.0), (200.0, 120.0)), 20.0),), (512, 512))
    large = corrected(photo, map_of(np.full((512, 512), 1.0), confidence=0.1), strokes).sigma
    half = corrected(small, map_of(np.full((256, 256), 0.5), confidence=0.1), strokes).sigma
    off = np.abs(np.log2(2 * half / large.reshape(256, 2, 256, 2).mean(axis=(1, 3))))
    assert off.mean() < 0.1


def test_no_strokes_change_nothing(two_things, map_of):
    made = map_of(np.full((HEIGHT, WIDTH), 1.5))
    assert corrected(two_things, made, Strokes((), (WIDTH, HEIGHT))) is made


def test_strokes_come_back_from_their_file(tmp_path):
    strokes = Strokes(
        stroke("like", (1.5, 2.0), place=(3.0, 4.0)).strokes + stroke("sharp", (5.0, 6.0)).strokes, (120, 90)
    )
    strokes.save(tmp_path / "a.json")
    assert Strokes.load(tmp_path / "a.json") == strokes


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "[" * 100_000,
        "{}",
        '{"defocus": "strokes", "size": [1, 2]}',
        '{"defocus": "strokes", "size": [10, 20], "strokes": [{"kind": "soft", "points": [[1, 2]], "radius": 3}]}',
        '{"defocus": "strokes", "size": [10, 20], "strokes": [{"kind": "sharp", "points": [], "radius": 3}]}',
        '{"defocus": "strokes", "size": [10, 20], "strokes": [{"kind": "sharp", "points": [[NaN, 2]], "radius": 3}]}',
        '{"defocus": "strokes", "size": [0, 20], "strokes": []}',
        "x" * (5 << 20),
    ],
)
def test_a_file_that_holds_no_strokes_says_so(tmp_path, contents):
    (tmp_path / "a.json").write_text(contents)
    with pytest.raises(defocus.MapFileError, match="holds no strokes"):
        Strokes.load(tmp_path / "a.json")


def test_strokes_of_another_photograph_are_refused(two_things, map_of):
    with pytest.raises(defocus.ParameterError, match="painted on a photograph of 500 x 90"):
        corrected(two_things, map_of(np.ones((HEIGHT, WIDTH))), Strokes(stroke("sharp", (1.0, 1.0)).strokes, (500, 90)))


def test_every_command_that_reads_a_map_honours_them(tmp_path, run):
    photo = data.astronaut()[:200, :300]
    Image.fromarray(photo).save(tmp_path / "a.png")
    assert run("estimate", tmp_path / "a.png", "-q")[0] == 0

    def blurred():
        code, out, _ = run("segment", tmp_path / "a.png", "--threshold", "1.5", "-o", tmp_path / "out", "--json", "-q")
        record = json.loads(out)
        assert code == 0
        return (np.asarray(Image.open(record["outputs"]["mask"])) > 127).mean(), record

    before, record = blurred()
    assert "strokes" not in record
    strokes = Strokes(
        (Stroke("blurred", ((60.0, 60.0), (240.0, 60.0), (240.0, 150.0), (60.0, 150.0)), 60.0),), (300, 200)
    )
    strokes.save(tmp_path / f"a{STROKES_ENDING}")
    after, record = blurred()
    assert record["strokes"] == 1
    assert after > before + 0.3 or after < before - 0.3  # whichever way the mask is drawn
    # Outputs made without the strokes are not up to date any more.
    code, out, _ = run(
        "segment", tmp_path / "a.png", "--threshold", "1.5", "-o", tmp_path / "out", "--json", "-q", "--skip-existing"
    )
    assert json.loads(out)["skipped"]
    Strokes((), (300, 200)).save(tmp_path / f"a{STROKES_ENDING}")
    code, out, _ = run(
        "segment", tmp_path / "a.png", "--threshold", "1.5", "-o", tmp_path / "out", "--json", "-q", "--skip-existing"
    )
    assert "skipped" not in json.loads(out)
    code, out, err = run("segment", tmp_path / "a.png", "-o", tmp_path / "score", "--method", "shi2014", "--json")
    assert (code, "strokes" in json.loads(out)) == (0, False)
    assert "left out" in err
    (tmp_path / f"a{STROKES_ENDING}").write_text("nonsense")
    code, _, err = run("segment", tmp_path / "a.png", "-o", tmp_path / "out", "-q")
    assert code == 1
    assert "holds no strokes" in err
