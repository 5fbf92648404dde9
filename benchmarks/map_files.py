"""Size of maps on the disk, what rounding costs, and seconds: compact, lossless and reduced.

    python benchmarks/map_files.py

Photographs of scikit-image are enlarged (cubic) to 24 megapixels and blurred by a sigma that grows across them, so
that maps hold sharp and blurred parts and borders; noise of 2/255 is added, as cameras have it. Errors are against
the map in memory: the largest relative one of sigma, and the largest of confidence; of reduced maps the median, as
their borders are smoothed.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import data as pictures

import defocus

SIZE = (6000, 4000)
KINDS = {
    "compact": {},
    "lossless": {"precision": "lossless"},
    "compact, reduced 2": {"reduced": 2},
    "compact, reduced 4": {"reduced": 4},
}


def photograph(picture: np.ndarray, seed: int) -> np.ndarray:
    """A photograph of 24 megapixels, sharp on the left and ever softer to the right, as uint8."""
    large = np.asarray(Image.fromarray(picture).resize(SIZE, Image.Resampling.BICUBIC), np.float32)
    edges = np.linspace(0, SIZE[0], 7).astype(int)
    for level, (left, right) in enumerate(pairwise(edges)):
        if level:
            sigma = 2.0 * level
            large[:, left:right] = ndimage.gaussian_filter(large[:, left:right], (sigma, sigma, 0))
    noise = np.random.default_rng(seed).normal(0, 2, large.shape).astype(np.float32)
    return np.clip(np.rint(large + noise), 0, 255).astype(np.uint8)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for seed, picture in enumerate((pictures.astronaut(), pictures.chelsea(), pictures.coffee())):
            m = defocus.estimate(photograph(picture, seed))
            for name, options in KINDS.items():
                path = Path(folder) / "map.tiff"
                start = time.perf_counter()
                m.save(path, **options)
                written = time.perf_counter() - start
                again = defocus.load(path)
                read = time.perf_counter() - start - written
                off = np.abs(again.sigma / m.sigma - 1)
                wrong = np.abs(again.confidence - m.confidence)
                reduced = "reduced" in options
                rows[name].append(
                    (
                        path.stat().st_size / 1e6,
                        100 * float(np.median(off) if reduced else off.max()),
                        float(np.median(wrong) if reduced else wrong.max()),
                        written,
                        read,
                    )
                )
    print("| map of 24 megapixels | MB (each) | error of sigma | of confidence | written | read |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        sizes = ", ".join(f"{row[0]:.1f}" for row in values)
        worst = np.max(values, axis=0)
        print(f"| {name} | {sizes} | {worst[1]:.2f} % | {worst[2]:.4f} | {worst[3]:.1f} s | {worst[4]:.1f} s |")


if __name__ == "__main__":
    main()
