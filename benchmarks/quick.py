"""`defocus rank --fast` beside the full ranking: agreement, and CPU time.

    python benchmarks/quick.py --photos ../shared/data/dev/{masks,multifocus}/image --number 28
    python benchmarks/quick.py --photos ../shared/data/dev/{multifocus,camera}/image --number 12 --enlarge
    python benchmarks/quick.py --photos ../shared/data/dev/{multifocus,camera}/image --number 8 --shake

Every n-th photograph of the folders is measured, so that there are `--number` of them. With --enlarge each is made a
JPEG of 24 MP first: half as large again by bicubic interpolation, as the photographs of a camera are less sharp from
pixel to pixel than small copies of them, then continued by mirror images of itself, which adds no edges.

A reduced copy cannot tell sigma of 1 px. So the quick reading is compared with full maps at the threshold that it was
counted at itself, and with full maps at 1 px. Printed: Kendall's tau-b between the two orders, the mean and the largest
difference of the share in focus, how many of the full ranking's best and worst quarter are among the quick one's, and
CPU seconds for each photograph, with decoding, of the quick and of the full measurement.

With --shake the photographs of 24 MP are moved along their rows or columns (every other one) by some px, or blurred by
a Gaussian, and it is counted how many of them are called shaken.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
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
    parser.add_argument("--shake", action="store_true", help="see which are called shaken, as JPEGs of 24 MP")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    paths = [path for folder in arguments.photos for path in photographs_below(folder)]
    chosen = [paths[k] for k in np.unique(np.linspace(0, len(paths) - 1, arguments.number).round().astype(int))]
    quick_map(read_reduced(chosen[0], 256))  # loads what is loaded once
    if arguments.shake:
        shaken(chosen)
        return
    quick, full, full_as_quick = [], [], []
    seconds = []
    for path in chosen:
        contents = jpeg(large(path)) if arguments.enlarge else path.read_bytes()
        start = time.process_time()
        copy = read_reduced(contents, QUICK_SIDE)
        quick.append(quick_sharpness(copy, quick_map(copy)))
        then = time.process_time()
        whole = defocus.estimate(defocus.read_photograph(contents))
        full.append(defocus.sharpness(whole))
        seconds.append((then - start, time.process_time() - then))
        full_as_quick.append(replace(defocus.sharpness(whole, threshold=quick[-1].counted_at), threshold=1.0))
    print(f"{len(chosen)} photographs" + (" as JPEGs of 24 MP" if arguments.enlarge else ""))
    print("CPU seconds each: quick {:.2f}, full {:.2f}".format(*np.mean(seconds, axis=0)))
    print("sigma counted at: {:.2f} to {:.2f} px\n".format(*(f(s.counted_at for s in quick) for f in (min, max))))
    print("| beside | tau | share differs, mean | most | best quarter | worst quarter |\n|" + "---|" * 6)
    print(row("full maps, counted at the same sigma", quick, full_as_quick))
    print(row("full maps, counted at 1 px", quick, full))


if __name__ == "__main__":
    main()
