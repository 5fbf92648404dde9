"""Make the pictures of the README and of docs: `python docs/images/make.py`, or with the names of those to make.

The photographs ship with scikit-image: "chelsea" by Stéfan van der Walt (CC0), "coffee" by Rachel Michetti (CC0),
"rocket" by SpaceX (CC0), "astronaut" by NASA (public domain), "gravel" (CC0 Textures) and "retina" (public domain).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import data

import defocus
from defocus.cli.segment import outline
from defocus.evaluation.render import add_noise, gaussian_blur, render_depth
from defocus.evidence.motion import motion_of
from defocus.maps.preview import overlay, preview
from defocus.photograph import as_photograph
from failure_scenes import SCENES

HERE = Path(__file__).parent
WIDTH = 180
MARGIN = 4
CAPTION = 14


def picture_of_the_readme() -> None:
    """Write chelsea.jpg: the photograph, its defocus map with the scale in px, and the overlay, side by side."""
    pixels = data.chelsea()
    m = defocus.estimate(pixels)
    columns = [
        pixels,
        m.preview(scale_bar=True),
        overlay(as_photograph(pixels), m.sigma, sigma_limits=m.limits("photograph")),
    ]
    height = max(len(column) for column in columns)
    white = [np.pad(c, ((0, height - len(c)), (0, 8), (0, 0)), constant_values=255) for c in columns]
    Image.fromarray(np.concatenate(white, axis=1)).save(HERE / "chelsea.jpg", quality=85)


def gallery_of_the_methods() -> None:
    """Write methods.jpg: photographs, and the map of every method, sigma on one scale of 0 to 3 px."""
    names = list(defocus.available_methods())
    rows = []
    for pixels in (data.chelsea(), data.coffee(), data.rocket()):
        row = [_tile(pixels, "photograph")]
        for name in names:
            m = defocus.estimate(pixels, method=name)
            limits = (0.0, 3.0) if m.unit == "px" else m.sigma_range
            row.append(_tile(m.preview(sigma_limits=limits), name))
            if m.relative_depth is not None:
                depth = np.rint(m.relative_depth * 255).astype(np.uint8)
                row.append(_tile(np.repeat(depth[..., None], 3, axis=2), "its relative depth"))
        rows.append(np.concatenate(row, axis=1))
    Image.fromarray(np.concatenate(rows)).save(HERE / "methods.jpg", quality=80)


def gallery_of_the_applications() -> None:
    """Write applications.jpg: photographs, their map, and what each application makes of them."""
    rows = []
    for pixels in (data.chelsea(), data.coffee(), data.astronaut(), data.rocket()):
        m = defocus.estimate(pixels)
        depth = np.rint(defocus.depth(pixels, m).depth * 255).astype(np.uint8)
        tiles = {
            "photograph": pixels,
            "map, 0 to 3 px": m.preview(sigma_limits=(0.0, 3.0)),
            "segment --refine": outline(as_photograph(pixels), defocus.segment(pixels, m, refine=True)),
            "magnify --amount 4": defocus.magnify(pixels, m, amount=4),
            "sharpen": defocus.sharpen(pixels, m),
            "depth, relative": np.repeat(depth[..., None], 3, axis=2),
        }
        rows.append(np.concatenate([_tile(picture, caption, 230) for caption, picture in tiles.items()], axis=1))
    Image.fromarray(np.concatenate(rows)).save(HERE / "applications.jpg", quality=82)


def contact_sheet_of_a_shoot() -> None:
    """Write rank.jpg: the contact sheet of ten photographs, three scenes focused at three places and a clear sky."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = _shoot(Path(temporary))
        command = [sys.executable, "-m", "defocus", "rank", str(folder), "--sheet", str(HERE / "rank.jpg")]
        (HERE / "rank.jpg").unlink(missing_ok=True)  # an older one need not be known as a contact sheet
        subprocess.run(command, check=True)


def views_of_a_shoot() -> None:
    """Write how-to/shoot.jpg: the grid and three photographs side by side, of the same ten in Chromium."""
    with tempfile.TemporaryDirectory() as temporary, _page_of() as page:
        folder = _shoot(Path(temporary))
        path = folder / "shoot.defocus.html"
        subprocess.run(
            [sys.executable, "-m", "defocus", "rank", str(folder), "--page", str(path), "--quiet"], check=True
        )
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]")
        page.wait_for_timeout(1500)
        shots = [_screenshot(page)]
        for _ in range(3):
            page.keyboard.press("Space")
            page.keyboard.press("ArrowRight")
        page.keyboard.press("c")
        page.wait_for_timeout(1500)
        shots.append(_screenshot(page))
    Image.fromarray(np.concatenate(shots, axis=1)).save(HERE / "how-to" / "shoot.jpg", quality=82)


def _shoot(folder: Path) -> Path:
    """Fill a folder with ten photographs, and return it."""
    for name in ("chelsea", "coffee", "rocket"):
        pixels = getattr(data, name)()
        # A plane tilted backwards; where the photograph itself is out of focus it stays so.
        plane = np.linspace(0, 1, len(pixels))[:, None].repeat(pixels.shape[1], axis=1)
        for place, focus in (("far", 0.0), ("middle", 0.5), ("near", 1.0)):
            seen = render_depth(pixels, plane, None, focus, 4.0, "disc", noise=2 / 255).image
            Image.fromarray(seen).save(folder / f"{name} {place}.jpg", quality=95)
    sky = np.linspace((120, 160, 210), (170, 200, 235), 400)[:, None].repeat(600, axis=1)
    Image.fromarray(add_noise(sky.astype(np.uint8), 2 / 255, 0)).save(folder / "sky.jpg", quality=95)
    return folder


@contextmanager
def _page_of() -> Iterator[Any]:
    """A tab of Chromium, which draws without a graphics card where there is none."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = chromium.new_page(viewport={"width": 1200, "height": 760}, color_scheme="dark")
        page.set_default_timeout(120_000)
        yield page
        chromium.close()


def _screenshot(page: Any) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB").reduce(2))


def first_map() -> None:
    """Write first-map.jpg: chelsea, the map with its scale, and the confidence."""
    pixels = data.chelsea()
    m = defocus.estimate(pixels)
    _save("first-map.jpg", [[_tile(pixels, "the photograph", 300), _map(m, 300), _confidence(m, 300)]])


def one_of_each_method() -> None:
    """Write methods/NAME.jpg for every method: two photographs, the map, and what was read before it was spread."""
    (HERE / "methods").mkdir(exist_ok=True)
    for name in defocus.available_methods():
        rows = []
        for pixels in (data.coffee(), data.astronaut()[:340]):
            m = defocus.estimate(pixels, method=name)
            limits = (0.0, 3.0) if m.unit == "px" else m.sigma_range
            row = [_tile(pixels, "photograph", 220)]
            if np.isfinite(m.seeds.sigma).any():
                dots = ndimage.grey_dilation(np.nan_to_num(m.seeds.sigma, nan=-1.0), 3).astype(np.float32)
                read = np.where(dots[..., None] < 0, 255, preview(np.maximum(dots, 0), sigma_limits=limits))
                row.append(_tile(read.astype(np.uint8), f"read, 0 to {limits[1]:g} {m.unit}", 220))
            row.append(_tile(m.preview(sigma_limits=limits), f"map, 0 to {limits[1]:g} {m.unit}", 220))
            if m.relative_depth is not None:
                row.append(_tile(_grey(m.relative_depth), "relative depth", 220))
            else:
                row.append(_confidence(m, 220))
            rows.append(row)
        _save(f"methods/{name}.jpg", rows)


def failures() -> None:
    """Write failures/NAME.jpg for every scene, and print the table of the page about them."""
    (HERE / "failures").mkdir(exist_ok=True)
    lines = [
        "| scene | true sigma | median sigma read | median confidence | sure and wrong | called shaken |",
        "|---|---|---|---|---|---|",
    ]
    for name, made in SCENES.items():
        scene = made()
        m = defocus.estimate(scene.picture)
        _save(
            f"failures/{name}.jpg",
            [[_tile(scene.picture, "photograph", 260), _map(m, 260, (0.3, 8.0)), _confidence(m, 260)]],
        )
        where = slice(None) if scene.where is None else scene.where
        sigma, confidence = m.sigma[where], m.confidence[where]
        wrong = "-"
        if scene.sigma is not None:
            off = np.abs(np.log2(sigma / scene.sigma)) > 0.5
            wrong = f"{100 * np.mean(off & (confidence >= 0.5)):.0f} %"
        truth = "-" if scene.sigma is None else f"{scene.sigma:.3g} px"
        lines.append(f"| {scene.title} | {truth} | {np.median(sigma):.2f} px | {np.median(confidence):.2f} | {wrong} |")
        shaken = motion_of(as_photograph(scene.picture)).shaken
        lines[-1] += f" {'yes' if shaken else 'no'} |"
    print("\n".join(lines))  # noqa: T201


def masks() -> None:
    """Write how-to/masks.jpg: the outline that `defocus segment` draws, the mask, and the refined mask."""
    rows = []
    for pixels in (_near_in_focus(data.coffee()), data.chelsea()):
        m = defocus.estimate(pixels)
        plain, refined = defocus.segment(pixels, m), defocus.segment(pixels, m, refine=True)
        drawn = outline(as_photograph(pixels), refined)
        rows.append(
            [
                _tile(drawn, "outline, undecided hatched", 220),
                _tile(_grey(plain.mask), "mask", 220),
                _tile(_grey(refined.mask), "mask, --refine", 220),
                _tile(_grey(~refined.mask), "the same, --invert", 220),
            ]
        )
    _save("how-to/masks.jpg", rows)


def blur_magnified() -> None:
    """Write how-to/magnify.jpg: photographs, more blur, and focus moved elsewhere."""
    rows = []
    for pixels, elsewhere in ((_near_in_focus(data.coffee()), (520, 40)), (data.chelsea(), (430, 150))):
        m = defocus.estimate(pixels)
        tiles = {
            "photograph": pixels,
            "magnify --amount 3": defocus.magnify(pixels, m, amount=3),
            "magnify --focus {},{}".format(*elsewhere): defocus.magnify(pixels, m, focus=elsewhere),
        }
        rows.append([_tile(picture, caption, 300) for caption, picture in tiles.items()])
    _save("how-to/magnify.jpg", rows)


def sharpened() -> None:
    """Write how-to/sharpen.jpg: parts of a photograph, blurred by 1.2 px, before and after."""
    rows = []
    for picture, part in ((data.chelsea(), np.s_[80:200, 130:330]), (data.astronaut(), np.s_[40:190, 150:400])):
        pixels = gaussian_blur(picture, 1.2)
        after = defocus.sharpen(pixels, defocus.estimate(pixels))
        rows.append(
            [
                _tile(np.ascontiguousarray(p[part]), caption, 400)
                for caption, p in (("blurred by 1.2 px", pixels), ("sharpen", after))
            ]
        )
    _save("how-to/sharpen.jpg", rows)


def depth() -> None:
    """Write how-to/depth.jpg: a photograph, its map and its relative depth."""
    pixels = _near_in_focus(data.coffee())
    m = defocus.estimate(pixels)
    found = defocus.depth(pixels, m)
    row = [_tile(pixels, "photograph", 300), _map(m, 300), _tile(_grey(found.depth), "depth, relative", 300)]
    _save("how-to/depth.jpg", [row])


def views_of_the_page() -> None:
    """Write how-to/page.jpg: four views of a saved page in Chromium."""
    pixels = data.chelsea()
    with tempfile.TemporaryDirectory() as folder, _page_of() as page:
        path = Path(folder) / "chelsea.html"
        defocus.estimate(pixels).save_page(path, pixels, name="chelsea.jpg")
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]")
        shots = []
        for key in ("2", "3", "4", "5"):
            page.keyboard.press(key)
            if key == "3":
                page.keyboard.press("h")
                page.mouse.move(700, 300)
            if key == "4":
                page.keyboard.press("h")
            page.wait_for_timeout(3000)
            if key == "5":
                page.focus("#solid")
                for arrow in ["ArrowRight"] * 4 + ["ArrowDown"] * 2:
                    page.keyboard.press(arrow)
                page.wait_for_timeout(1000)
            shots.append(_screenshot(page))
    picture = np.concatenate([np.concatenate(shots[:2], axis=1), np.concatenate(shots[2:], axis=1)])
    Image.fromarray(picture).save(HERE / "how-to" / "page.jpg", quality=82)


def _near_in_focus(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a photograph as if it lay on a plane tilted backwards, in focus near, with blur to 4 px far away."""
    plane = np.linspace(0, 1, len(pixels))[:, None].repeat(pixels.shape[1], axis=1)
    return render_depth(pixels, plane, None, 0.85, 4.0, "disc", noise=1 / 255).image


def _map(m: defocus.DefocusMap, width: int, limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Return a tile of the map, its scale drawn at the tile's own size, so that it can be read."""
    tile = _tile(m.preview(sigma_limits=limits), "", width)[: -CAPTION - MARGIN, :width]
    none = np.zeros((1, width), np.float32)
    bar = preview(none, sigma_limits=limits or m.limits(), confidence=np.ones_like(none), scale_bar=True, unit=m.unit)[
        1:, :width
    ]
    return np.pad(np.concatenate([tile, bar]), ((0, MARGIN), (0, MARGIN), (0, 0)), constant_values=255)


def _grey(plane: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.repeat(np.rint(plane.astype(np.float64) * 255).astype(np.uint8)[..., None], 3, axis=2)


def _confidence(m: defocus.DefocusMap, width: int) -> NDArray[np.uint8]:
    return _tile(_grey(m.confidence), "confidence, black 0 to white 1", width)


def _save(name: str, rows: list[list[NDArray[np.uint8]]]) -> None:
    """Write tiles in rows; the lower and narrower ones get white below and beside them."""
    made = []
    for row in rows:
        height = max(len(tile) for tile in row)
        padded = [np.pad(t, ((0, height - len(t)), (0, 0), (0, 0)), constant_values=255) for t in row]
        made.append(np.concatenate(padded, axis=1))
    width = max(row.shape[1] for row in made)
    made = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in made]
    (HERE / name).parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(made)).save(HERE / name, quality=85)


def _tile(picture: NDArray[np.uint8], caption: str, width: int = WIDTH) -> NDArray[np.uint8]:
    height = round(len(picture) * width / picture.shape[1])
    tile = Image.new("RGB", (width + MARGIN, height + CAPTION + MARGIN), "white")
    tile.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    ImageDraw.Draw(tile).text((2, height + 1), caption, fill=(40, 40, 40))
    return np.asarray(tile)


PICTURES: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        picture_of_the_readme,
        gallery_of_the_methods,
        gallery_of_the_applications,
        contact_sheet_of_a_shoot,
        first_map,
        one_of_each_method,
        failures,
        masks,
        blur_magnified,
        sharpened,
        depth,
        views_of_the_page,
        views_of_a_shoot,
    )
}


if __name__ == "__main__":
    unknown = [name for name in sys.argv[1:] if name not in PICTURES]
    if unknown:
        sys.exit(f"There is no picture {unknown[0]}: choose from {', '.join(PICTURES)}.")
    for wanted in sys.argv[1:] or PICTURES:
        PICTURES[wanted]()
