"""Pages saved as one file, in a real browser."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from scipy import ndimage
from skimage import data

import defocus
from browser import WITHOUT_WEBGL, Watched
from defocus.pages.pictures import PagePhotograph
from defocus.pages.saved import held, page_of

LAYOUTS = {
    "dark": {"color_scheme": "dark"},
    "light": {"color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}


def half_blurred(photo, sigma=3.0):
    """Left half sharp, right half blurred in linear light, as a lens does it."""
    linear = (photo / 255.0) ** 2.2
    blurred = ndimage.gaussian_filter(linear, (sigma, sigma, 0))
    middle = photo.shape[1] // 2
    linear[:, middle:] = blurred[:, middle:]
    return np.rint(255 * linear ** (1 / 2.2)).astype(np.uint8)


PHOTO = half_blurred(data.astronaut()[:320, :480])


@pytest.fixture(scope="module")
def found():
    return defocus.estimate(PHOTO)


@pytest.fixture(scope="module")
def saved(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "astronaut.html"
    found.save_page(path, PHOTO, name="astronaut <b>.jpg")
    return path


@pytest.fixture
def opened(chromium, saved):
    watched = Watched(chromium, saved.as_uri())
    yield watched
    watched.page.close()
    assert watched.errors == []
    assert watched.requests == [saved.as_uri()]  # it asks nobody for anything


@pytest.mark.parametrize("sigma", [0.4, 6.0])
def test_a_threshold_beyond_the_blur_of_the_photograph_does_not_jump_when_it_is_touched(chromium, tmp_path, sigma):
    spread = np.linspace(sigma, 1.2 * sigma, 96, dtype=np.float32)[None].repeat(64, 0)
    found = replace(defocus.estimate(PHOTO[:64, :96]), sigma=spread)
    found.save_page(tmp_path / "even.html", PHOTO[:64, :96])
    page = Watched(chromium, (tmp_path / "even.html").as_uri()).page
    shown = page.locator("#threshold-value")
    assert shown.inner_text() == "1.0 px"
    page.focus("#view")
    page.keyboard.press("]")
    more = float(shown.inner_text().split()[0])
    page.keyboard.press("[")
    page.keyboard.press("[")
    less = float(shown.inner_text().split()[0])
    page.close()
    assert 0.9 < less < more <= 1.1 or (sigma < 1 and less < 1 <= more)


def test_what_is_said_of_the_surface_is_gone_with_it(opened):
    opened.page.keyboard.press("5")
    opened.until("document.getElementById('reading').textContent.startsWith('Depth')")
    opened.page.keyboard.press("2")
    assert opened.page.inner_text("#reading") == ""


def test_the_list_of_keys_begins_at_its_beginning(chromium, saved):
    watched = Watched(chromium, saved.as_uri(), viewport={"width": 390, "height": 400})
    watched.page.keyboard.press("?")
    box = watched.page.locator("#about-keys").bounding_box()
    watched.page.close()
    assert 0 <= box["y"] < 400


def test_it_reads_out_what_the_map_says(opened, found):
    page = opened.page
    page.focus("#view")
    page.keyboard.press("Shift+ArrowRight")
    told = page.inner_text("#reading")
    x, y, sigma, confidence = re.match(r"(\d+), (\d+): [≤≥ ]*([\d.]+) px, confidence (\d+) %", told).groups()
    there = found.sigma[int(y), int(x)]
    assert float(sigma) == pytest.approx(there, rel=0.05, abs=0.05)  # 256 steps of 1.8 %, and three figures
    assert int(confidence) == pytest.approx(100 * found.confidence[int(y), int(x)], abs=1.5)
    assert ("a guess" in told) == (int(confidence) < 50)
    page.wait_for_timeout(400)
    assert page.inner_text("#aloud") in told  # for who cannot see it


def test_the_share_in_focus_is_that_of_rank(opened, found):
    share = int(re.match(r"(\d+) %", opened.page.inner_text("#share"))[1])
    assert share == pytest.approx(100 * defocus.sharpness(found).in_focus, abs=2)
    opened.set("threshold", 1000)
    assert int(re.match(r"(\d+) %", opened.page.inner_text("#share"))[1]) > share + 5


def test_names_are_text(opened):
    assert opened.page.inner_text("#name") == "astronaut <b>.jpg"
    assert opened.page.locator("b").count() == 0


@pytest.mark.parametrize("amount", [3.0, 6.0])
def test_it_refocuses_as_magnify_does(opened, found, amount):
    # 30 dB at three times the blur is what people take for the same picture; the page's JPEG alone costs 38 dB.
    shown = refocused(opened, amount)
    wanted = defocus.magnify(PHOTO, found, amount=2 ** float(opened.page.locator("#amount").input_value()))
    unedited = psnr(PHOTO, wanted)
    assert psnr(shown, wanted) >= (30 if amount == 3 else 27)
    assert psnr(shown, wanted) > unedited + 3


def test_as_taken_is_the_photograph(opened):
    assert psnr(refocused(opened, 1.0), PHOTO) >= 35  # the page's JPEG


def refocused(opened, amount):
    """The page's own refocusing at one px for each of the photograph."""
    page = opened.page
    opened.set("amount", np.log2(amount))
    page.hover("#view")
    page.keyboard.press("z")
    page.wait_for_timeout(3000)
    shot = np.asarray(Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB"))
    top, left = ((a - b) // 2 for a, b in zip(shot.shape, PHOTO.shape, strict=True) if a != b)
    # A canvas of an odd height puts the middle half a px aside: the nearest place counts.
    cuts = [shot[top + d : top + d + PHOTO.shape[0], left : left + PHOTO.shape[1]] for d in (-1, 0, 1)]
    return max(cuts, key=lambda cut: psnr(cut[:, :200], PHOTO[:, :200]))


def psnr(a, b):
    inner = np.s_[4:-4, 4:-4]
    return 10 * np.log10(255**2 / np.mean((a[inner].astype(float) - b[inner].astype(float)) ** 2))


def test_the_aperture_is_told_in_f_numbers(chromium, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829D] = 2.8
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=exif.tobytes())
    defocus.estimate(tmp_path / "a.jpg", method="zhuo2011").save_page(tmp_path / "a.html", tmp_path / "a.jpg")
    watched = Watched(chromium, (tmp_path / "a.html").as_uri())
    told = {}
    for position in (-1, 0, 1):
        watched.set("amount", position)
        told[position] = watched.page.inner_text("#amount-value")
    assert told == {-1: "all in focus", 0: "f/2.8, as taken", 1: "f/1.4, blur × 2.0"}
    watched.page.close()


def test_all_views_are_different_pictures(opened):
    shots = []
    for key in "12345":
        opened.page.keyboard.press(key)
        opened.page.wait_for_timeout(1500)
        shots.append(opened.page.locator("#stage").screenshot())
    assert len(set(shots)) == 5
    assert opened.page.inner_text("#busy") == ""


def test_a_surface_turns_by_keys_and_no_farther_than_it_makes_sense(opened):
    page = opened.page
    page.keyboard.press("5")
    page.wait_for_selector("#solid:visible")
    page.wait_for_timeout(1000)
    page.focus("#solid")
    turned = [page.locator("#solid").screenshot()]
    for _ in range(3):
        for _ in range(12):
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        turned.append(page.locator("#solid").screenshot())
    assert turned[0] != turned[1]
    assert turned[2] == turned[3]
    page.keyboard.press("0")
    page.wait_for_timeout(300)
    assert page.locator("#solid").screenshot() == turned[0]


def test_holding_b_shows_the_photograph(opened):
    page = opened.page
    page.keyboard.press("3")
    page.wait_for_timeout(400)
    page.keyboard.down("b")
    page.wait_for_timeout(400)
    held = page.locator("#view").screenshot()
    page.keyboard.up("b")
    page.keyboard.press("o")
    page.keyboard.press("1")
    page.wait_for_timeout(400)
    assert page.locator("#view").screenshot() == held


LOSE = "document.getElementById('view').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"


@pytest.fixture
def divided(chromium, map_of, tmp_path):
    """A page of a grey photograph, in focus on the left; what is below is a guess."""
    sigma = np.full((320, 480), 0.5, np.float32)
    sigma[:, 240:] = 3.0
    confidence = np.full(sigma.shape, 0.9, np.float32)
    confidence[160:] = 0.3
    grey = np.full((320, 480, 3), 120, np.uint8)
    replace(map_of(sigma), confidence=confidence).save_page(tmp_path / "a.html", grey, name="grey.png")
    watched = Watched(chromium, (tmp_path / "a.html").as_uri())
    for name, value in (("threshold", 300), ("grow", 0), ("feather", 0)):
        watched.set(name, value)
    watched.page.keyboard.press("1")
    yield watched
    watched.page.close()


def outlined(watched):
    """Where the outline is: how much of each row of px of the photograph is yellow, and the middle of that."""
    watched.page.wait_for_timeout(1500)
    box = watched.page.locator("#view").bounding_box()
    zoom = 0.98 * min(box["width"] / 480, box["height"] / 320)
    shot = np.asarray(Image.open(io.BytesIO(watched.page.screenshot(clip=box))).convert("RGB")).astype(float)
    yellow = (shot[..., 0] - shot[..., 2]).clip(0) / 255
    middle = np.array(yellow.shape) / 2
    rows = np.round(middle[0] + (np.arange(10, 310) - 160) * zoom).astype(int)
    columns = (np.arange(yellow.shape[1]) + 0.5 - middle[1]) / zoom + 240
    return yellow[rows], columns, zoom


@pytest.mark.parametrize("webgl", [True, False])
def test_the_outline_of_a_guess_is_dashed(divided, webgl):
    if not webgl:
        divided.page.evaluate(LOSE)
    yellow, _, _ = outlined(divided)
    has = (yellow > 0.5).any(axis=1)
    assert has[:140].all()  # read
    assert 0.25 < has[160:].mean() < 0.75  # guessed
    assert "Guesses make up 50 % of what is in focus and 50 % of its outline." in divided.page.inner_text("#share")
    with divided.page.expect_download():
        divided.page.click("[data-export=mask]")
    divided.until("document.getElementById('exported').textContent.includes('Guesses make up 50 %')")


@pytest.mark.parametrize("webgl", [True, False])
def test_the_outline_is_that_of_the_mask_that_is_exported(divided, webgl):
    if not webgl:
        divided.page.evaluate(LOSE)
    for grow in (0, 18, -18):
        divided.set("grow", grow)
        yellow, columns, _ = outlined(divided)
        line = columns[(yellow[:140] > 0.6).any(axis=0)]
        assert line.mean() == pytest.approx(240 + grow, abs=2)
        with divided.page.expect_download() as waiting:
            divided.page.click("[data-export=mask]")
        mask = np.asarray(Image.open(waiting.value.path()).convert("L"))
        assert (mask[80] > 127).sum() == pytest.approx(line.mean(), abs=2)
    divided.set("grow", 0)
    divided.set("feather", 40)
    yellow, columns, _ = outlined(divided)
    soft = columns[(yellow[:140] > 0.1).all(axis=0)]
    assert (soft.min(), soft.max()) == (pytest.approx(220, abs=3), pytest.approx(260, abs=3))  # a band


@pytest.mark.parametrize(("grow", "feather"), [(0, 0), (8, 0), (-8, 0), (0, 20)])
def test_masks_grow_and_get_soft_borders(opened, found, grow, feather):
    opened.set("threshold", 500)
    opened.set("grow", grow)
    opened.set("feather", feather)
    threshold = float(opened.page.inner_text("#threshold-value").split()[0])
    with opened.page.expect_download() as waiting:
        opened.page.click("[data-export=mask]")
    assert waiting.value.suggested_filename == "astronaut <b>.defocus.mask.png".replace("<", "_").replace(">", "_")
    mask = np.asarray(Image.open(waiting.value.path()).convert("L")) / 255
    inside = found.sigma < threshold
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    away = np.abs(distance + grow) > feather / 2 + 4  # what is coded in 256 steps may lie on either side at the border
    assert (mask[away] == (distance[away] + grow > 0)).mean() > 0.99
    if feather:
        assert ((mask > 0.05) & (mask < 0.95)).mean() > 0.01
    else:
        assert ((mask > 0.05) & (mask < 0.95)).mean() < 0.01


def test_a_cutout_is_transparent_where_it_is_out_of_focus(opened, found):
    with opened.page.expect_download() as waiting:
        opened.page.keyboard.press("t")
    cut = np.asarray(Image.open(waiting.value.path()))
    assert cut.shape == (*PHOTO.shape[:2], 4)
    assert cut[found.sigma < 0.8, 3].mean() > 240
    assert cut[found.sigma > 1.25, 3].mean() < 15


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nobody_is_left_out(chromium, saved, layout):
    watched = Watched(chromium, saved.as_uri(), **LAYOUTS[layout])
    for view in "24":
        watched.page.locator(f"input[name=view][value='{int(view) - 1}']").check(force=True)
        found = Axe().run(watched.page)
        assert found.violations_count == 0, found.generate_report()
    wide = watched.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0  # nothing to scroll sideways
    watched.page.close()


def test_everything_is_reached_by_the_keyboard(opened):
    page = opened.page
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.export"))
    wanted = {"view", "help", "threshold", "outline", "hatched", "opacity", "amount", "aperture", "as-it-was", "split"}
    assert wanted | {"grow", "feather", "mask", "cutout"} <= reached
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()


def test_without_webgl_it_still_shows_everything_but_the_surface(launch, saved):
    watched = Watched(launch(*WITHOUT_WEBGL), saved.as_uri())
    shots = []
    for key in "1234":
        watched.page.keyboard.press(key)
        watched.page.wait_for_timeout(1200)
        shots.append(watched.page.locator("#view").screenshot())
    assert len(set(shots)) == 4
    watched.page.keyboard.press("5")
    watched.page.wait_for_timeout(300)
    assert "no WebGL" in watched.page.inner_text("#busy")
    assert watched.page.locator("#view").is_visible()  # as before
    assert [error for error in watched.errors if "WebGL" not in error] == []


def test_the_coded_map_is_exact_to_half_a_step(found):
    shown = PagePhotograph.of(defocus.Photograph(PHOTO), found, name="a")
    coded = np.asarray(Image.open(io.BytesIO(shown.map_webp()))).astype(float) / 255
    low, high = shown.info()["coded"]
    step = np.log2(high / low) / 255
    assert np.abs(np.log2(low) + coded[..., 0] * np.log2(high / low) - np.log2(found.sigma)).max() <= 0.51 * step
    assert np.abs(coded[..., 1] - found.confidence).max() <= 0.0145  # half a step of 2 %, and of 255 twice


def test_a_large_photograph_is_shown_smaller_in_px_of_its_own(map_of):
    sigma = np.full((1500, 4000), 2.0, np.float32)
    sigma[:, 2000:] = 8.0
    photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (1500, 4000, 3), np.uint8))
    shown = PagePhotograph.of(photo, map_of(sigma), name="a")
    assert shown.photograph.pixels.shape == (960, 2560, 3)
    info = shown.info()
    assert (info["width"], info["height"]) == (4000, 1500)
    coded = np.asarray(Image.open(io.BytesIO(shown.map_webp())))
    assert max(coded.shape) == 1500
    low, high = info["coded"]
    read = low * (high / low) ** (coded[100, [100, -100], 0] / 255)
    np.testing.assert_allclose(read, [2.0, 8.0], rtol=0.02)


@pytest.mark.parametrize("unit", ["px", "score"])
def test_a_page_holds_what_its_unit_allows(map_of, unit):
    sigma = np.linspace(0.1, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    shown = PagePhotograph.of(defocus.Photograph(np.zeros((48, 64, 3), np.uint8)), map_of(sigma, unit=unit), name="a")
    holding = json.loads(re.search(rb'id="held">(.*?)</script>', page_of([held(shown)]), re.DOTALL)[1])
    kinds = set(holding["photographs"][0]["pictures"])
    assert kinds == ({"photograph", "map", "sharpened", "depth"} if unit == "px" else {"photograph", "map"})


def test_the_command_writes_a_page_beside_the_map(tmp_path, run):
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg")
    code, out, _ = run("estimate", tmp_path / "a.jpg", "--page", "--json", "-q")
    page = json.loads(out)["outputs"]["page"]
    assert (code, page) == (0, str(tmp_path / "a.defocus.html"))
    contents = (tmp_path / "a.defocus.html").read_bytes()
    assert len(contents) < 500_000
    assert b'<meta name="defocus"' in contents[:2000]  # says what it was made from
    code, out, _ = run("estimate", tmp_path, "--page", "--json", "-q", "--skip-existing")
    assert json.loads(out)["skipped"]


def test_rank_writes_a_page_of_several_photographs(tmp_path, run, chromium):
    Image.fromarray(ndimage.gaussian_filter(PHOTO, (3, 3, 0))).save(tmp_path / "blurred.jpg")
    Image.fromarray(PHOTO).save(tmp_path / "sharp.jpg")
    page = tmp_path / "shoot.defocus.html"
    for speed in ([], ["--fast"]):
        assert run("rank", tmp_path, "--page", page, "-q", *speed)[0] == 0
        watched = Watched(chromium, page.as_uri())
        names = watched.page.locator(".frame .name").all_inner_texts()
        assert names == ["sharp.jpg", "blurred.jpg"]  # the best first
        assert "in focus" in watched.page.locator(".frame .words").first.inner_text()
        watched.page.keyboard.press("Space")
        watched.page.keyboard.press("ArrowRight")
        watched.page.keyboard.press("Space")
        watched.page.keyboard.press("c")
        watched.page.wait_for_timeout(500)
        assert watched.page.locator(".pane").count() == 2
        watched.page.keyboard.press("Enter")
        watched.page.wait_for_selector("body[data-ready='0']")
        assert watched.page.inner_text("#name") == "sharp.jpg"
        assert watched.errors == []
        assert [url for url in watched.requests if not url.startswith("blob:")] == [page.as_uri()]
        watched.page.close()
    code, _, err = run("rank", tmp_path, "--page", page, "--at", "100")
    assert (code, "at their own size" in " ".join(err.replace("│", " ").split())) == (2, True)  # it may be wrapped


def shoot_of(tmp_path, figures):
    """A page of one photograph many times, with other figures each time."""
    shown = PagePhotograph.of(defocus.Photograph(PHOTO[::4, ::4]), defocus.estimate(PHOTO[::4, ::4]), name="a")
    one = held(shown)
    frames = [{**one, "info": {**one["info"], **more}} for more in figures]
    (tmp_path / "shoot.html").write_bytes(page_of(frames, "shoot"))
    return (tmp_path / "shoot.html").as_uri()


def test_what_was_shaken_comes_last(tmp_path, chromium):
    figures = [
        {"name": "nothing", "in_focus": None}, {"name": "shaken", "in_focus": 0.9, "shaken": True},
        {"name": "little", "in_focus": 0.2, "shaken": False}, {"name": "much", "in_focus": 0.8},
    ]  # fmt: skip
    watched = Watched(chromium, shoot_of(tmp_path, figures))
    assert watched.page.locator(".frame .name").all_inner_texts() == ["much", "little", "shaken", "nothing"]
    watched.page.close()


def test_frames_side_by_side_are_shown_alike_whatever_is_written_below(tmp_path, chromium):
    figures = [
        {"name": "a", "in_focus": 0.9, "words": "much", "look": {"x": 0.9, "y": 0.9}},
        {"name": "b", "in_focus": 0.5, "words": "a great many words " * 12, "look": {"x": 0.1, "y": 0.1}},
    ]
    page = Watched(chromium, shoot_of(tmp_path, figures)).page
    for _ in figures:
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.wait_for_selector(".pane")
    for key in "0z":
        page.keyboard.press(key)
        page.wait_for_timeout(700)
        a, b = (pane.screenshot() for pane in page.locator(".pane canvas").all())
        a, b = (np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float) for shot in (a, b))
        assert a.shape == b.shape
        assert np.abs(a - b)[5:-5, 5:-5].mean() < 2
    page.close()


def test_arrow_keys_go_to_the_frame_above_and_below(tmp_path, chromium):
    bursts = [{"name": str(k), "in_focus": 1 - k / 100, **({"burst": 1} if k < 2 else {})} for k in range(12)]
    page = Watched(chromium, shoot_of(tmp_path, bursts)).page
    place = "[document.activeElement.offsetLeft, document.activeElement.offsetTop]"
    page.locator(".frame").nth(3).focus()
    left, top = page.evaluate(place)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(place)[0] == left
    assert page.evaluate(place)[1] > top
    page.keyboard.press("ArrowUp")
    assert page.evaluate(place) == [left, top]
    page.keyboard.press("ArrowUp")  # into the burst
    assert page.inner_text(":focus .name") in "01"
    page.close()


def test_notebooks_show_a_map(map_of):
    made = map_of(np.full((1200, 1600), 2.0))
    picture = Image.open(io.BytesIO(made._repr_png_()))
    assert picture.width == 800
    shown = made._repr_html_()
    assert base64.b64encode(made._repr_png_()).decode() in shown
    assert "1600 x 1200" in shown


def test_a_page_that_cannot_be_written_says_why(found, tmp_path):
    with pytest.raises(defocus.MapFileError, match="Cannot write"):
        found.save_page(tmp_path / "missing" / "a.html", PHOTO)
    with pytest.raises(defocus.ParameterError, match="estimate it anew"):
        found.save_page(tmp_path / "a.html", PHOTO[:100])
