"""The benchmark's report in a real browser."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from skimage import data

from browser import Watched
from defocus.evaluation import benchmark, layouts, report
from defocus.evaluation.benchmark import Configuration

LAYOUTS = {
    "dark": {"color_scheme": "dark"},
    "light": {"color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    photos = folder / "photos"
    photos.mkdir()
    Image.fromarray(data.astronaut()[::4, ::4]).save(photos / "a.png")
    configurations = [Configuration.parse(name) for name in ("karaali2018", "zhuo2011")]
    benchmark.run(layouts.open_data(photos), configurations, folder / "run", limit=1, costs=False)
    report.write_report(folder / "run")
    return folder / "run" / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nobody_is_left_out(chromium, written, layout):
    watched = Watched(chromium, written.as_uri(), ready="main", **LAYOUTS[layout])
    page = watched.page
    assert page.evaluate("document.documentElement.scrollHeight") < 8000  # sections are folded
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("[...document.images].every(image => image.alt)")
    assert watched.errors == []
    assert watched.requests == [written.as_uri()]
    page.close()


@pytest.mark.slow
def test_a_figure_leads_to_its_values(chromium, written):
    page = Watched(chromium, written.as_uri(), ready="main").page
    link = page.locator("td a").first
    target = link.get_attribute("href")
    link.click()
    assert page.locator(target).is_visible()  # its section unfolds
    page.close()


@pytest.mark.slow
def test_pictures_grow_with_the_window(chromium, written):
    widths = []
    for width in (900, 1500):
        page = Watched(chromium, written.as_uri(), ready="main", viewport={"width": width, "height": 800}).page
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        widths.append(page.locator(".gallery img").first.evaluate("image => image.clientWidth"))
        page.close()
    assert widths[1] > 1.3 * widths[0]
