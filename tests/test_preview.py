import cv2
import numpy as np
import pytest
import skimage.color
from hypothesis import example, given, settings
from hypothesis import strategies as st

from defocus.errors import ParameterError
from defocus.maps.colours import viridis
from defocus.maps.preview import overlay, preview
from defocus.photograph import photograph_from_array

RAMP = np.tile(np.linspace(0.5, 2.0, 256, dtype=np.float32), (40, 1))


def test_colour_map_is_viridis():
    reference = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    np.testing.assert_array_equal(viridis(), reference)


def test_equal_steps_look_equal():
    lab = skimage.color.rgb2lab(viridis()[None] / 255.0)[0]
    lightness = lab[:, 0]
    # Lightness alone tells the order, also in a black-and-white print; 8-bit colours wobble by 0.2.
    assert (np.diff(lightness[::4]) > 0).all()
    steps = skimage.color.deltaE_ciede2000(lab[:-8:8], lab[8::8])
    # Perceptually uniform within a factor of about two at every step (jet varies by more than ten).
    assert steps.max() / steps.min() < 2.5


def test_dark_is_sharp_and_limits_clip():
    picture = preview(RAMP)
    np.testing.assert_array_equal(picture[0], viridis())
    np.testing.assert_array_equal(preview(RAMP, sigma_limits=(0.5, 2.0)), picture)
    clipped = preview(RAMP, sigma_limits=(1.0, 1.5))
    assert (clipped[0, 0] == viridis()[0]).all()
    assert (clipped[0, -1] == viridis()[-1]).all()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 400),
    st.integers(3, 400),
    st.floats(0, 50, width=32),
    st.floats(0, 50, width=32),
    st.booleans(),
)
@example(3, 3, 1e-45, 1.0, False)
def test_scale_bar_keeps_the_picture_and_its_place(height, width, low, span, faded):
    sigma = np.linspace(low, low + span, height * width, dtype=np.float32).reshape(height, width)
    confidence = np.full(sigma.shape, 0.3, np.float32) if faded else None
    plain = preview(sigma, confidence=confidence)
    assert plain.shape == (height, width, 3)
    assert plain.dtype == np.uint8
    with_bar = preview(sigma, confidence=confidence, scale_bar=True)
    np.testing.assert_array_equal(with_bar[:height, :width], plain)
    assert with_bar.shape[1] == max(width, 200)
    strip = with_bar[height:]
    assert (strip < 100).all(axis=2).any()  # ticks and words
    for colour in viridis()[[40, 128, 215]]:
        # a bar of 160 px leaves colours out, but none by more than two steps of the map
        assert np.abs(strip - colour.astype(int)).sum(axis=2).min() <= 12


def test_ticks_sit_where_their_value_s_colour_is():
    with_bar = preview(RAMP.repeat(3, axis=1), scale_bar=True)
    strip = with_bar[40:]
    ink = (strip == 40).all(axis=2)
    # The first row with ink under the colours: one run of dark pixels per tick.
    row = next(y for y in range(strip.shape[0]) if ink[y].any())
    centres = np.flatnonzero(np.diff(np.flatnonzero(np.r_[True, ink[row], True])) == 0)
    assert centres.size == 0  # no tick touches the picture's sides
    starts = np.flatnonzero(ink[row] & ~np.r_[False, ink[row, :-1]])
    colours = strip[row - 1, starts].astype(int)
    values = np.array([np.abs(viridis() - colour).sum(axis=1).argmin() for colour in colours]) / 255 * 1.5 + 0.5
    # 0.5, 0.75, ..., 2.0; a colour is 1.5/255 px wide and a tick half a pixel of the bar off.
    np.testing.assert_allclose(values, np.arange(0.5, 2.01, 0.25), atol=0.01)


def test_uncertain_is_grey_and_as_light_as_before():
    sure = preview(RAMP)
    np.testing.assert_array_equal(preview(RAMP, confidence=np.full_like(RAMP, 0.5)), sure)
    unsure = preview(RAMP, confidence=np.zeros_like(RAMP))
    assert (np.ptp(unsure, axis=2) == 0).all()
    half = preview(RAMP, confidence=np.full_like(RAMP, 0.25))
    assert (np.ptp(half.astype(int), axis=2) < np.ptp(sure.astype(int), axis=2)).all()
    weights = np.array([0.2126, 0.7152, 0.0722])
    # rounding to 8 bits
    np.testing.assert_allclose(unsure @ weights, sure @ weights, atol=0.51)


def test_fading_shows_no_bands():
    """Colours beside one another, along sigma and along confidence, differ by no more than 3 of 255 and a rounding."""
    confidence = np.linspace(0, 0.5, 400, dtype=np.float32)[:, None]
    sigma = np.tile(np.linspace(0.5, 2.0, 600, dtype=np.float32), (400, 1))
    picture = preview(sigma, confidence=np.broadcast_to(confidence, sigma.shape)).astype(int)
    assert np.abs(np.diff(picture, axis=0)).max() <= 3
    sure, kept = preview(sigma).astype(float), 2 * confidence[..., None]
    grey = (sure @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    exact = grey + kept * (sure - grey)
    assert np.abs(picture - exact).max() <= 2


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf), (np.nan, 1.0)])
def test_bad_limits(limits):
    with pytest.raises(ParameterError, match="lowest first"):
        preview(RAMP, sigma_limits=limits)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_overlay_shows_photograph_and_map(dtype):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    array = np.zeros((40, 256, 3), dtype)
    array[:, 128:] = white
    picture = overlay(photograph_from_array(array), RAMP)
    # half the colour, and half of white where the photograph is white; rounding to 8 bits
    np.testing.assert_allclose(picture[0, :128], viridis()[:128] / 2, atol=0.51)
    np.testing.assert_allclose(picture[0, 128:], viridis()[128:] / 2 + 127.5, atol=0.51)
    assert overlay(photograph_from_array(array), RAMP, scale_bar=True).shape[0] > 40


def test_overlay_wants_the_map_of_this_photograph():
    with pytest.raises(ParameterError, match="256 x 40"):
        overlay(photograph_from_array(np.zeros((256, 40), np.uint8)), RAMP)


def test_a_wide_range_gives_ratios_even_colours():
    sigma = np.array([[0.5, 1.0, 2.0, 4.0, 8.0, 16.0]], np.float32)
    picture = preview(sigma, sigma_limits=(0.25, 32.0))[0].astype(int)
    place = [int(np.abs(viridis().astype(int) - colour).sum(1).argmin()) for colour in picture]
    assert np.ptp(np.diff(place)) <= 1  # an octave is as many colours everywhere
    below = preview(np.array([[0.0, 0.25]], np.float32), sigma_limits=(0.25, 32.0))
    np.testing.assert_array_equal(below[0, 0], below[0, 1])
