"""After Shi et al. (TOG 2015): edgelets of known blur, matching, and relative depth."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.special import erf
from skimage import data

import defocus
from defocus.edges import canny
from defocus.errors import ParameterError
from defocus.methods.shi2015tog.edgelets import edgelets
from defocus.methods.shi2015tog.method import SIGMAS, Shi2015TOGParameters, choose, match, peakedness, relative_depth

ANGLES = (0.0, 0.3, np.pi / 4, 1.2)


def step(sigma, angle, noise=0.0):
    y, x = np.mgrid[:120, :120] - 59.63
    across = np.cos(angle) * x + np.sin(angle) * y
    random = np.random.default_rng(5)
    values = 0.5 + 0.25 * erf(across / np.sqrt(2) / sigma) + random.normal(0, noise, across.shape)
    return np.clip(values, 0, 1)


@pytest.mark.parametrize("sigma", [0.5, 0.66, 0.85, 1.13, 1.64, 2.08, 2.5])
def test_blurred_edges_read_their_sigma(sigma):
    # Not only sigmas of the collection, which are multiples of .1.
    for angle in ANGLES:
        for noise in (0.0, 2 / 255):
            picture = np.repeat(step(sigma, angle, noise)[..., None], 3, axis=2)
            m = defocus.estimate(picture, method="shi2015tog")
            assert np.nanmedian(m.seeds.sigma) == pytest.approx(sigma, rel=0.1)
            assert np.median(m.sigma) == pytest.approx(sigma, rel=0.1)


def test_edgelets_do_not_see_direction_contrast_or_place():
    shapes = []
    for angle, contrast in ((0.0, 1.0), (1.1, 0.3), (2.5, 0.6), (4.0, 0.2)):
        grey = 0.5 + contrast * (step(1.2, angle) - 0.5)
        edges = canny(grey, 0.04, 0.1, sigma=1.5)
        edges[:40], edges[80:], edges[:, :40], edges[:, 80:] = False, False, False, False
        found = edgelets(grey, edges)
        shapes.append(np.median(found.samples, axis=0))
        # A normalised step spans from its lowest to its highest value, whatever it was.
        assert found.contrast.mean() == pytest.approx(0.23 * contrast, rel=0.1)
    for shape in shapes[1:]:
        # Up to the third of a pixel by which a blurred crest is moved too little.
        assert np.abs(shape - shapes[0]).max() < 0.12


def test_matching_finds_what_is_in_the_collection():
    random = np.random.default_rng(1)
    codes = random.normal(size=(400, 6))
    sigmas = SIGMAS[random.integers(0, len(SIGMAS), 400)]
    cost = match(codes[:50], cKDTree(codes), sigmas, neighbours=1, eps=0.0)
    assert cost.shape == (50, len(SIGMAS))
    np.testing.assert_array_equal(SIGMAS[cost.argmin(axis=1)], sigmas[:50])
    vague = match(random.normal(size=(50, 6)) * 0.1, cKDTree(codes), sigmas, neighbours=100, eps=0.0)
    assert peakedness(vague).max() < peakedness(cost).min()


def test_a_pull_moves_only_what_is_undecided():
    decided, undecided = np.full((1, len(SIGMAS)), 8.0), np.zeros((1, len(SIGMAS)))
    decided[0, 5] = 0.0
    target, pull = np.array([2.5]), np.array([1.0])
    assert choose(decided, target, pull)[0] == pytest.approx(SIGMAS[5], abs=0.15)
    assert choose(undecided, target, pull)[0] == pytest.approx(2.5, abs=0.2)


def test_depth_order():
    rows = np.linspace(0.5, 2.5, 60, dtype=np.float32)[:, None]
    rgb = np.full((60, 50, 3), 0.5, np.float32)
    growing_up, growing_down = np.repeat(rows[::-1], 50, axis=1), np.repeat(rows, 50, axis=1)
    # What is lower in the frame is nearer: far is up in both.
    for sigma in (growing_up, growing_down):
        depth = relative_depth(sigma, rgb, "auto")
        assert depth[:10].mean() > 0.7
        assert depth[-10:].mean() < 0.3
    assert relative_depth(growing_down, rgb, "sharp near")[-10:].mean() > 0.7
    assert (relative_depth(np.full((60, 50), 1.2, np.float32), rgb, "auto") == 0.5).all()


def test_maps_are_piecewise_smooth_with_clear_borders():
    sharp = data.astronaut()[::2, ::2].astype(float)
    soft = ndimage.gaussian_filter(sharp, (2, 2, 0))
    soft[64:192, 64:192] = 255 - sharp[64:192, 64:192]  # a sharp card of other colours lies on it
    m = defocus.estimate(np.rint(soft).astype(np.uint8), method="shi2015tog")
    inside, outside = m.sigma[80:176, 80:176], np.concatenate([m.sigma[:48].ravel(), m.sigma[208:].ravel()])
    assert np.median(outside) - np.median(inside) > 0.5
    # Smooth: next to no change from pixel to pixel but at the border of the card.
    assert np.median(np.abs(np.diff(m.sigma, axis=1))) < 0.02


def test_relative_depth_is_kept_and_survives_the_file(tmp_path):
    m = defocus.estimate(data.astronaut()[:128, :160], method="shi2015tog")
    assert m.relative_depth.dtype == np.float32
    assert 0 <= m.relative_depth.min() <= m.relative_depth.max() <= 1
    m.save(tmp_path / "m.tiff", precision="lossless")
    np.testing.assert_array_equal(defocus.load(tmp_path / "m.tiff").relative_depth, m.relative_depth)
    other = defocus.estimate(data.astronaut()[:64, :64], method="karaali2018")
    other.save(tmp_path / "o.tiff")
    assert defocus.load(tmp_path / "o.tiff").relative_depth is None


def test_wrong_parameters_are_refused():
    for wrong in ({"depth_order": "up"}, {"neighbours": 0}, {"dense_weight": -1.0}):
        with pytest.raises(ParameterError):
            Shi2015TOGParameters(**wrong)
