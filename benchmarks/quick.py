"""`defocus rank --fast` beside the full ranking: agreement, and CPU time.

    python benchmarks/quick.py --photos ../shared/data/dev/{masks,multifocus}/image --number 28
    python benchmarks/quick.py --photos ../shared/data/dev/{multifocus,camera}/image --number 12 --enlarge
    python benchmarks/quick.py --photos ../shared/data/train --number 8 --composed
    python benchmarks/quick.py --photos ../shared/data/train --number 6 --bursts
    python benchmarks/quick.py --photos ../shared/data/dev/{multifocus,camera}/image --number 8 --shake

Every n-th photograph of the folders is measured, so that there are `--number` of them. With --enlarge each is made a
JPEG of 24 MP first: half as large again by bicubic interpolation, as the photographs of a camera are less sharp from
pixel to pixel than small copies of them, then continued by mirror images of itself, which adds no edges.

With --composed, `--number` JPEGs of 24 MP are composed of all photographs instead: side by side in another order each
time, none twice, half as large again. They are blurred by Gaussians as if one sloping plane with an object before it
had been focused on somewhere, some of them everywhere a little, and get noise of up to 2.5 of 255.

A reduced copy cannot tell sigma of 1 px. So the quick reading is compared with full maps at the threshold that it was
counted at itself, and with full maps at 1 px. Printed: Kendall's tau-b between the two orders, the mean and the largest
difference of the share in focus, how many of the full ranking's best and worst quarter are among the quick one's, and
CPU seconds for each photograph, with decoding, of the quick and of the full measurement.

With --bursts each composed photograph is a burst: five frames, each a few px beside the others, with noise of its own,
and blurred as a whole by another sigma of 0 to 2 px. Printed is how often the quick reading puts the sharper of two
neighbours first, and the sharpest of all; two that it cannot tell apart count as wrong.

With --shake the photographs of 24 MP are moved along their rows or columns (every other one) by some px, or blurred by
a Gaussian, and it is counted how many of them are called shaken.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage
from scipy.stats import kendalltau

import defocus
from defocus.applications.rank import Sharpness, motion_in
from defocus.culling.quick import QUICK_SIDE, quick_map, quick_sharpness
from defocus.evidence.motion import motion_of
from defocus.maps.motion import Motion
from defocus.photograph.folders import photographs_below
from defocus.photograph.reduced import read_reduced

SIZE = (6000, 4000)
SHAKES = (
    ("as they are", 0, 0.0),
    ("Gaussian of 6 px", 0, 6.0),
    *((f"moved by {length} px", length, 0.0) for length in (10, 15, 20, 30, 50)),
)
"""Name, px of movement, and sigma in px."""
FURTHER = (0.0, 0.4, 0.7, 1.2, 2.0)
"""px, by which the frames of a burst are blurred."""
MOVED = 60
"""px by which they lie apart at the most."""
CELL, ROW = 20, 600
"""px of a place with one sigma, and height in px of a row of photographs."""
SIGMAS = (0, 0.5, 0.8, 1.2, 1.8, 2.7, 4, 6, 9, 13, 20)
"""px, of the blur of composed photographs."""


def large(path: Path) -> np.ndarray:
    """Return a photograph made 24 MP large."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    size = 3 * picture.width // 2, 3 * picture.height // 2
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    width, height = SIZE
    row = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    tile = np.concatenate([row, row[::-1]], axis=0)
    down, across = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.tile(tile, (down, across, 1))[:height, :width]


def composed(paths: list[Path], seed: int, further: tuple[float, ...] = (0.0,)) -> Iterator[np.ndarray]:
    """Yield 24 MP of many photographs side by side, out of focus by an amount that changes smoothly.

    One for each of the further sigmas, px, by which all of it is blurred; each with noise of its own, of one strength.
    """
    rng = np.random.default_rng(seed)
    width, height = SIZE
    sharp = np.zeros((height, width, 3), np.uint8)
    order = iter(rng.permutation(len(paths)))
    for y in range(0, height, ROW):
        x = 0
        while x < width:
            with Image.open(paths[next(order)]) as opened:
                picture = opened.convert("RGB")
            picture = picture.crop((0, 0, picture.width, min(picture.height, int(ROW / 1.5))))
            size = int(1.5 * picture.width), int(1.5 * picture.height)
            part = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))[: height - y, : width - x]
            room = min(ROW, height - y)
            if len(part) < room:
                part = np.concatenate([part, part[::-1]])[:room]
            sharp[y : y + len(part), x : x + part.shape[1]] = part
            x += part.shape[1]
    found = blurred(sharp, sigma_of_a_scene(rng))
    strength = rng.uniform(0, 2.5)
    for sigma in further:
        softer = found
        if sigma:
            planes = [ndimage.gaussian_filter(found[..., c], sigma, output=np.float32) for c in range(3)]
            softer = np.rint(np.stack(planes, -1))
        noise = rng.normal(0, strength, (height, width, 1)).astype(np.float32)
        yield np.clip(softer + noise, 0, 255).astype(np.uint8)


def sigma_of_a_scene(rng: np.random.Generator) -> np.ndarray:
    """Return sigma in px for each 20 x 20 px: of a sloping plane, an object before it, and a focus somewhere."""
    rows, columns = SIZE[1] // CELL, SIZE[0] // CELL
    y, x = np.mgrid[:rows, :columns] / np.array([rows, columns]).reshape(2, 1, 1)
    depth = rng.normal(0, 0.7) * x + rng.normal(0, 0.7) * y
    middle_x, middle_y, across, down = (
        rng.uniform(*limits) for limits in ((0.2, 0.8), (0.2, 0.8), (0.08, 0.3), (0.1, 0.4))
    )
    depth = np.where(((x - middle_x) / across) ** 2 + ((y - middle_y) / down) ** 2 < 1, rng.normal(0, 0.3), depth)
    on_object = depth[int(middle_y * rows) - 1, int(middle_x * columns) - 1]
    focus = rng.choice([on_object, rng.uniform(depth.min() - 0.1, depth.max() + 0.1)], p=[0.6, 0.4])
    return np.hypot(rng.choice([0, 0, 0.6, 1.2]), rng.uniform(2, 20) * np.abs(depth - focus))


def blurred(sharp: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return a photograph blurred by the nearest of a few sigmas at each place."""
    nearest = np.argmin(np.abs(sigma[..., None] - np.array(SIGMAS)), -1).astype(np.uint8)
    step = np.kron(nearest, np.ones((CELL, CELL), np.uint8))
    found = sharp.copy()
    for number in np.unique(step):
        if SIGMAS[number] == 0:
            continue
        here = step == number
        margin = int(4 * SIGMAS[number]) + 2
        rows, columns = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
        place = (
            slice(max(rows[0] - margin, 0), rows[-1] + margin),
            slice(max(columns[0] - margin, 0), columns[-1] + margin),
        )
        planes = [
            ndimage.gaussian_filter(sharp[(*place, c)], SIGMAS[number], output=np.float32, truncate=3) for c in range(3)
        ]
        found[place][here[place]] = np.rint(np.stack(planes, -1)).astype(np.uint8)[here[place]]
    return found


def jpeg(pixels: np.ndarray) -> bytes:
    """Return pixels as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()


def order(found: list[Sharpness]) -> np.ndarray:
    """Return the place of each photograph, 0 the best."""
    places = np.empty(len(found), int)
    places[defocus.rank(found)] = np.arange(len(found))
    return places


def row(name: str, found: list[Sharpness], full: list[Sharpness]) -> str:
    """Return a row of the table."""
    places, truth = order(found), order(full)
    quarter = max(1, len(found) // 4)
    off = [abs((a.in_focus or 0) - (b.in_focus or 0)) for a, b in zip(found, full, strict=True)]
    best = ((places < quarter) & (truth < quarter)).sum() / quarter
    worst = ((places >= len(places) - quarter) & (truth >= len(truth) - quarter)).sum() / quarter
    tau = kendalltau(places, truth).statistic
    return f"| {name} | {tau:.2f} | {np.mean(off):.3f} | {np.max(off):.2f} | {best:.0%} | {worst:.0%} |"


def bursts(paths: list[Path], number: int) -> None:
    """Print how often frames of a burst are put in the right order."""
    right, best = np.zeros(len(FURTHER) - 1, int), 0
    for seed in range(number):
        rng = np.random.default_rng(seed)
        found = []
        for pixels in composed(paths, seed, FURTHER):
            top, left = rng.integers(0, MOVED + 1, 2)
            frame = pixels[top : top + SIZE[1] - MOVED, left : left + SIZE[0] - MOVED]
            copy = read_reduced(jpeg(frame), QUICK_SIDE)
            found.append(quick_sharpness(copy, quick_map(copy)))
        # The sharpest is given last: what is equal stays as it was given.
        places = order(found[::-1])[::-1]
        right += places[:-1] < places[1:]
        best += int(places[0] == 0)
    print(f"{number} bursts of {len(FURTHER)} JPEGs of 24 MP, sharpest first: {best}\n")
    print("| blurred by | sharper one first |\n|" + "---|" * 2)
    for sharper, softer, count in zip(FURTHER, FURTHER[1:], right, strict=False):
        print(f"| {sharper:g} and {softer:g} px | {count} of {number} |")


def shaken(chosen: list[Path]) -> None:
    """Print how many photographs are called shaken."""
    print(f"{len(chosen)} photographs as JPEGs of 24 MP\n")
    print("| | `--fast`: shaken | length, median | by the map | length | `rank` | length |\n|" + "---|" * 7)
    for name, length, sigma in SHAKES:
        found: dict[str, list[Motion]] = {"quick": [], "map": [], "rank": []}
        for number, path in enumerate(chosen):
            pixels = large(path)
            if length:
                pixels = ndimage.uniform_filter1d(pixels, length, axis=number % 2)
            if sigma:
                pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))
            contents = jpeg(pixels)
            motion = quick_map(read_reduced(contents, QUICK_SIDE)).motion
            assert motion is not None
            found["quick"].append(motion)
            whole = defocus.read_photograph(contents)
            found["map"].append(motion_of(whole))
            found["rank"].append(motion_in(whole, found["map"][-1]))
        cells = []
        for motions in found.values():
            lengths = [each.camera.length for each in motions if each.shaken]
            cells += [f"{len(lengths) / len(motions):.0%}", f"{np.median(lengths):.0f} px" if lengths else ""]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of photographs")
    parser.add_argument("--number", type=int, default=28)
    parser.add_argument("--enlarge", action="store_true", help="make each a JPEG of 24 MP first")
    parser.add_argument("--composed", action="store_true", help="compose JPEGs of 24 MP of all photographs")
    parser.add_argument("--bursts", action="store_true", help="see in which order bursts of composed JPEGs are put")
    parser.add_argument("--shake", action="store_true", help="see which are called shaken, as JPEGs of 24 MP")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    paths = [path for folder in arguments.photos for path in photographs_below(folder)]
    chosen = [paths[k] for k in np.unique(np.linspace(0, len(paths) - 1, arguments.number).round().astype(int))]
    quick_map(read_reduced(chosen[0], 256))  # loads what is loaded once
    if arguments.bursts:
        bursts(paths, arguments.number)
        return
    if arguments.shake:
        shaken(chosen)
        return
    quick, full, full_as_quick = [], [], []
    seconds = []
    if arguments.composed:
        files = (jpeg(next(composed(paths, seed))) for seed in range(arguments.number))
    else:
        files = (jpeg(large(path)) if arguments.enlarge else path.read_bytes() for path in chosen)
    for contents in files:
        start = time.process_time()
        copy = read_reduced(contents, QUICK_SIDE)
        quick.append(quick_sharpness(copy, quick_map(copy)))
        then = time.process_time()
        whole = defocus.estimate(defocus.read_photograph(contents))
        full.append(defocus.sharpness(whole))
        seconds.append((then - start, time.process_time() - then))
        full_as_quick.append(replace(defocus.sharpness(whole, threshold=quick[-1].counted_at), threshold=1.0))
    print(f"{len(full)} photographs" + (" as JPEGs of 24 MP" if arguments.enlarge or arguments.composed else ""))
    print("CPU seconds each: quick {:.2f}, full {:.2f}".format(*np.mean(seconds, axis=0)))
    print("sigma counted at: {:.2f} to {:.2f} px\n".format(*(f(s.counted_at for s in quick) for f in (min, max))))
    print("| beside | tau | share differs, mean | most | best quarter | worst quarter |\n|" + "---|" * 6)
    print(row("full maps, counted at the same sigma", quick, full_as_quick))
    print(row("full maps, counted at 1 px", quick, full))


if __name__ == "__main__":
    main()
