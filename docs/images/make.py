"""Make the pictures of the README and of docs/benchmark.md: `python docs/images/make.py`.

The photographs ship with scikit-image: "chelsea" by Stéfan van der Walt (CC0), "coffee" by Rachel Michetti (CC0) and
"rocket" by SpaceX (CC0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

import defocus
from defocus.photograph import as_photograph
from defocus.preview import overlay

HERE = Path(__file__).parent
WIDTH = 180
MARGIN = 4
CAPTION = 14


def picture_of_the_readme() -> None:
    """Write chelsea.jpg: the photograph, its defocus map with the scale in px, and the overlay, side by side."""
    pixels = data.chelsea()
    m = defocus.estimate(pixels)
    columns = [pixels, m.preview(scale_bar=True), overlay(as_photograph(pixels), m.sigma, sigma_limits=m.sigma_range)]
    height = max(len(column) for column in columns)
    white = [np.pad(c, ((0, height - len(c)), (0, 8), (0, 0)), constant_values=255) for c in columns]
    Image.fromarray(np.concatenate(white, axis=1)).save(HERE / "chelsea.jpg", quality=85)


def gallery_of_the_methods() -> None:
    """Write methods.jpg: photographs, and the map of every method, sigma on one scale of 0 to 3 px."""
    names = list(defocus.methods())
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


def _tile(picture: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    height = round(len(picture) * WIDTH / picture.shape[1])
    tile = Image.new("RGB", (WIDTH + MARGIN, height + CAPTION + MARGIN), "white")
    tile.paste(Image.fromarray(picture).resize((WIDTH, height), Image.Resampling.BOX))
    ImageDraw.Draw(tile).text((2, height + 1), caption, fill=(40, 40, 40))
    return np.asarray(tile)


if __name__ == "__main__":
    picture_of_the_readme()
    gallery_of_the_methods()
