"""Make the picture of the README from a photograph that ships with scikit-image: `python docs/images/make.py`.

The photograph, "chelsea" by Stéfan van der Walt, is in the public domain (CC0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import defocus
from defocus.photograph import as_photograph
from defocus.preview import overlay

HERE = Path(__file__).parent


def main() -> None:
    """Write chelsea.jpg: the photograph, its defocus map with the scale in px, and the overlay, side by side."""
    pixels = data.chelsea()
    m = defocus.estimate(pixels)
    columns = [pixels, m.preview(scale_bar=True), overlay(as_photograph(pixels), m.sigma, sigma_limits=m.sigma_range)]
    height = max(len(column) for column in columns)
    white = [np.pad(c, ((0, height - len(c)), (0, 8), (0, 0)), constant_values=255) for c in columns]
    Image.fromarray(np.concatenate(white, axis=1)).save(HERE / "chelsea.jpg", quality=85)


if __name__ == "__main__":
    main()
