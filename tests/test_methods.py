"""What every method of the registry must hold to, whatever it measures: one test each, all methods."""

import warnings

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

import defocus
from defocus.errors import ParameterError
from defocus.methods.registry import METHODS

ALL = list(METHODS)
WITHOUT_WEIGHTS = ("zhuo2011", "karaali2018")

# Mean difference allowed, as a share of the range of blur, between maps that should be equal but for how an
# algorithm looks to one side (forward differences, zero padding, block grids, learnt filters).
LOOSE = 0.035


def blurred(pixels, sigma):
    return np.rint(ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0), mode="nearest")).astype(np.uint8)


@pytest.fixture(scope="module")
def photograph():
    """Half size, where its own blur is below half a pixel; the right half is blurred by 1.6 px."""
    pixels = data.astronaut().astype(float)
    sharp = np.rint(pixels.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))).astype(np.uint8)
    sharp[:, 128:] = blurred(sharp, 1.6)[:, 128:]
    return sharp


@pytest.fixture(scope="module", params=ALL)
def mapped(request, photograph):
    """A method and its map of the photograph."""
    return request.param, defocus.estimate(photograph, method=request.param)


def blur_range(m):
    """The method's range, but no more than 4 px: the photograph has blur of up to 2 px."""
    return min(m.sigma_range[1] - m.sigma_range[0], 4.0)


def share_of_range(m, other, crop=np.s_[:]):
    """Mean difference between two maps as a share of the range."""
    return np.abs(m.sigma[crop] - other.sigma[crop]).mean() / blur_range(m)


def test_the_map_keeps_its_word(mapped, photograph):
    name, m = mapped
    assert m.method == name
    assert m.unit == METHODS[name].unit
    assert m.sigma.shape == photograph.shape[:2]
    low, high = m.sigma_range
    assert low <= m.sigma.min()
    assert m.sigma.max() <= high
    assert m.confidence.mean() > 0.02


def test_the_blurred_half_reads_blurrier(mapped):
    _, m = mapped
    sharp, soft = np.median(m.sigma[:, :112]), np.median(m.sigma[:, 144:])
    assert soft > sharp + 0.1 * blur_range(m)


@pytest.mark.parametrize("turn", [lambda a: a[:, ::-1], np.rot90], ids=["mirrored", "turned"])
def test_a_turned_photograph_gives_the_turned_map(mapped, photograph, turn):
    name, m = mapped
    # Along an isolated edge JNB's count depends on where the grid of every third patch cuts it: 2/3 of this
    # difference stays at stride 1.
    allowed = 0.055 if name == "shi2015jnb" else LOOSE
    turned = defocus.estimate(np.ascontiguousarray(turn(photograph)), method=name)
    difference = np.abs(turned.sigma - turn(m.sigma)).mean() / blur_range(m)
    assert difference < allowed


def test_a_shifted_frame_gives_the_shifted_map(mapped, photograph):
    name, m = mapped
    shifted = defocus.estimate(photograph[4:, 8:], method=name)
    # Away from the new border, where the same pixels are seen; relative thresholds and the solve see the whole frame.
    difference = np.abs(shifted.sigma - m.sigma[4:, 8:])[24:-24, 24:-24].mean()
    assert difference < LOOSE * blur_range(m)


def test_exposure_does_not_change_the_map(mapped, photograph):
    name, m = mapped
    darker = defocus.estimate(np.rint(photograph * 0.7).astype(np.uint8), method=name)
    # Thresholds in grey levels (JNB's tolerance, noise floors) and rounding to 8 bits do see the exposure a little.
    assert share_of_range(m, darker) < 2 * LOOSE


def test_8_and_16_bit_agree(mapped, photograph):
    name, m = mapped
    # 257 maps 8 bit onto 16 bit exactly, so only rounding of float32 differs, which may move a borderline edge.
    assert share_of_range(m, defocus.estimate(photograph.astype(np.uint16) * 257, method=name)) < 1e-3


def test_the_map_survives_its_file(mapped, tmp_path):
    _, m = mapped
    m.save(tmp_path / "m.tiff", precision="lossless")
    again = defocus.load(tmp_path / "m.tiff")
    for one, other in (
        (m.sigma, again.sigma),
        (m.confidence, again.confidence),
        (m.saturated, again.saturated),
        (m.seeds.sigma, again.seeds.sigma),
    ):
        np.testing.assert_array_equal(one, other)
    assert (again.method, again.unit, again.sigma_range) == (m.method, m.unit, m.sigma_range)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("colour", [0, 90, 255])
def test_a_photograph_of_one_colour_is_not_an_error(name, colour):
    with pytest.warns(UserWarning, match="no edge") as caught:
        m = defocus.estimate(np.full((60, 80, 3), colour, np.uint8), method=name)
    assert len(caught) == 1
    assert np.isfinite(m.sigma).all()
    assert not m.confidence.any()
    assert not np.isfinite(m.seeds.sigma).any()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(3, 40), (3, 3), (8, 8), (300, 5), (33, 47)])
def test_small_and_narrow_photographs(name, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The photograph shows no edge")  # true of some so small
        m = defocus.estimate(pixels, method=name)
    assert m.sigma.shape == shape
    assert np.isfinite(m.sigma).all()


@pytest.mark.parametrize("name", ALL)
def test_confidence_fades_away_from_the_detail(name):
    pixels = np.full((240, 320, 3), 128, np.uint8)
    pixels[100:140, 20:60] = np.random.default_rng(1).integers(0, 256, (40, 40, 1), dtype=np.uint8)
    m = defocus.estimate(blurred(pixels, 0.7), method=name)
    assert m.confidence[120, 40] > 2 * m.confidence[120, 300]


@pytest.mark.parametrize("name", ALL)
def test_progress_rises_to_one_and_the_input_stays(name, photograph):
    steps, before = [], photograph.copy()
    defocus.estimate(photograph[:96, :128], method=name, progress=lambda step, share: steps.append((step, share)))
    shares = [share for _, share in steps]
    assert shares[-1] == 1
    assert shares == sorted(shares)
    assert np.array_equal(photograph, before)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_a_method_without_weights_refuses_them(name, photograph):
    with pytest.raises(ParameterError, match="no weights"):
        defocus.estimate(photograph, method=name, weights="w.npz")
