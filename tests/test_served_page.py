"""`defocus page` as a person uses it: a real server, a real browser."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from scipy import ndimage
from skimage import data

from browser import Watched, until
from defocus.culling.sidecars import read_rating, write_rating
from defocus.maps.strokes import Stroke, Strokes
from waiting import wait_for

NAMES = ("burst <1>.jpg", "burst <2>.jpg", "elsewhere.jpg")


@pytest.fixture(scope="module")
def shoot(tmp_path_factory):
    """Two frames of one moment, of which the first is sharp, and another photograph."""
    folder = tmp_path_factory.mktemp("shoot")
    exif = Image.Exif()
    sharp = data.astronaut()[:320, :480]
    blurred = ndimage.gaussian_filter(sharp.astype(float), (2, 2, 0)).astype(np.uint8)
    for name, pixels, second in zip(NAMES, (sharp, blurred, data.coffee()[:320, :480]), (1, 1, 50), strict=True):
        exif.get_ifd(0x8769)[0x9003] = f"2026:01:02 03:04:{second:02}"
        Image.fromarray(pixels).save(folder / name, exif=exif.tobytes(), quality=92)
    return folder


@pytest.fixture(scope="module")
def address(shoot, tmp_path_factory):
    command = [sys.executable, "-m", "defocus", "page", str(shoot), "--no-browser", "-o", str(shoot / "exports")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield server.stdout.readline().strip()
    server.terminate()
    server.communicate(timeout=60)


ALL_READ = "[...document.querySelectorAll('.frame .words')].every(e => e.textContent.includes('in focus'))"


@pytest.fixture
def opened(chromium, address):
    watched = Watched(chromium, address, color_scheme="dark")
    origin = address.partition("#")[0]
    # All have been read: nobody knows of bursts before.
    until(watched.page, "document.querySelectorAll('.frame').length === 3")
    until(watched.page, ALL_READ)
    yield watched
    watched.page.close()
    assert watched.errors == []
    assert {
        url.split("/api/")[0].split("/assets/")[0].rstrip("/") for url in watched.requests if "blob:" not in url
    } == {origin.rstrip("/")}


def frame(page, name):
    return page.locator(".frame", has=page.locator(".name", has_text=name))


def show(page, name):
    """Open one photograph from the grid; when its map is there."""
    frame(page, name).click()
    until(page, f"document.title.startsWith({json.dumps(name)})")
    page.wait_for_selector("#busy:empty", state="attached")


def test_a_shoot_is_listed_best_first_and_by_moment(opened):
    page = opened.page
    assert page.locator(".burst .frame").count() == 2
    assert page.locator(".burst .name").first.inner_text() == NAMES[0]  # text, not markup
    page.locator("#least").evaluate("slider => { slider.value = 60; slider.dispatchEvent(new Event('input')); }")
    assert frame(page, NAMES[1]).count() == 0
    assert "hidden" in page.inner_text("#count")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_frames_stay_where_they_are_once_somebody_is_at_work(opened):
    page, told = opened.page, []

    def sharp(index):
        """Have the next news say that a photograph is the sharpest of all."""

        def answer(route):
            if told:
                return  # no more news
            response = route.fetch(url=route.request.url.split("?")[0])
            news = response.json()
            news["photographs"][index] |= {"in_focus": 1, "shaken": False}
            told.append(index)
            route.fulfill(response=response, json=news)

        told.clear()
        page.unroute_all()
        page.route("**/api/photographs?known=*", answer)

    names = page.locator(".frame .name")
    before = names.all_inner_texts()
    last = frame(page, before[-1]).evaluate("cell => cell.index")
    sharp(last)
    until(page, f"document.querySelector('.frame .name').textContent === {json.dumps(before[-1])}")  # nobody looks yet
    assert not page.locator("#news").is_visible()
    moved = names.all_inner_texts()
    page.unroute_all()
    page.reload()
    until(page, "document.querySelectorAll('.burst').length === 1")
    page.mouse.move(300, 300)
    page.mouse.move(320, 310)
    sharp(last)
    page.wait_for_selector("#news:visible")
    assert "new reading" in page.inner_text("#news span")
    assert names.all_inner_texts() == before
    page.keyboard.press("r")
    assert names.all_inner_texts() == moved
    assert not page.locator("#news").is_visible()
    page.unroute_all()


def test_stars_go_into_sidecars_and_one_of_a_burst_is_kept(opened, shoot):
    page = opened.page
    before = {name: (shoot / name).read_bytes() for name in NAMES}
    frame(page, NAMES[2]).focus()
    page.keyboard.press("4")
    until(page, "[...document.querySelectorAll('.stars')].some(e => e.textContent === '★★★★')")
    assert read_rating(shoot / NAMES[2]).stars == 4
    frame(page, NAMES[0]).focus()
    page.keyboard.press("Shift+P")
    until(page, "[...document.querySelectorAll('.stars')].some(e => e.textContent === '✕')")
    assert (read_rating(shoot / NAMES[0]).stars, read_rating(shoot / NAMES[1]).stars) == (1, -1)
    page.reload()  # nothing was kept by the page alone
    page.wait_for_selector(".frame.rejected")
    page.get_by_text("Hide what is rejected").click()
    assert frame(page, NAMES[1]).count() == 0
    assert {name: (shoot / name).read_bytes() for name in NAMES} == before


def test_frames_of_a_burst_are_compared_side_by_side(opened):
    page = opened.page
    frame(page, NAMES[0]).focus()
    page.keyboard.press("c")
    page.wait_for_selector(".pane")
    page.wait_for_timeout(1500)
    captions = page.locator(".pane figcaption").all_inner_texts()
    assert NAMES[0] in captions[0]
    assert NAMES[1] in captions[1]
    whole = [pane.screenshot() for pane in page.locator(".pane canvas").all()]
    page.keyboard.press("z")
    page.wait_for_timeout(800)
    near = [pane.screenshot() for pane in page.locator(".pane canvas").all()]
    assert all(a != b for a, b in zip(whole, near, strict=True))
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_role("button", name="100 %").click()
    page.wait_for_timeout(800)
    assert [pane.screenshot() for pane in page.locator(".pane canvas").all()] == whole
    page.keyboard.press("ArrowUp")  # the challenger wins
    page.wait_for_timeout(300)
    assert NAMES[1] in page.locator(".pane figcaption").first.inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#frames").is_visible()


def test_what_is_painted_changes_the_mask(opened, shoot):
    page = opened.page
    show(page, NAMES[1])
    page.locator("#feather").evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    before = exported(page, shoot, "mask")
    page.keyboard.press("s")
    page.locator("#radius").evaluate("slider => { slider.value = -3; slider.dispatchEvent(new Event('input')); }")
    box = page.locator("#view").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle[0] - 100, middle[1])
    page.mouse.down()
    page.mouse.move(middle[0] + 100, middle[1], steps=10)
    page.mouse.up()
    until(page, "document.getElementById('painted').textContent.includes('1 stroke')")
    until(page, "!document.getElementById('painted').textContent.includes('Solving')")
    told = page.inner_text("#reading")  # at the end of the stroke, where the pointer still is
    page.mouse.move(middle[0] + 99, middle[1])
    page.mouse.move(middle[0] + 100, middle[1])
    assert told and told == page.inner_text("#reading")  # of the map with the stroke, not of the one before
    after = exported(page, shoot, "mask")
    assert (after > 127).mean() > (before > 127).mean() + 0.05  # white is in focus
    assert after[160, 240] > 127  # where it was painted
    assert json.loads((shoot / "burst <2>.defocus.strokes.json").read_text())["strokes"][0]["kind"] == "sharp"
    page.keyboard.press("Control+z")
    until(page, "!document.getElementById('painted').textContent.includes('1 stroke')")
    until(page, "!document.getElementById('painted').textContent.includes('Solving')")
    np.testing.assert_array_equal(exported(page, shoot, "mask"), before)


def exported(page, shoot, kind):
    page.locator("#exported").evaluate("told => { told.textContent = ''; }")
    page.click(f"[data-export={kind}]")
    until(page, "document.getElementById('exported').textContent.startsWith('Wrote')")
    name = re.match(r"Wrote (.*) in [0-9.]+ s,", page.inner_text("#exported"))[1]
    return np.asarray(Image.open(io.BytesIO((shoot / "exports" / name).read_bytes())))


@pytest.mark.parametrize("kind", ["cutout", "refocused", "layers", "depth", "map"])
def test_everything_can_be_exported(opened, shoot, kind):
    page = opened.page
    show(page, NAMES[0])
    assert exported(page, shoot, kind).shape[:2] == (320, 480)


def test_the_viewer_of_the_served_page_leaves_nobody_out(opened):
    show(opened.page, NAMES[0])
    found = Axe().run(opened.page)
    assert found.violations_count == 0, found.generate_report()


def without_statuses(watched, *statuses):
    """Leave out what the browser itself says of answers that the test has provoked."""
    watched.errors[:] = [error for error in watched.errors if not any(f"status of {one}" in error for one in statuses)]


def test_a_rating_that_cannot_be_kept_is_told_where_it_was_given(opened, shoot):
    page = opened.page
    sidecar = shoot / f"{NAMES[2]}.xmp"
    before = sidecar.read_bytes() if sidecar.exists() else None
    sidecar.write_text("no XMP at all")
    frame(page, NAMES[2]).focus()
    page.keyboard.press("3")
    until(page, "document.getElementById('busy').textContent.includes('left as it is')")
    assert page.locator("#busy").is_visible()
    sidecar.unlink() if before is None else sidecar.write_bytes(before)
    page.keyboard.press("3")
    until(page, "document.getElementById('busy').textContent === ''")
    without_statuses(opened, 409)


def test_a_photograph_that_takes_long_never_comes_over_another(opened, shoot):
    page, held = opened.page, []
    show(page, NAMES[2])
    page.keyboard.press("Escape")
    index = frame(page, NAMES[1]).evaluate("cell => cell.index")
    page.route(f"**/api/photographs/{index}", lambda route: held.append(route))
    frame(page, NAMES[1]).click()
    until(page, f"document.getElementById('name').textContent === {json.dumps(NAMES[1])}")
    page.wait_for_timeout(500)
    # Nothing of the photograph before is there to be painted on, or to be exported under the other's name.
    assert not page.locator("#view").is_visible()
    requests = len(opened.requests)
    page.keyboard.press("s")
    page.mouse.click(400, 400)
    page.click("[data-export=mask]")
    page.wait_for_timeout(500)
    assert [url for url in opened.requests[requests:] if "export" in url or "strokes" in url] == []
    page.keyboard.press("Escape")
    show(page, NAMES[0])
    facts = page.inner_text("#facts")
    assert held
    for route in held:
        route.continue_()
    page.wait_for_timeout(1500)
    assert page.inner_text("#name") == NAMES[0]
    assert page.title().startswith(NAMES[0])
    assert (page.inner_text("#facts"), page.inner_text("#busy")) == (facts, "")
    page.unroute_all()


def test_strokes_are_kept_of_the_photograph_they_were_painted_on(opened, shoot):
    page, held = opened.page, []
    show(page, NAMES[2])
    page.route("**/strokes", lambda route: held.append(route))
    page.keyboard.press("d")
    for x in (300, 350):  # the second while the first is being kept
        page.mouse.click(x, 400)
        page.wait_for_timeout(200)
    page.keyboard.press("Escape")
    show(page, NAMES[0])
    held[0].continue_()
    try:
        wait_for(lambda: page.wait_for_timeout(100) or len(held) == 2, 120)
    except AssertionError:  # seen twice in the whole suite, never alone: what the page says shows why
        pytest.fail(f"{len(held)} requests, {opened.errors}, the page says: {page.inner_text('body')}")
    held[1].continue_()
    page.unroute("**/strokes")
    path = shoot / "elsewhere.defocus.strokes.json"
    wait_for(lambda: path.exists() and len(json.loads(path.read_text())["strokes"]) == 2, 60)
    assert not (shoot / "burst <1>.defocus.strokes.json").exists()
    page.keyboard.press("Escape")
    show(page, NAMES[2])
    until(page, "document.getElementById('painted').textContent.includes('2 strokes')")
    page.click("#clear")
    wait_for(lambda: not path.exists(), 60)


def test_two_pages_that_paint_on_one_photograph_keep_the_strokes_of_both(opened, chromium, address, shoot):
    one, path = opened.page, shoot / "elsewhere.defocus.strokes.json"
    other = Watched(chromium, address)
    two = other.page
    show(one, NAMES[2])
    show(two, NAMES[2])
    # What one page paints is in the other too, unasked.
    paint(one, "d", 300)
    until(one, "document.getElementById('painted').textContent.includes('1 stroke')")
    until(two, "document.getElementById('painted').textContent.includes('1 stroke. What was painted on another page')")
    # Another program paints, of which no page hears: the next stroke here is not lost, nor is that one.
    own = Strokes.load(path)
    Strokes((*own.strokes, Stroke("sharp", ((200.0, 160.0),), 20.0)), own.size).save(path)
    paint(one, "d", 400)
    for page in (one, two):
        until(page, "document.getElementById('painted').textContent.includes('3 strokes. What was painted on another')")
    kept = json.loads(path.read_text())["strokes"]
    assert [stroke["kind"] for stroke in kept] == ["blurred", "sharp", "blurred"]  # its own on top
    # Taking back takes back what was painted last.
    one.keyboard.press("Control+z")
    until(two, "document.getElementById('painted').textContent.includes('2 strokes')")
    assert [stroke["kind"] for stroke in json.loads(path.read_text())["strokes"]] == ["blurred", "sharp"]
    two.click("#clear")
    wait_for(lambda: not path.exists(), 60)
    until(one, "document.getElementById('undo').disabled")
    two.close()
    assert other.errors == []
    without_statuses(opened, 409)


def paint(page, key, x):
    page.keyboard.press(key)
    page.mouse.click(x, 400)
    until(page, "!document.getElementById('painted').textContent.includes('Solving')")


def test_a_rating_of_another_page_or_program_is_not_replaced_unseen(opened, chromium, address, shoot):
    page = opened.page
    write_rating(shoot / NAMES[2], 5)  # of which the page does not hear
    frame(page, NAMES[2]).focus()
    page.keyboard.press("x")
    until(page, "document.getElementById('busy').textContent.includes('meanwhile')")
    assert read_rating(shoot / NAMES[2]).stars == 5
    five = "[...document.querySelectorAll('.stars')].some(e => e.textContent === '★★★★★')"
    until(page, five)
    other = Watched(chromium, address).page
    until(other, five)
    frame(page, NAMES[2]).focus()
    page.keyboard.press("p")  # keeps what it has
    page.keyboard.press("2")
    until(other, "[...document.querySelectorAll('.stars')].some(e => e.textContent === '★★')")
    assert read_rating(shoot / NAMES[2]).stars == 2
    other.close()
    page.keyboard.press("u")
    until(page, "![...document.querySelectorAll('.stars')].some(e => e.textContent === '★★')")
    without_statuses(opened, 409)


def test_a_stroke_that_cannot_be_kept_is_taken_away_and_told(opened, shoot):
    page = opened.page
    show(page, NAMES[0])
    assert page.locator("#undo").is_disabled()
    (shoot / "burst <1>.defocus.strokes.json").write_text("somebody's own")
    page.keyboard.press("d")
    page.mouse.click(400, 400, button="right")  # paints nothing
    page.wait_for_timeout(300)
    assert page.inner_text("#busy") == ""
    page.mouse.click(400, 400)
    until(page, "document.getElementById('busy').textContent.includes('holds no strokes')")
    assert "Solving" not in page.inner_text("#painted")
    assert page.locator("#undo").is_disabled()
    (shoot / "burst <1>.defocus.strokes.json").unlink()
    without_statuses(opened, 422)


LOSE = """id => {
  window.dropped = document.getElementById(id).getContext('webgl2').getExtension('WEBGL_lose_context');
  dropped.loseContext();
}"""


def test_a_graphics_card_that_drops_everything_leaves_the_page_as_it_was(opened, shoot):
    page = opened.page
    show(page, NAMES[0])
    for key in "34":  # the map, and refocusing
        page.keyboard.press(key)
        before = pixels_of(page)
        page.evaluate(LOSE, "view")
        page.wait_for_selector("#flat:visible")
        without = pixels_of(page)
        assert np.abs(without - before).mean() < 12  # drawn without it, at reduced size
        page.mouse.move(420, 380)  # and all can be done
        until(page, "document.getElementById('reading').textContent.includes('px')")
        page.mouse.move(5, 5)
        page.evaluate("dropped.restoreContext()")
        page.wait_for_selector("#flat", state="hidden")
        assert np.abs(pixels_of(page) - before).mean() < 1.5
    page.keyboard.press("5")
    until(page, "document.getElementById('busy').textContent === ''")
    before = pixels_of(page)
    page.evaluate(LOSE, "solid")
    until(page, "document.getElementById('busy').textContent.includes('comes back')")
    page.keyboard.press("0")
    page.evaluate("dropped.restoreContext()")
    until(page, "document.getElementById('busy').textContent === ''")
    assert np.abs(pixels_of(page) - before).mean() < 1
    opened.errors[:] = [error for error in opened.errors if "CONTEXT_LOST" not in error]


def pixels_of(page):
    """What is shown, once it has been the same for a while: a page at rest draws better, and then once more."""
    shots = []
    for _ in range(100):
        page.wait_for_timeout(600)
        shots.append(page.screenshot(clip={"x": 20, "y": 80, "width": 840, "height": 660}))
        if len(shots) > 2 and shots[-1] == shots[-2] == shots[-3]:
            return np.asarray(Image.open(io.BytesIO(shots[-1])).convert("RGB")).astype(float)
    pytest.fail("the page never came to rest")


def test_the_way_back_leads_to_where_one_was(opened):
    page = opened.page
    show(page, NAMES[2])
    page.go_back()
    page.wait_for_selector("#frames:visible")
    frame(page, NAMES[0]).focus()
    page.keyboard.press("c")
    page.wait_for_selector(".pane")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.querySelector('.name').textContent") == NAMES[0]


def test_surfaces_of_several_photographs_do_not_mix(opened):
    page, warnings = opened.page, []
    page.on("console", lambda said: warnings.append(said.text) if "GL_INVALID" in said.text else None)
    for name in NAMES[:2]:
        show(page, name)
        page.keyboard.press("5")
        page.wait_for_selector("#solid:visible")
        until(page, "document.getElementById('busy').textContent === ''")
        page.focus("#solid")
        page.mouse.move(400, 400)
        page.mouse.down()
        page.mouse.move(450, 400, steps=3)
        page.mouse.up()
        page.wait_for_timeout(500)
        page.keyboard.press("Escape")
    assert warnings == []


def test_layers_have_the_focus_that_was_chosen_and_the_page_says_where_they_are(opened, shoot):
    page = opened.page
    show(page, NAMES[0])
    page.keyboard.press("4")
    page.mouse.click(400, 400)
    with page.expect_request("**/export") as waiting:
        page.click("[data-export=layers]")
    assert waiting.value.post_data_json["focus"] is not None
    until(page, "document.getElementById('exported').textContent.includes('into the folder exports')")
    exported(page, shoot, "depth")
    assert "The depth is relative" in page.inner_text("#exported")


def test_a_shoot_can_be_put_in_the_order_it_was_taken_in(opened):
    page = opened.page
    page.select_option("#order", "time")
    assert page.locator(".frame .name").all_inner_texts() == list(NAMES)
    page.select_option("#order", "best")


def test_a_page_without_its_token_says_what_to_do(chromium, address):
    page = chromium.new_page()
    page.goto(address.partition("#")[0])
    until(page, "document.getElementById('busy').textContent.length > 20")
    assert "defocus" in page.inner_text("#busy")
    page.close()
