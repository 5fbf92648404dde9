"""What sharpening does to readings: pictures blurred by known amounts, then sharpened as cameras and editors do.

    python benchmarks/sharpened.py --data ../shared/data/dev
    python benchmarks/sharpened.py --data ../shared/data/dev --weights other.onnx

The sharp pictures are those of `defocus benchmark` (its set uniform-gaussian); the unsharp mask has a radius (sigma) of
0.8 px. Printed are the relative error over the full map and the median of estimate / truth, means over the pictures.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage import filters

import defocus
from defocus.evaluation.datasets import read_depth
from defocus.evaluation.generators import sharp_pictures
from defocus.evaluation.render import gaussian_blur

AMOUNTS = (0.0, 0.3, 0.8)
SIGMAS = (0.5, 1.0, 2.0, 4.0)
RADIUS = 0.8


def unsharp_mask(image: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Add `amount` times what a Gaussian of `RADIUS` px takes away; H x W x 3."""
    return np.rint(255 * filters.unsharp_mask(image, RADIUS, amount, channel_axis=2)).astype(np.uint8)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="root folder of the development sets")
    parser.add_argument("--weights", type=Path, help="weights of pyramid; this package's if left out")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    pictures = list(sharp_pictures(lambda: read_depth(options.data)))
    blurred = {sigma: [gaussian_blur(picture.image, sigma) for picture in pictures] for sigma in SIGMAS}
    print(f"{len(pictures)} pictures.\n")
    print("| amount | " + " | ".join(f"{sigma:g} px" for sigma in SIGMAS) + " |")
    print("|---" * (1 + len(SIGMAS)) + "|")
    for amount in AMOUNTS:
        cells = []
        for sigma, soft in blurred.items():
            figures = []
            for picture in soft:
                seen = unsharp_mask(picture, amount)
                ratio = defocus.estimate(seen, method="pyramid", weights=options.weights).sigma / sigma
                figures.append((np.abs(ratio - 1).mean(), np.median(ratio)))
            error, median = np.mean(figures, 0)
            cells.append(f"{error:.3f}, {median:.2f}")
        print(f"| {amount:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
