"""Properties that hold for any input, looked for by random search: maps, colours, orientation, filters, parameters."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import defocus
from defocus.filters.box import block_average
from defocus.maps.accuracy import is_right
from defocus.methods import METHODS
from defocus.methods.parameters import describe_parameters, set_parameters
from defocus.optics.kernels import disc_kernel, gaussian_kernel
from defocus.optics.light import linear_to_srgb, srgb_to_linear
from defocus.photograph import turn_as_stored, turn_upright
from defocus.photograph.folders import may_be_photograph

SHAPES = st.tuples(st.integers(3, 12), st.integers(3, 12))


@st.composite
def maps(draw):
    shape = draw(SHAPES)
    planes = [
        draw(hnp.arrays(np.float32, shape, elements=st.floats(low, high, width=32))) for low, high in ((0, 32), (0, 1))
    ]
    return defocus.DefocusMap(
        sigma=planes[0],
        confidence=planes[1],
        saturated=draw(hnp.arrays(bool, shape)),
        seeds=defocus.Seeds.none(shape),
        method="made",
        sigma_range=(0.0, 32.0),
        metadata={"note": draw(st.text(max_size=20))},
    )


@given(maps())
@settings(max_examples=25, deadline=None)
def test_any_map_survives_its_file(m):
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("lossless", "compact"):
            path = Path(folder) / f"{precision}.tiff"
            m.save(path, precision=precision)
            back = defocus.load(path)
            # Compact rounds sigma to .4 % and confidence to 1/510 (`DefocusMap.save`); below .02 px it is 0.
            exact = precision == "lossless"
            np.testing.assert_allclose(back.sigma, m.sigma, rtol=0 if exact else 0.0042, atol=0 if exact else 0.02)
            np.testing.assert_allclose(back.confidence, m.confidence, atol=0 if exact else 1 / 510 + 1e-6)
            np.testing.assert_array_equal(back.saturated, m.saturated)
            assert back.metadata["note"] == m.metadata["note"]


@given(maps(), st.floats(0.5, 4))
@settings(max_examples=25, deadline=None)
def test_a_mask_never_shrinks_when_the_threshold_falls(m, threshold):
    photo = np.zeros((*m.sigma.shape, 3), np.uint8)
    strict = defocus.segment(photo, m, threshold=threshold).mask
    loose = defocus.segment(photo, m, threshold=threshold / 2).mask
    assert not (strict & ~loose).any()


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_light_and_back_keeps_values_and_their_order(values):
    linear = srgb_to_linear(values)
    np.testing.assert_allclose(linear_to_srgb(linear), values, atol=1e-6)
    order = np.argsort(values, kind="stable")
    assert (np.diff(linear[order]) >= 0).all()
    # The table has 65,536 entries: half a step of the display values, where the curve is at most 1.06 / .44 steep.
    np.testing.assert_allclose(srgb_to_linear(values, by_table=True), linear, atol=2.5 / 65536)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))), st.integers(1, 8))
def test_every_orientation_can_be_undone(pixels, orientation):
    np.testing.assert_array_equal(turn_as_stored(turn_upright(pixels, orientation), orientation), pixels)


@given(st.floats(0, 12), st.floats(0, 12))
def test_kernels_keep_the_light_and_grow_with_the_blur(small, large):
    small, large = sorted((small, large))
    for kernel in (gaussian_kernel, disc_kernel):
        first, second = kernel(small), kernel(large)
        assert first.sum() == pytest.approx(1)
        assert first.min() >= 0
        assert first.max() >= second.max() - 1e-12  # the same light on more pixels


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-5, 5, width=32)), st.integers(1, 5))
def test_block_averages_stay_within_what_they_average(values, size):
    averages = block_average(values, size)
    assert averages.shape == tuple(-(-side // size) for side in values.shape)
    assert averages.min() >= values.min() - 1e-5
    assert averages.max() <= values.max() + 1e-5


@given(st.floats(0.01, 50), st.floats(-0.09, 0.09))
def test_less_than_a_tenth_off_is_right(truth, off):
    assert is_right(np.array([truth * (1 + off)]), np.array([truth])).all()


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_can_be_set_to_its_default_and_has_a_meaning(name):
    presets = METHODS[name].load().PRESETS
    for parameters in presets.values():
        described = describe_parameters(parameters)
        assert all(each.meaning and each.allowed for each in described)
        settings_ = [f"{each.name}={each.default}" for each in described]
        assert set_parameters(presets["default"], settings_) == parameters


@pytest.mark.parametrize("name", METHODS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_numbers_that_are_none_are_refused(name, data):
    default = METHODS[name].load().PRESETS["default"]
    numbers = [each for each in describe_parameters(default) if "number" in each.allowed and "," not in each.default]
    chosen = data.draw(st.sampled_from(numbers))
    with pytest.raises(defocus.ParameterError, match=chosen.name):
        set_parameters(default, [f"{chosen.name}={data.draw(st.sampled_from(['nan', 'inf', '-1', 'many']))}"])


@given(st.text(max_size=12))
def test_hidden_files_are_never_photographs(name):
    assert not may_be_photograph(f".{name}.jpg")
