"""Masks, more blur, less blur: what a photographer would notice, and the physics that must hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from skimage import data
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio as psnr

import defocus
from defocus.applications.segment import refined
from defocus.errors import ParameterError
from defocus.optics import layered_blur
from defocus.optics.kernels import best_fitting_sigma
from defocus.optics.layered_blur import APERTURES, aperture_kernel
from defocus.optics.light import linear_to_srgb, srgb_to_linear
from defocus.photograph import read_photograph

PHOTO = data.astronaut()[::2, ::2]


@pytest.fixture
def halves(map_of):
    """Make a map of two sigmas, left and right."""

    def made(left, right):
        sigma = np.full(PHOTO.shape[:2], left, np.float32)
        sigma[:, PHOTO.shape[1] // 2 :] = right
        return map_of(sigma)

    return made


# Segmentation


def test_the_three_rules(halves):
    m = halves(0.5, 2.0)
    for options, threshold in (({"alpha": 0.3}, 0.95), ({"alpha": 0.5}, 1.25), ({"threshold": 1.0}, 1.0)):
        s = defocus.segment(PHOTO, m, **options)
        assert s.threshold == pytest.approx(threshold)
        np.testing.assert_array_equal(s.mask, m.sigma > 1)
    for options in ({"auto": True}, {}):
        s = defocus.segment(PHOTO, m, **options)
        assert s.rule == "auto"
        assert 0.5 < s.threshold <= 2.0
        np.testing.assert_array_equal(s.mask, m.sigma > 1)
        assert not s.undecided.any()


def test_one_threshold_in_px_means_the_same_everywhere(halves):
    assert defocus.segment(PHOTO, halves(1.2, 2.0), threshold=1.0).mask.all()
    assert not defocus.segment(PHOTO, halves(0.2, 0.8), threshold=1.0).mask.any()


def test_the_automatic_threshold_listens_to_confidence(map_of):
    sigma = np.full(PHOTO.shape[:2], 0.6, np.float32)
    sigma[:, 100:180], sigma[:, 180:] = 1.1, 3.0
    confidence = np.ones_like(sigma)
    confidence[:, 180:] = 0.0
    m = map_of(sigma)
    listening = defocus.DefocusMap(
        m.sigma, confidence, m.saturated, m.seeds, m.method, m.sigma_range, m.unit, m.metadata
    )
    assert defocus.segment(PHOTO, m, auto=True).threshold > 1.1
    s = defocus.segment(PHOTO, listening, auto=True)
    assert s.threshold <= 1.1
    np.testing.assert_array_equal(s.undecided, confidence < 0.25)


def test_it_says_how_much_of_a_mask_is_a_guess(map_of):
    sigma = np.full(PHOTO.shape[:2], 0.6, np.float32)
    sigma[:, 100:] = 3.0
    confidence = np.full(sigma.shape, 0.9)
    height = len(confidence)
    confidence[: height // 4] = 0.4
    m = map_of(sigma)
    unsure = replace(m, confidence=confidence.astype(np.float32))
    s = defocus.segment(PHOTO, unsure, threshold=1.0)
    assert (s.guesses.area, s.guesses.outline) == (pytest.approx(0.25), pytest.approx(0.25))
    assert s.guesses.in_words() == "Guesses make up 25 % of what is in focus and 25 % of its outline."
    assert defocus.segment(PHOTO, m, threshold=1.0).guesses.in_words() == ""
    # What is guessed counts where the border is after it has been moved.
    confidence[:, 80:] = 0.9
    unsure = replace(m, confidence=confidence.astype(np.float32))
    assert defocus.segment(PHOTO, unsure, threshold=1.0).guesses.outline == 0
    assert defocus.segment(PHOTO, unsure, threshold=1.0, grow=-30).guesses.outline == pytest.approx(0.25)
    everything = defocus.segment(PHOTO, unsure, threshold=9.0)
    assert (everything.guesses.outline, everything.guesses.area > 0) == (0, True)
    assert defocus.segment(PHOTO, unsure, threshold=0.1).guesses.in_words() == ""  # nothing is in focus


def test_a_photograph_of_one_sharpness_is_not_divided(map_of):
    ripple = 1 + 0.05 * np.sin(np.arange(256))[None].repeat(256, 0)
    assert not defocus.segment(PHOTO, map_of(0.6 * ripple), auto=True).mask.any()
    assert defocus.segment(PHOTO, map_of(3.0 * ripple), auto=True).mask.all()


def test_refinement_follows_the_object():
    rows, columns = np.mgrid[:200, :240]
    truth = np.hypot(rows - 100, columns - 120) > 60
    random = np.random.default_rng(0)
    rgb = np.where(truth[..., None], (0.2, 0.5, 0.3), (0.8, 0.4, 0.2)) + random.normal(0, 0.02, (200, 240, 3))
    rough = np.hypot(rows - 102, columns - 117) > 58  # a few pixels off, as maps are
    matte = refined(rough, np.clip(rgb, 0, 1).astype(np.float32))
    assert ((matte >= 0.5) != truth).mean() < 0.2 * (rough != truth).mean()
    assert 0 <= matte.min() <= matte.max() <= 1


def test_a_score_can_be_segmented_but_not_refocused(map_of):
    m = map_of(np.linspace(0, 1, PHOTO.shape[1])[None].repeat(len(PHOTO), 0), unit="score")
    assert defocus.segment(PHOTO, m, threshold=0.5).unit == "score"
    for edit in (defocus.magnify, defocus.sharpen):
        with pytest.raises(ParameterError, match="without px"):
            edit(PHOTO, m)


# Magnification


@pytest.mark.parametrize("pixels", [PHOTO, PHOTO.astype(np.uint16) * 257 + 5, (PHOTO / 255).astype(np.float32)])
def test_amount_1_returns_the_input_bit_for_bit(pixels, halves):
    m = halves(0.5, 3.0)
    same = defocus.magnify(pixels, m, amount=1)
    assert same.dtype == pixels.dtype
    np.testing.assert_array_equal(same, pixels)
    assert same is not pixels
    more = defocus.magnify(pixels, m, amount=2)
    assert more.dtype == pixels.dtype
    # What is in focus stays as it is.
    np.testing.assert_array_equal(more[:, :120], pixels[:, :120])


@pytest.mark.parametrize("aperture", APERTURES)
def test_a_bright_sharp_subject_does_not_bleed_into_the_dark_ground(aperture, map_of):
    pixels = np.full((240, 240, 3), 8, np.uint8)
    pixels[80:160, 80:160] = 250
    sigma = np.full((240, 240), 4.0, np.float32)
    sigma[80:160, 80:160] = 0.3
    made = srgb_to_linear(defocus.magnify(pixels, map_of(sigma), amount=2.5, aperture=aperture) / 255, by_table=True)
    ground, subject = srgb_to_linear(np.array([8, 250]) / 255, by_table=True)
    added = np.sqrt(2.5**2 - 1) * 4
    ring = ndimage.distance_transform_edt(sigma > 1)
    outside = made[(ring >= 1) & (ring <= 2 * added)]
    assert (outside - ground).max() < 0.01 * (subject - ground)
    np.testing.assert_array_equal(defocus.magnify(pixels, map_of(sigma), aperture=aperture)[85:155, 85:155], 250)


@pytest.mark.parametrize("aperture", APERTURES)
@pytest.mark.parametrize("sigma", [1.0, 3.0, 9.0])
def test_the_blur_added_is_the_blur_asked_for(aperture, sigma):
    # A point on grey: the Gaussian that best explains what becomes of it.
    size = 161
    light = np.zeros((size, size, 3), np.float32)
    light[80, 80] = 1.0
    sigmas = np.full((size, size), sigma, np.float32)
    result = np.zeros_like(light)

    def write(window, made):
        result[window] = made

    layered_blur.blur_by_layers(lambda window: light[window], sigmas, aperture, write)
    assert result[..., 0].sum() == pytest.approx(1, abs=0.02)
    # Layers stand 30 % apart, and sigma lies between two of them.
    assert best_fitting_sigma(result[..., 0]) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("aperture", ["disc", "hexagon"])
@pytest.mark.parametrize("sigma", [0.8, 2.0, 6.0])
def test_kernels_have_their_sigma_and_are_centred(aperture, sigma):
    kernel = aperture_kernel(sigma, aperture)
    at = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    for axis in (0, 1):
        profile = kernel.sum(axis=axis)
        assert (profile * at).sum() == pytest.approx(0, abs=1e-5)
    assert best_fitting_sigma(kernel) == pytest.approx(sigma, rel=0.01)


def test_tiles_do_not_show(monkeypatch, map_of):
    sigma = map_of(0.4 + 3 * np.linspace(0, 1, 256)[None].repeat(256, 0) ** 2)
    whole = defocus.magnify(PHOTO, sigma, amount=2, aperture="gaussian")
    monkeypatch.setattr(layered_blur, "TILE", 96)
    tiled = defocus.magnify(PHOTO, sigma, amount=2, aperture="gaussian")
    # A tile leaves out layers that only lie beyond its margin; what they would add at its rim is what differs.
    assert np.abs(whole.astype(int) - tiled).max() <= 6
    assert np.abs(whole.astype(int) - tiled).mean() < 0.1


def test_one_colour_stays_one_colour(map_of):
    pixels = np.full((200, 260, 3), (200, 120, 40), np.uint8)
    made = defocus.magnify(pixels, map_of(0.3 + np.linspace(0, 6, 260)[None].repeat(200, 0)), amount=3)
    assert np.abs(made.astype(int) - pixels).max() <= 1


def test_a_lamp_becomes_a_bright_disc_where_that_is_asked_for(map_of):
    pixels = np.full((200, 200, 3), 20, np.uint8)
    pixels[98:103, 98:103] = 255
    sigma = np.full((200, 200), 3.0, np.float32)
    sigma[:20] = 0.3
    lit = defocus.magnify(pixels, map_of(sigma), amount=3, highlights=True)[100, 100].mean()
    dull = defocus.magnify(pixels, map_of(sigma), amount=3)[100, 100].mean()
    assert lit > dull + 10
    # Clipped in one channel only, or not surely out of focus: no lamp.
    coloured = np.where(pixels == 255, np.array([255, 120, 40]), pixels).astype(np.uint8)
    for picture, m in ((coloured, map_of(sigma)), (pixels, map_of(sigma, confidence=0.4))):
        plain, asked = (defocus.magnify(picture, m, amount=3, highlights=each) for each in (False, True))
        np.testing.assert_array_equal(plain, asked)


def textured(blur=0.0, size=256, seed=0):
    """Texture of all scales, blurred by a sigma, as uint8 grey in three channels."""
    rng = np.random.default_rng(seed)
    scales = sum(ndimage.gaussian_filter(rng.normal(size=(size, size)), s) * s for s in (0.7, 1.5, 3, 6))
    grey = 128 + 30 * ndimage.gaussian_filter(scales / scales.std(), blur)
    return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("edit", [lambda p, m: defocus.magnify(p, m, amount=3), defocus.sharpen])
def test_where_the_map_does_not_know_nothing_changes(edit, map_of):
    pixels = textured(2.0)
    sigma = np.full((256, 256), 2.0, np.float32)
    sigma[:, :40] = 0.3
    m = map_of(sigma)
    m.confidence[:, 140:] = 0.05
    edited = edit(pixels, m)
    np.testing.assert_array_equal(edited[:, 140:], pixels[:, 140:])
    assert (edited[:, 60:100] != pixels[:, 60:100]).mean() > 0.5
    m.confidence[:] = 0.0
    np.testing.assert_array_equal(edit(pixels, m), pixels)


def test_an_edit_grows_with_the_confidence(map_of):
    pixels = textured(2.0)
    sigma = np.full((256, 256), 2.0, np.float32)
    sigma[:20] = 0.3
    for edit in (lambda m: defocus.magnify(pixels, m, amount=2), lambda m: defocus.sharpen(pixels, m)):
        changes = [
            float(np.abs(edit(map_of(sigma, confidence=c))[40:].astype(int) - pixels[40:]).mean())
            for c in (0.1, 0.25, 0.45, 0.9)
        ]
        assert changes == sorted(changes)
        assert changes[0] == 0
        assert changes[-1] > 0.5


def test_a_sharp_photograph_comes_back(map_of):
    pixels = textured()
    ripple = np.float32(0.4) * (1 + 0.05 * np.sin(np.arange(256, dtype=np.float32)))[None].repeat(256, 0)
    for edited in (defocus.magnify(pixels, map_of(ripple), amount=3), defocus.sharpen(pixels, map_of(ripple))):
        assert (np.abs(edited.astype(int) - pixels) > 2).mean() < 0.01


def test_a_sigma_that_is_far_too_large_does_little_harm(map_of):
    pixels = textured()
    wrong = np.full((256, 256), 4.0, np.float32)
    wrong[:20] = 0.3
    edited = defocus.sharpen(pixels, map_of(wrong))
    # Blurring the result again must give the photograph back, which nothing much sharper does.
    assert np.abs(edited.astype(int) - pixels).mean() < 4


def test_the_grain_stays_where_blur_is_added(map_of):
    rng = np.random.default_rng(1)
    scene = np.full((256, 320, 3), 120.0)
    scene[:, :100] += 40 * (rng.random((256, 100, 1)) > 0.5)  # a subject with detail
    grainy = np.clip(scene + rng.normal(0, 5, scene.shape), 0, 255).astype(np.uint8)
    sigma = np.full((256, 320), 3.0, np.float32)
    sigma[:, :120] = 0.3
    ground = np.s_[40:-40, 170:-20]
    before, after = (
        float((a[ground] - ndimage.gaussian_filter(a[ground].astype(float), (2, 2, 0))).std())
        for a in (grainy, defocus.magnify(grainy, map_of(sigma), amount=3))
    )
    # Within a fifth, which the eye does not see: the measure takes the flattest windows, and so a little less.
    assert after == pytest.approx(before, rel=0.2)
    clean = np.rint(scene).astype(np.uint8)
    smooth = defocus.magnify(clean, map_of(sigma), amount=3)[ground]
    assert smooth.std() < 0.5  # none is made up


def test_one_side_alone_can_be_blurred(map_of):
    pixels = textured()
    sigma = np.full((256, 256), 3.0, np.float32)
    sigma[110:150] = 0.3
    m = map_of(sigma)
    both, behind, front = (
        np.abs(defocus.magnify(pixels, m, amount=3, side=side).astype(int) - pixels).mean(axis=(1, 2))
        for side in ("both", "behind", "front")
    )
    assert both[:90].mean() > 5
    assert both[170:].mean() > 5
    assert behind[:90].mean() == pytest.approx(both[:90].mean(), rel=0.1)
    assert behind[175:].max() == 0
    assert front[175:].mean() == pytest.approx(both[175:].mean(), rel=0.1)
    assert front[:90].max() == 0
    with pytest.raises(ParameterError, match="side must be"):
        defocus.magnify(pixels, m, side="left")


def test_a_small_unsure_patch_does_not_divide_a_sharp_photograph(map_of):
    sigma = np.full(PHOTO.shape[:2], 0.4, np.float32)
    sigma[:40, :60] = 3.0
    m = map_of(sigma)
    assert defocus.segment(PHOTO, m).mask.any()  # a small patch that is read surely is one
    m.confidence[:40, :60] = 0.35
    assert not defocus.segment(PHOTO, m).mask.any()


def test_no_automatic_threshold_calls_what_is_in_focus_blurred(map_of):
    sigma = np.full(PHOTO.shape[:2], 0.3, np.float32)
    sigma[:, 128:] = 0.6
    s = defocus.segment(PHOTO, map_of(sigma))
    assert s.threshold >= 0.8
    assert not s.mask.any()


def test_the_focus_moves(halves):
    soft = np.rint(ndimage.gaussian_filter(PHOTO.astype(float), (2, 2, 0))).astype(np.uint8)
    pixels = np.concatenate([PHOTO[:, :128], soft[:, 128:]], axis=1)
    made = defocus.magnify(pixels, halves(0.4, 2.0), focus=(200, 100))

    def detail(picture, part):
        return np.abs(np.diff(picture[part].astype(float), axis=0)).mean()

    left, right = np.s_[:, 10:110], np.s_[:, 146:246]
    assert detail(made, left) < 0.7 * detail(pixels, left)
    assert detail(made, right) > 1.2 * detail(pixels, right)


# Sharpening


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
def test_known_blur_is_taken_back(sigma, halves):
    soft = np.rint(ndimage.gaussian_filter(PHOTO.astype(float), (sigma, sigma, 0), mode="nearest")).astype(np.uint8)
    pixels = np.concatenate([PHOTO[:, :128], soft[:, 128:]], axis=1)
    made = defocus.sharpen(pixels, halves(0.3, sigma))
    right = np.s_[:, 132:]
    assert psnr(PHOTO[right], made[right]) > psnr(PHOTO[right], pixels[right]) + 0.3
    assert np.abs(PHOTO[:, :124].astype(int) - made[:, :124]).mean() < 0.5


def test_noise_does_not_become_detail(halves):
    random = np.random.default_rng(0)
    soft = ndimage.gaussian_filter(PHOTO.astype(float), (2, 2, 0))
    noisy = np.rint(np.clip(soft + random.normal(0, 6, soft.shape), 0, 255)).astype(np.uint8)
    made = defocus.sharpen(noisy, halves(0.3, 2.0))
    assert psnr(PHOTO, made) > psnr(PHOTO, noisy) - 0.1


def test_strength_and_16_bit(halves):
    m = halves(0.3, 2.0)
    np.testing.assert_array_equal(defocus.sharpen(PHOTO, m, strength=0), PHOTO)
    deep = PHOTO.astype(np.uint16) * 257
    made = defocus.sharpen(deep, m)
    assert made.dtype == np.uint16
    assert np.abs(made / 257 - defocus.sharpen(PHOTO, m)).max() < 1.5


def test_wrong_input_is_one_sentence(halves):
    m = halves(0.5, 2.0)
    for call, words in (
        (lambda: defocus.magnify(PHOTO, m, amount=0.5), "1 or more"),
        (lambda: defocus.magnify(PHOTO, m, focus=(999, 3)), "outside"),
        (lambda: defocus.magnify(PHOTO, m, aperture="star"), "aperture"),
        (lambda: defocus.sharpen(PHOTO, m, strength=3), r"0\.\.2"),
        (lambda: defocus.segment(PHOTO, m, threshold=1, auto=True), "Give one of"),
        (lambda: defocus.segment(PHOTO, m, threshold=1, alpha=0.3), "Give one of"),
        (lambda: defocus.segment(PHOTO, m, alpha=2), r"0\.\.1"),
        (lambda: defocus.segment(PHOTO[:50], m), "estimate it anew"),
    ):
        with pytest.raises(ParameterError, match=words):
            call()


def test_light_and_back():
    levels = np.arange(256) / 255
    np.testing.assert_allclose(
        linear_to_srgb(srgb_to_linear(levels, by_table=True), by_table=True) * 255, np.arange(256), atol=0.01
    )
    assert srgb_to_linear(np.array([0.5]), by_table=True)[0] == pytest.approx(0.2140, abs=1e-4)


# Command line


@pytest.fixture
def shoot(tmp_path):
    folder = tmp_path / "shoot"
    folder.mkdir()
    for k in range(2):
        Image.fromarray(np.roll(PHOTO, 40 * k, axis=1)).save(folder / f"a{k}.jpg", quality=95)
    return folder


def test_every_command_leaves_the_originals_and_tells_what_it_wrote(run, shoot):
    before = {path: path.read_bytes() for path in shoot.iterdir()}
    for command, kinds in (
        (["segment", "--soft", "--refine"], {"mask", "matte", "outline"}),
        (["magnify", "--amount", "1.5"], {"photograph"}),
        (["sharpen"], {"photograph"}),
    ):
        # A second run finds outputs in the folder and leaves them out.
        for _ in range(2 if command[0] == "segment" else 1):
            code, out, _err = run(command[0], shoot, *command[1:], "--json", "-q")
        assert code == 0
        records = [json.loads(line) for line in out.splitlines()]
        assert len(records) == 2
        for record in records:
            assert set(record["outputs"]) == kinds
            for path in record["outputs"].values():
                with Image.open(path) as picture:
                    assert picture.size == (256, 256)
    assert {path: path.read_bytes() for path in before} == before


def test_masks_for_photogrammetry(run, shoot, tmp_path):
    run("estimate", shoot, "-o", tmp_path / "maps", "-q")
    maps = ["--map", tmp_path / "maps", "-q"]
    assert run("segment", shoot, "-o", tmp_path / "c", "--naming", "colmap", *maps)[0] == 0
    assert run("segment", shoot, "-o", tmp_path / "m", "--naming", "metashape", *maps)[0] == 0
    Image.fromarray(PHOTO[:100, :120]).save(tmp_path / "small.png")
    assert run("segment", shoot, "-o", tmp_path / "s", "--suffix", ".mask.png", *maps)[0] == 0
    assert run("segment", shoot / "a0.jpg", "-o", tmp_path / "l", "--size-like", tmp_path / "small.png", "-q")[0] == 0
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["a0.jpg.png", "a1.jpg.png"]
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["a0_mask.png", "a1_mask.png"]
    colmap, metashape, plain = (imread(tmp_path / p) for p in ("c/a0.jpg.png", "m/a0_mask.png", "s/a0.mask.png"))
    # These tools keep what is white, so in focus is white; the mask itself has blurred white.
    np.testing.assert_array_equal(colmap, metashape)
    np.testing.assert_array_equal(colmap, 255 - plain)
    assert set(np.unique(colmap)) <= {0, 255}
    with Image.open(tmp_path / "l/a0.defocus.mask.png") as mask:
        assert mask.size == (120, 100)


def test_masks_never_replace_photographs_or_each_other(run, shoot):
    Image.fromarray(PHOTO).save(shoot / "b.png")
    before = {path: path.read_bytes() for path in shoot.iterdir()}
    code, _, err = run("segment", shoot / "b.png", "--suffix", ".png", "-q")
    assert code == 1
    assert "would replace" in err
    Image.fromarray(PHOTO).save(shoot / "b.jpg")
    code, _, err = run("segment", shoot / "b.png", shoot / "b.jpg", "--naming", "metashape", "-q")
    assert code == 1
    assert "would replace" in err
    assert all(path.read_bytes() == bytes_ for path, bytes_ in before.items())


def test_edits_keep_depth_and_exif(run, tmp_path):
    exif = Image.Exif()
    exif[271] = "Maker"
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=exif.tobytes())
    tifffile.imwrite(tmp_path / "b.tif", PHOTO.astype(np.uint16) * 257, photometric="rgb")
    for name, made in (("a.jpg", "a.defocus.magnified.jpg"), ("b.tif", "b.defocus.magnified.tif")):
        assert run("magnify", tmp_path / name, "-q")[0] == 0
        edited = read_photograph(tmp_path / made)
        assert edited.pixels.dtype == (np.uint8 if name == "a.jpg" else np.uint16)
    with Image.open(tmp_path / "a.defocus.magnified.jpg") as picture:
        assert picture.getexif()[271] == "Maker"


def test_bad_input_costs_one_line(run, shoot, tmp_path):
    (shoot / "a1.jpg").write_bytes(b"no photograph")
    code, out, err = run("sharpen", shoot, "--json", "-q")
    assert code == 1
    assert "a1.jpg" in err
    assert "Traceback" not in err
    assert [("error" in json.loads(line)) for line in out.splitlines()] == [False, True]
    for arguments in (
        ["magnify", shoot, "--aperture-shape", "star"],
        ["magnify", shoot, "--focus", "middle"],
        ["segment", shoot, "--naming", "other"],
        ["segment", shoot, "--auto", "--threshold", "1"],
        ["segment", shoot, "--auto", "--alpha", "0.3"],
        ["sharpen", shoot, "--map", shoot / "a0.jpg"],
        ["sharpen", shoot, "--method", "none"],
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert "Traceback" not in err
    code, _, err = run("magnify", shoot / "a0.jpg", "--map", shoot, "-q")
    assert code == 1
    assert "estimate it first" in err
