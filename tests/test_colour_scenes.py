"""Colour scenes that train both networks of the pyramid method: their blur is what their truth says."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import norm
from skimage import data

from defocus.optics.light import srgb_to_linear
from defocus.training.pyramid.colour import scenes
from defocus.training.pyramid.colour.recipe import CANVAS, SCENE, ColourSceneRecipe
from defocus.training.pyramid.colour.rooms import room
from defocus.training.pyramid.colour.scenes import KNOWN, NEVER, UNKNOWN, render_colour_scene
from defocus.training.pyramid.colour.surfaces import Content, content, outline
from defocus.training.pyramid.sources import Source

_SHARES = {field.name: 0.0 for field in fields(ColourSceneRecipe) if field.name not in ("apertures", "noise")}
PLAIN = ColourSceneRecipe(**{**_SHARES, "single": 1.0, "apertures": (1.0, 0.0, 0.0)})
"""One photograph with even Gaussian blur, and nothing done to it afterwards."""


def coffee(own_blur):
    pixels = data.coffee()
    return [Source(pixels, np.full((pixels.shape[0] // 4, pixels.shape[1] // 4), own_blur, np.float16))]


@pytest.fixture
def edge(monkeypatch):
    """Surfaces that show an edge across the middle, from black to white, and are blurred by 4 px."""
    shown = np.zeros((CANVAS, CANVAS, 3), np.float32)
    shown[:, CANVAS // 2 :] = 1
    sharp = np.zeros((CANVAS, CANVAS), np.float32)
    monkeypatch.setattr(scenes, "content", lambda *given: Content(shown, sharp))
    monkeypatch.setattr(scenes, "_sigmas", lambda count, random: [4.0] * count)


def width_of_edge(pixels):
    """Sigma of the Gaussian whose integral is the mean of the rows, px."""
    rise = srgb_to_linear(pixels[..., 1].astype(np.float32) / 255, by_table=True).mean(0)
    low, high = np.interp(norm.cdf([-1, 1]), rise, np.arange(rise.size))
    return (high - low) / 2


def test_known_blur_in_edges_of_that_blur_out(edge):
    scene = render_colour_scene([], PLAIN, np.random.default_rng(0))
    assert scene.pixels.shape == (SCENE, SCENE, 3)
    assert width_of_edge(scene.pixels) == pytest.approx(4.0, rel=0.01)
    np.testing.assert_array_equal(scene.log2_sigma, 2.0)
    assert (scene.state == KNOWN).all()


def test_a_reduced_scene_is_as_blurred_as_it_says(edge, monkeypatch):
    monkeypatch.setattr(scenes, "sides_before_reduction", lambda *given: (SCENE, round(1.15 * SCENE)))
    scene = render_colour_scene([], PLAIN, np.random.default_rng(0))
    assert width_of_edge(scene.pixels) == pytest.approx(4.0 / 1.15, rel=0.02)
    # The truth is the geometric mean of the blur across and down, which was not reduced here.
    assert 2 ** float(scene.log2_sigma.mean()) == pytest.approx(4.0 / 1.15**0.5, rel=0.001)


def test_slanted_blur_grows_as_its_truth_says(edge, monkeypatch):
    field = np.repeat(np.linspace(2, 6, CANVAS, dtype=np.float32)[:, None], CANVAS, axis=1)
    monkeypatch.setattr(scenes, "_slant", lambda *given: field)
    scene = render_colour_scene([], replace(PLAIN, slanted_back=1.0), np.random.default_rng(0))
    for row in (20, 60, 100):
        true = 2 ** float(scene.log2_sigma[row].mean())
        assert width_of_edge(scene.pixels[4 * row : 4 * row + 4]) == pytest.approx(true, rel=0.03)


def test_a_rooms_blur_grows_along_its_floor_and_things_stand_on_it():
    standing = 0
    for seed in range(6):
        back, *things = room(coffee(0.5), ColourSceneRecipe(), np.random.default_rng(seed))
        column = back.sigma[:, 0]
        wall = column == column[0]
        horizon = int(np.argmin(wall))
        assert 0.2 * CANVAS - 1 <= horizon <= 0.6 * CANVAS + 1
        steps = np.diff(column[horizon:])
        np.testing.assert_allclose(steps, steps.mean(), rtol=0.05)
        assert steps.mean() > 0
        for thing in things:
            foot = np.flatnonzero(thing.mask.max(axis=1) > 0.5)
            if not isinstance(thing.sigma, float) or not foot.size or foot[-1] >= CANVAS - 1:
                continue
            assert thing.sigma == pytest.approx(column[foot[-1]], abs=1.5 * float(steps.mean()))
            standing += 1
    assert standing >= 3


def test_a_scene_follows_from_its_seed():
    first, again, other = (
        render_colour_scene(coffee(0.5), ColourSceneRecipe(), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("share", ["shaken", "halftone"])
def test_nothing_is_readable_under_shake_and_dots(edge, share):
    scene = render_colour_scene([], replace(PLAIN, **{share: 1.0}), np.random.default_rng(1))
    assert (scene.state == NEVER).all()


def test_captions_are_not_readable_and_the_rest_is(edge):
    plain, scene = (
        render_colour_scene([], replace(PLAIN, captioned=share), np.random.default_rng(1)) for share in (0, 1)
    )
    changed = (plain.pixels != scene.pixels).any(axis=2).reshape(SCENE // 4, 4, SCENE // 4, 4).any(axis=(1, 3))
    assert changed.any()
    assert (scene.state[changed] == NEVER).all()
    assert 0.5 < (scene.state == KNOWN).mean() < 1


def test_one_moving_surface_is_not_readable_and_the_others_are(edge):
    recipe = replace(PLAIN, single=0.0, shaken=1.0)
    states = [np.unique(render_colour_scene([], recipe, np.random.default_rng(seed)).state) for seed in range(8)]
    assert any(np.array_equal(found, [KNOWN, NEVER]) for found in states)
    assert any(np.array_equal(found, [NEVER]) for found in states)


@pytest.mark.parametrize(("own_blur", "state"), [(0.5, KNOWN), (5.0, UNKNOWN)])
def test_blur_of_a_blurred_photograph_is_not_known(monkeypatch, own_blur, state):
    monkeypatch.setattr(scenes, "_sigmas", lambda count, random: [1.0])
    scene = render_colour_scene(coffee(own_blur), PLAIN, np.random.default_rng(0))
    assert (scene.state == state).all()


@pytest.mark.parametrize("night", [0.0, 1.0])
def test_surfaces_of_one_picture_differ_in_blur_alone(monkeypatch, night):
    # Everything in focus: where the surfaces lie must then be invisible, if and only if they show the same picture.
    monkeypatch.setattr(scenes, "_sigmas", lambda count, random: [0.0] * count)
    differences = []
    for share in (0.0, 1.0):
        recipe, shown = replace(PLAIN, single=0.0, one_picture=share, night=night), []
        for covered in (0, 300):
            mask = np.zeros((CANVAS, CANVAS), np.float32)
            mask[:, :covered] = 1
            monkeypatch.setattr(scenes, "outline", lambda random, mask=mask: mask)
            shown.append(render_colour_scene(coffee(0.5), recipe, np.random.default_rng(5)).pixels.astype(int))
        differences.append(np.abs(shown[0] - shown[1]).max())
    assert differences[0] > 10
    assert differences[1] <= 1


def test_kinds_of_content_come_in_their_shares():
    for share, kinds in (("bare", 0), ("drawn", 0)):
        shown = content(coffee(5.0), 2.0, replace(PLAIN, **{share: 1.0}), np.random.default_rng(0))
        assert (shown.own_blur > 0).sum() == kinds
    shown = content(coffee(5.0), 2.0, replace(PLAIN, half_bare=1.0), np.random.default_rng(0))
    assert 0.05 < (shown.own_blur > 1).mean() < 0.95


def test_outlines_cover_a_part():
    shares = [outline(np.random.default_rng(seed)).mean() for seed in range(8)]
    assert min(shares) < 0.2
    assert max(shares) > 0.3
    assert all(0 < share < 1 for share in shares)
