"""`defocus rank --fast` beside the full ranking: agreement, and CPU time.

    python benchmarks/quick.py --photos ../shared/data/dev/{masks,multifocus}/image --number 28
    python benchmarks/quick.py --photos ../shared/data/dev/{masks,multifocus}/image --number 28 --enlarge

Every n-th photograph of the folders is measured, so that there are `--number` of them. With --enlarge each is made a
JPEG of 24 MP first: twice as large by bicubic interpolation, as the photographs of a camera are less sharp from pixel
to pixel than small copies of them, then continued by mirror images of itself, which adds no edges.

Printed: Kendall's tau-b between the two orders, the mean and the largest difference of the share in focus, how many of
the full ranking's best and worst quarter are among the quick one's, and CPU seconds for each photograph, of decoding
and of the rest.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import kendalltau

import defocus
from defocus.applications.rank import Sharpness
from defocus.culling.quick import QUICK_SIDE, quick_map, quick_threshold
from defocus.photograph.folders import photographs_below
from defocus.photograph.reduced import read_reduced

SIZE = (6000, 4000)


def enlarged(path: Path) -> bytes:
    """Return a photograph as a JPEG of 24 MP."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    pixels = np.asarray(picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC))
    width, height = SIZE
    row = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    tile = np.concatenate([row, row[::-1]], axis=0)
    down, across = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    file = io.BytesIO()
    Image.fromarray(np.tile(tile, (down, across, 1))[:height, :width]).save(file, "JPEG", quality=92)
    return file.getvalue()


def measured(work: Callable[[], Sharpness]) -> tuple[Sharpness, float]:
    """Return what `work` does, and the CPU seconds it takes."""
    start = time.process_time()
    return work(), time.process_time() - start


def full(contents: bytes) -> Sharpness:
    """Measure a photograph by its map."""
    photograph = defocus.read_photograph(contents)
    return defocus.sharpness(defocus.estimate(photograph))


def quick(contents: bytes, side: int) -> Sharpness:
    """Measure it by a quick reading."""
    photograph = read_reduced(contents, side)
    return defocus.sharpness(quick_map(photograph), threshold=quick_threshold(photograph, 1.0))


def order(found: list[Sharpness]) -> np.ndarray:
    """Return the place of each photograph, 0 the best."""
    places = np.empty(len(found), int)
    places[defocus.rank(found)] = np.arange(len(found))
    return places


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of photographs")
    parser.add_argument("--number", type=int, default=28)
    parser.add_argument("--enlarge", action="store_true", help="make each a JPEG of 24 MP first")
    parser.add_argument("--sides", type=int, nargs="+", default=[QUICK_SIDE], help="longer sides that are tried, px")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    paths = [path for folder in arguments.photos for path in photographs_below(folder)]
    chosen = [paths[k] for k in np.unique(np.linspace(0, len(paths) - 1, arguments.number).round().astype(int))]
    quick_map(read_reduced(chosen[0], 256))  # loads what is loaded once
    rows: dict[str, list[tuple[Sharpness, float]]] = {}
    for path in chosen:
        contents = enlarged(path) if arguments.enlarge else path.read_bytes()
        rows.setdefault("full", []).append(measured(lambda contents=contents: full(contents)))
        for side in arguments.sides:
            work = measured(lambda contents=contents, side=side: quick(contents, side))
            rows.setdefault(f"quick, {side} px", []).append(work)
    of_full = [each for each, _ in rows["full"]]
    print(f"{len(chosen)} photographs" + (" as JPEGs of 24 MP" if arguments.enlarge else ""))
    print(f"full: {np.mean([seconds for _, seconds in rows['full']]):.2f} CPU s each\n")
    print("| reading | tau | share differs, mean | most | best quarter | worst quarter | CPU s each |\n|" + "---|" * 7)
    quarter = max(1, len(chosen) // 4)
    for name, found in rows.items():
        if name == "full":
            continue
        places, truth = order([each for each, _ in found]), order(of_full)
        off = [abs((a.in_focus or 0) - (b.in_focus or 0)) for a, (b, _) in zip(of_full, found, strict=True)]
        best = ((places < quarter) & (truth < quarter)).sum() / quarter
        worst = ((places >= len(places) - quarter) & (truth >= len(truth) - quarter)).sum() / quarter
        print(
            f"| {name} | {kendalltau(places, truth).statistic:.2f} | {np.mean(off):.3f} | {np.max(off):.2f} "
            f"| {best:.0%} | {worst:.0%} | {np.mean([seconds for _, seconds in found]):.2f} |"
        )


if __name__ == "__main__":
    main()
