"""The page in a browser: how like `magnify` it refocuses, how quickly, how large it is, and how much memory it takes.

    python benchmarks/page.py
    python benchmarks/page.py ../shared/data/dev/masks/image/*

Without photographs, ten of the set `public-layers` (`defocus benchmark --data public`) are taken. Each is estimated,
saved as a page and opened in Chromium, which draws without a graphics card. At one px of the screen for each of the
photograph the view "refocus" is compared with `defocus.magnify` of the same amount (PSNR in dB over all but the outer
4 px), when nothing has moved for some seconds; "unedited" compares the photograph itself. Frames are counted while the
slider of the aperture moves for two seconds, in a window of 1280 x 800. Last, a photograph of 24 megapixels is made of
one of them, four times as large and beside itself, and the memory of the browser's processes is read from /proc.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import defocus
from defocus.evaluation.public import public_sets
from defocus.photograph import as_photograph

AMOUNTS = (3.0, 6.0)
DRAWN_BY_SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
COUNT = 10
LARGE = (4000, 6000)


def photographs(paths: list[Path]) -> Iterator[tuple[str, defocus.Photograph]]:
    """Name and photograph: those given, or public ones."""
    if paths:
        yield from ((path.name, as_photograph(path)) for path in paths)
        return
    for example in islice(next(s for s in public_sets() if s.name == "public-layers").examples(), COUNT):
        yield example.name, as_photograph(example.image)


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Peak signal to noise ratio of two pictures of 8 bits, dB."""
    inner = np.s_[4:-4, 4:-4]
    return float(10 * np.log10(255**2 / np.mean((a[inner].astype(float) - b[inner].astype(float)) ** 2)))


def opened(chromium: Browser, path: Path, width: int, height: int) -> Page:
    """Return a page that has been read."""
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(300_000)
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]")
    return page


def move(page: Page, amount: float) -> float:
    """Set the aperture; the amount that the slider can be set to."""
    page.locator("#amount").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", str(np.log2(amount))
    )
    return float(2 ** float(page.locator("#amount").input_value()))


def refocused(page: Page, photo: NDArray[Any]) -> NDArray[Any]:
    """What the page shows of each px of the photograph."""
    page.wait_for_timeout(4000)
    shot = np.asarray(Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB"))
    top, left = (shot.shape[0] - photo.shape[0]) // 2, (shot.shape[1] - photo.shape[1]) // 2
    # A view of an odd height has its middle half a px aside.
    cuts = [shot[top + d : top + d + photo.shape[0], left : left + photo.shape[1]] for d in (-1, 0, 1)]
    return max(cuts, key=lambda cut: psnr(cut, photo))


def frames_per_second(page: Page) -> float:
    """Frames drawn while the aperture moves."""
    return float(
        page.evaluate("""async () => {
          const slider = document.getElementById('amount'), started = performance.now();
          let frames = 0;
          while (performance.now() - started < 2000) {
            slider.value = 0.5 + (performance.now() - started) / 1000;
            slider.dispatchEvent(new Event('input'));
            await new Promise(requestAnimationFrame);
            frames++;
          }
          return frames / 2;
        }""")
    )


def memory() -> dict[str, float]:
    """Memory in MB that no other process shares, of the browser's processes by kind."""
    found: dict[str, float] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").split() or [b""]
            status = (process / "status").read_text()
        except OSError:
            continue
        kinds = [part[7:].decode() for part in command if part.startswith(b"--type=")]
        if kinds and b"chrom" in command[0]:
            rss = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
            found[kinds[0]] = max(found.get(kinds[0], 0), rss / 1024)
    return found


def main() -> None:
    """Print a line for each photograph, their means, and what a large one takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="*", type=Path)
    given = parser.parse_args()
    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=[*DRAWN_BY_SOFTWARE])
        print("photograph | size | page, kB | " + " | ".join(f"x{a:g}, dB | unedited" for a in AMOUNTS) + " | frames/s")
        rows = []
        large = None
        for name, photo in photographs(given.photographs):
            found = defocus.estimate(photo)
            path = Path(folder) / "page.html"
            found.save_page(path, photo, name=name)
            page = opened(chromium, path, max(photo.width + 400, 1000), photo.height + 200)
            move(page, AMOUNTS[0])
            page.hover("#view")
            page.keyboard.press("z")
            row = [path.stat().st_size / 1000]
            for amount in AMOUNTS:
                used = move(page, amount)
                wanted = defocus.magnify(photo, found, amount=used)
                row += [psnr(refocused(page, photo.pixels), wanted), psnr(photo.pixels, wanted)]
            page.set_viewport_size({"width": 1280, "height": 800})
            page.keyboard.press("0")
            row.append(frames_per_second(page))
            page.close()
            rows.append(row)
            large = large or (photo, found)
            print(
                f"{name} | {photo.width} x {photo.height} | " + " | ".join(f"{value:.1f}" for value in row), flush=True
            )
        print("mean | | " + " | ".join(f"{value:.1f}" for value in np.mean(rows, axis=0)))
        print("least | | " + " | ".join(f"{value:.1f}" for value in np.min(rows, axis=0)))

        assert large is not None
        pixels = np.asarray(Image.fromarray(large[0].pixels).resize([4 * s for s in (large[0].width, large[0].height)]))
        tiles = [-(-wanted // side) for wanted, side in zip(LARGE, pixels.shape, strict=False)]
        photo = as_photograph(np.ascontiguousarray(np.tile(pixels, (*tiles, 1))[: LARGE[0], : LARGE[1]]))
        found = defocus.estimate(photo)
        path = Path(folder) / "large.html"
        started = time.perf_counter()
        found.save_page(path, photo, name="large")
        print(f"24 MP: written in {time.perf_counter() - started:.1f} s, {path.stat().st_size / 1e6:.2f} MB")
        started = time.perf_counter()
        page = opened(chromium, path, 1280, 800)
        print(f"opened in {time.perf_counter() - started:.1f} s; {frames_per_second(page):.0f} frames/s")
        for key in "12345":
            page.keyboard.press(key)
            page.wait_for_timeout(2500)
        print(", ".join(f"{kind} {value:.0f} MB" for kind, value in sorted(memory().items())))
        chromium.close()


if __name__ == "__main__":
    main()
