"""Time and peak memory of `defocus estimate` on photographs of hundreds of megapixels, as whole processes.

    python benchmarks/gigapixel.py
    python benchmarks/gigapixel.py --megapixels 1000 --layout strips --compression zlib

The photograph is a TIFF that is written piece by piece, so that the disk alone bounds its size. It is a picture
mirrored outward, sharp along a band across the middle and blurred ever more, up to a sigma of 12 px, above and below.
Peak memory is the process's largest resident set. Beside it stand the sizes of the files, and how long it takes to read
all pixels of the photograph once, and an overview of sigma of at most a megapixel.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from defocus.photograph import read_photograph
from speed import machine, whole_process

SIGMAS = (0.0, 0.7, 1.5, 3.0, 6.0, 12.0)
"""Blur of the copies that the photograph is mixed of, px; between them it is mixed linearly."""
SIDE = 1024
"""Largest side of the picture that is mirrored, px."""
TILE, STRIP = 512, 16
"""Side of a tile, and rows of a strip, px."""
PERIODS = 1.5
"""How often blur goes from sharp to its largest and back, from left to right."""


def blurred_copies(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the picture with its mirror images to the right and below, blurred by each of `SIGMAS`."""
    mirrored = np.pad(picture, ((0, len(picture)), (0, picture.shape[1]), (0, 0)), mode="symmetric").astype(np.float32)
    return np.stack([ndimage.gaussian_filter(mirrored, (sigma, sigma, 0), mode="wrap") for sigma in SIGMAS])


def piece(copies: NDArray[np.float32], shape: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.uint8]:
    """Return a rectangle of the photograph of `shape` (H, W)."""
    y, x = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    wave = 0.5 + 0.25 * np.sin(2 * np.pi * PERIODS * x / shape[1])
    level = (len(SIGMAS) - 1) * np.minimum(2 * np.abs(y[:, None] / shape[0] - wave), 1)
    mixed = np.zeros((len(y), len(x), 3), np.float32)
    for number in range(int(level.min()), min(int(level.max()) + 2, len(SIGMAS))):
        weight = np.clip(1 - np.abs(level - number), 0, 1).astype(np.float32)
        mixed += weight[..., None] * copies[number][y % copies.shape[1]][:, x % copies.shape[2]]
    return np.rint(mixed).astype(np.uint8)


def write_photograph(path: Path, photo: Path, height: int, width: int, layout: str, compression: str) -> None:
    """Write the TIFF, one row of tiles or one strip after the other."""
    with Image.open(photo) as opened:
        copies = blurred_copies(np.asarray(opened.convert("RGB"))[:SIDE, :SIDE])
    rows, columns = (TILE, TILE) if layout == "tiles" else (STRIP, width)

    def pieces() -> Iterator[NDArray[np.uint8]]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                bottom = top + rows if layout == "tiles" else min(top + rows, height)
                yield piece(copies, (height, width), slice(top, bottom), slice(left, left + columns))

    options = {"tile": (rows, columns)} if layout == "tiles" else {"rowsperstrip": rows}
    if compression == "jpeg":
        options |= {"compressionargs": {"level": 92}}
    tifffile.imwrite(
        path,
        pieces() if layout == "tiles" else whole_frame(pieces(), height, width),
        shape=(height, width, 3),
        dtype=np.uint8,
        bigtiff=True,
        photometric="rgb",
        compression=None if compression == "none" else compression,
        metadata=None,
        **options,
    )


def whole_frame(strips: Iterator[NDArray[np.uint8]], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Return the picture as one array, in a file without a name: of strips tifffile takes nothing less."""
    with tempfile.TemporaryFile() as file:
        for strip in strips:
            file.write(strip.tobytes())
        file.flush()
        yield np.memmap(file, np.uint8, "r", shape=(height, width, 3))


def seconds_to_read(path: Path) -> float:
    """Return the seconds of reading all pixels of a photograph once, in rows of a tile's height."""
    begin = time.perf_counter()
    pixels = read_photograph(path).pixels
    for top in range(0, len(pixels), TILE):
        pixels[top : top + TILE]
    return time.perf_counter() - begin


def measure(options: argparse.Namespace, photo: Path, folder: Path) -> str:
    """Write a photograph, estimate its map, and return what that took."""
    height = round(math.sqrt(options.megapixels * 1e6 / 1.5))
    width = round(height * 1.5)
    path = folder / f"{width}x{height}.tif"
    begin = time.perf_counter()
    write_photograph(path, photo, height, width, options.layout, options.compression)
    print(f"written in {time.perf_counter() - begin:.0f} s: {path.stat().st_size / 1e6:.0f} MB", file=sys.stderr)
    reading = seconds_to_read(path)
    print(f"all pixels read in {reading:.1f} s", file=sys.stderr)
    command = [sys.executable, "-m", "defocus", "estimate", str(path), "-o", str(folder), "--method", options.method]
    run = whole_process(command)
    saved = folder / f"{path.stem}.defocus.tiff"
    begin = time.perf_counter()
    with tifffile.TiffFile(saved) as tiff:
        small = next((page for page in tiff.pages if page.imagewidth * page.imagelength <= 1e6), tiff.pages.first)
        small.asarray()
    return "\n".join(
        [
            f"{options.layout}, {options.compression}; method {options.method}; {machine()}",
            "",
            "| photograph | MB | all pixels read, s | estimate, s | CPU s | peak MB | map, MB | overview read, s |",
            "|---|---|---|---|---|---|---|---|",
            f"| {width} x {height} ({options.megapixels:g} MP) | {path.stat().st_size / 1e6:.0f} | {reading:.1f} "
            f"| {run.seconds:.1f} | {run.cpu:.1f} | {run.megabytes:.0f} | {saved.stat().st_size / 1e6:.0f} "
            f"| {time.perf_counter() - begin:.2f} |",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=200, help="size of the photograph, by default 200")
    parser.add_argument("--layout", choices=("tiles", "strips"), default="tiles")
    parser.add_argument("--compression", choices=("jpeg", "zlib", "none"), default="jpeg")
    parser.add_argument("--photo", type=Path, help="picture to mirror; default: scikit-image's astronaut")
    parser.add_argument("--method", default="pyramid")
    parser.add_argument("--folder", type=Path, help="folder for the files, which stay there; default: a temporary one")
    options = parser.parse_args(arguments)
    photo = options.photo
    if photo is None:
        try:
            import skimage
        except ImportError:
            parser.error("scikit-image is not installed: name a picture with --photo")
        photo = Path(skimage.__file__).parent / "data" / "astronaut.png"
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        print(measure(options, photo, options.folder.resolve()))
    else:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(options, photo, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
