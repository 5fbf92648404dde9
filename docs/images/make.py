"""Make the pictures of the README and of docs: `python docs/images/make.py`.

The photographs ship with scikit-image: "chelsea" by Stéfan van der Walt (CC0), "coffee" by Rachel Michetti (CC0),
"rocket" by SpaceX (CC0) and "astronaut" by NASA (public domain).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

import defocus
from defocus.cli.segment import outline
from defocus.evaluation.render import add_noise, render_depth
from defocus.maps.preview import overlay
from defocus.photograph import as_photograph

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
        folder = Path(temporary)
        for name in ("chelsea", "coffee", "rocket"):
            pixels = getattr(data, name)()
            # A plane tilted backwards; where the photograph itself is out of focus it stays so.
            plane = np.linspace(0, 1, len(pixels))[:, None].repeat(pixels.shape[1], axis=1)
            for place, focus in (("far", 0.0), ("middle", 0.5), ("near", 1.0)):
                seen = render_depth(pixels, plane, None, focus, 4.0, "disc", noise=2 / 255).image
                Image.fromarray(seen).save(folder / f"{name} {place}.jpg", quality=95)
        sky = np.linspace((120, 160, 210), (170, 200, 235), 400)[:, None].repeat(600, axis=1)
        Image.fromarray(add_noise(sky.astype(np.uint8), 2 / 255, 0)).save(folder / "sky.jpg", quality=95)
        command = [sys.executable, "-m", "defocus", "rank", str(folder), "--sheet", str(HERE / "rank.jpg")]
        (HERE / "rank.jpg").unlink(missing_ok=True)  # an older one need not be known as a contact sheet
        subprocess.run(command, check=True)


def _tile(picture: NDArray[np.uint8], caption: str, width: int = WIDTH) -> NDArray[np.uint8]:
    height = round(len(picture) * width / picture.shape[1])
    tile = Image.new("RGB", (width + MARGIN, height + CAPTION + MARGIN), "white")
    tile.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    ImageDraw.Draw(tile).text((2, height + 1), caption, fill=(40, 40, 40))
    return np.asarray(tile)


if __name__ == "__main__":
    picture_of_the_readme()
    gallery_of_the_methods()
    gallery_of_the_applications()
    contact_sheet_of_a_shoot()
