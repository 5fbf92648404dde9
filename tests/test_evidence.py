"""What looks like detail and says nothing of the lens is not read as if it did."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

import defocus
from defocus.evidence.blocks import without_block_edges
from defocus.evidence.discs import outlined_discs
from defocus.evidence.grain import find_grain
from defocus.photograph import as_photograph
from defocus.photograph.content import find_content

PICTURES = (data.astronaut(), data.coffee()[:, :500], data.rocket())


def blurred(picture, sigma):
    return ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0), mode="nearest")


def as_8_bits(picture):
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def luma(picture):
    return (np.asarray(picture, np.float32) @ np.float32([0.2126, 0.7152, 0.0722]) / 255).astype(np.float32)


def sure_and_wrong(m, sigma):
    """Fraction of pixels with confidence 0.5 or more whose sigma is off by more than half an octave."""
    return float(((m.confidence >= 0.5) & (np.abs(np.log2(m.sigma / sigma)) > 0.5)).mean())


def jpeg(picture, quality):
    file = io.BytesIO()
    Image.fromarray(as_8_bits(picture)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.slow
@pytest.mark.parametrize("picture", PICTURES[:2])
def test_the_blocks_of_a_jpeg_are_not_read(picture):
    soft = blurred(picture, 4)
    for quality in (5, 10, 95):
        m = defocus.estimate(jpeg(soft, quality))
        assert sure_and_wrong(m, 4.0) < 0.05
        assert float(np.median(m.sigma)) == pytest.approx(4, rel=0.35)


def test_blocks_are_found_wherever_they_begin_and_nothing_is_done_without():
    rng = np.random.default_rng(0)
    soft = blurred(PICTURES[0], 3)
    rough = luma(jpeg(soft, 8))
    for crop in (rough, rough[3:, 5:], rough[7:-2]):
        smoothed = without_block_edges(np.ascontiguousarray(crop))
        assert smoothed is not crop
        steps = [np.abs(np.diff(each, axis=1)).mean() for each in (crop, smoothed)]
        assert steps[1] < 0.95 * steps[0]
    for mild in (luma(jpeg(soft, 90)), luma(PICTURES[0]), rng.random((200, 200), dtype=np.float32)):
        assert without_block_edges(mild) is mild


@pytest.mark.parametrize("picture", PICTURES)
def test_film_grain_is_a_guess_and_white_noise_is_not(picture):
    rng = np.random.default_rng(5)
    soft = blurred(picture, 4)
    for deviation, scale in ((4, 1.5), (8, 1.5), (8, 2.5)):
        grain = ndimage.gaussian_filter(rng.normal(size=soft.shape[:2]), scale)
        grainy = as_8_bits(soft + (grain * deviation / grain.std())[..., None])
        found = find_grain(luma(grainy))
        assert found is not None
        assert found.scale == pytest.approx(scale, rel=0.4)
        # Without looking for it: 0.5 to 0.9.
        assert sure_and_wrong(defocus.estimate(grainy), 4.0) < 0.2
    assert find_grain(luma(as_8_bits(soft + rng.normal(0, 5, (*soft.shape[:2], 1))))) is None
    assert find_grain(luma(picture)) is None


def lamps(picture, radius, seed=2):
    rng = np.random.default_rng(seed)
    scene = blurred(picture, radius / 2)
    rows, columns = np.mgrid[: scene.shape[0], : scene.shape[1]]
    mask = np.zeros(scene.shape[:2], bool)
    for _ in range(20):
        row, column = rng.uniform(2 * radius, np.array(mask.shape) - 2 * radius)
        disc = np.hypot(rows - row, columns - column) <= radius
        if not (mask & (np.hypot(rows - row, columns - column) <= 1.5 * radius)).any():
            scene[disc] = 0.15 * scene[disc] + 0.85 * rng.uniform(190, 255, 3)
            mask |= disc
    return as_8_bits(ndimage.gaussian_filter(scene, (0.4, 0.4, 0))), mask


@pytest.mark.parametrize("radius", [8, 14, 24])
def test_lamps_out_of_focus_are_not_sharp(radius):
    for picture in PICTURES[:2]:
        lit, mask = lamps(picture, radius)
        marked = outlined_discs(lit.astype(np.float32) / 255)
        assert marked[mask].mean() > 0.7
        m = defocus.estimate(lit)
        sharp = (m.sigma < 1) & (m.confidence >= 0.5)
        assert sharp.mean() < 0.02


def test_squares_and_texture_are_no_lamps():
    scene = np.full((200, 200), 0.2, np.float32)
    scene[30:60, 30:60] = scene[120:150, 90:140] = 0.9
    assert not outlined_discs(np.repeat(scene[..., None], 3, axis=2)).any()
    for picture in PICTURES:
        assert outlined_discs(picture.astype(np.float32) / 255).mean() < 0.02


def test_an_area_of_one_colour_has_no_confidence():
    picture = PICTURES[0].copy()
    picture[100:200, 300:420] = 255
    m = defocus.estimate(picture)
    assert m.confidence[120:180, 320:400].max() < 0.2
    assert np.isfinite(m.sigma).all()


@pytest.mark.parametrize("method", ["pyramid", "zhuo2011"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_bars_and_frames_are_left_out(method, level):
    soft = as_8_bits(blurred(PICTURES[0], 4))[40:340, 30:430]
    alone = defocus.estimate(soft, method=method)
    for top, bottom, left, right in ((40, 40, 0, 0), (0, 0, 50, 30), (25, 25, 25, 25)):
        framed = np.pad(soft, ((top, bottom), (left, right), (0, 0)), constant_values=level)
        m = defocus.estimate(framed, method=method)
        assert m.sigma.shape == framed.shape[:2]
        inside = np.s_[top : framed.shape[0] - bottom, left : framed.shape[1] - right]
        outside = np.ones(framed.shape[:2], bool)
        outside[inside] = False
        assert m.confidence[outside].max() == 0
        # Two rows of the photograph are given up with the bar, for bars whose end is a mixture.
        np.testing.assert_allclose(np.median(m.sigma[inside]), np.median(alone.sigma), rtol=0.05)
        assert ((m.confidence[inside] >= 0.5) & (m.sigma[inside] < 2)).mean() < 0.01


def test_a_frame_of_jpeg_ringing_is_a_frame_too():
    soft = as_8_bits(blurred(PICTURES[0], 4))[40:340, 30:430]
    framed = jpeg(np.pad(soft, ((43, 43), (0, 0), (0, 0))), 85)
    content = find_content(as_photograph(framed))
    assert 43 <= content.rows.start <= 47
    assert 339 <= content.rows.stop <= 343
    assert content.columns == slice(0, 400)


def test_a_plain_ground_is_no_frame_and_a_photograph_is_whole():
    rows, columns = np.mgrid[:200, :300]
    thing = np.hypot(rows - 100, columns - 150) < 60
    studio = np.where(thing[..., None], PICTURES[0][:200, :300], np.uint8(255))
    for picture in (studio, *PICTURES, np.zeros((50, 60, 3), np.uint8)):
        content = find_content(as_photograph(picture))
        assert (content.rows, content.columns) == (slice(0, picture.shape[0]), slice(0, picture.shape[1]))


def test_colours_hidden_under_transparency_do_not_matter():
    soft = as_8_bits(blurred(PICTURES[0], 4))
    rows, columns = np.mgrid[:512, :512]
    alpha = np.where(np.hypot(rows - 256, columns - 256) < 180, 255, 0).astype(np.uint8)
    maps = []
    for hidden in (PICTURES[0], np.zeros_like(soft), soft):
        picture = np.where(alpha[..., None] == 255, soft, hidden)
        m = defocus.estimate(np.dstack([picture, alpha]))
        assert m.confidence[alpha == 0].max() == 0
        assert ((m.confidence >= 0.5) & (m.sigma < 2)).mean() < 0.005
        maps.append(m.sigma)
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])
    assert defocus.estimate(np.dstack([soft, np.zeros_like(alpha)])).confidence.max() == 0
    # Half transparent everywhere, as of a layer of a picture: nothing is hidden.
    whole = defocus.estimate(np.dstack([soft, np.full_like(alpha, 128)]))
    assert np.array_equal(whole.confidence, defocus.estimate(soft).confidence)
