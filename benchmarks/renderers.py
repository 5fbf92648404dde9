"""How true is the truth of rendered scenes: layers (`render_depth`) against views through an aperture.

    python benchmarks/renderers.py

A tilted plane of texture without edges (`public.draw("texture")`) runs from one sigma to another across the picture, so
that blur changes by a given amount from pixel to pixel. The blur of each strip of 8 columns is then read by comparison
with the same picture blurred as a whole by Gaussians (or discs) of every sigma, and set against the truth at the middle
of the strip. Strips nearer to the left or right border than 3 sigma, and truths below 0.75 px, are left out: the
kernels of `gaussian_blur` are sampled at pixels and blur less than a lens there.

A cell: median / largest error of the reading, as a fraction of the truth.

The last table is about occlusion: a shape of one drawing before another, one of them in focus, the other blurred by 4
px. It gives the mean difference between the two renderings, of 255, within 8 px of the outline and elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.evaluation import aperture, public, render
from defocus.evaluation.render import Kernel

SLOPES = (0.0125, 0.025, 0.05)
"""Change of sigma from pixel to pixel."""
LAYERS = (32, 128)
"""Numbers of layers; 32 is the renderer's default."""
_STRIP = 8
_LEAST = 0.75


def tilted(slope: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return a sharp picture and the signed sigma of a plane from 0 to 4 px across it."""
    picture = public.draw("texture")[:160, : round(4 / slope)]
    return picture, np.broadcast_to(np.arange(picture.shape[1]) * slope, picture.shape[:2])


def readings(
    picture: NDArray[np.uint8], rendered: NDArray[np.uint8], sigma: NDArray[np.float64], kernel: Kernel
) -> list[float]:
    """Return the reading of each strip as a fraction of its truth, less 1."""
    grid = np.arange(0.4, 5.0, 0.05)
    if kernel == "gaussian":
        evenly = [render.gaussian_blur(picture, s) for s in grid]
    else:
        evenly = [render.disc_blur(picture, 2 * s) for s in grid]
    errors = []
    for left in range(0, picture.shape[1] - _STRIP + 1, _STRIP):
        strip = np.s_[:, left : left + _STRIP]
        truth = float(sigma[strip].mean())
        if truth < _LEAST or min(left, picture.shape[1] - _STRIP - left) < 3 * truth:
            continue
        off = [((each[strip].astype(float) - rendered[strip]) ** 2).mean() for each in evenly]
        at = int(np.clip(np.argmin(off), 1, len(grid) - 2))
        before, least, after = off[at - 1 : at + 2]
        # The minimum of the parabola through the three.
        read = grid[at] + 0.5 * (grid[1] - grid[0]) * (before - after) / (before - 2 * least + after)
        errors.append(float(read / truth - 1))
    return errors


def occlusion() -> list[list[str]]:
    """Return the rows of the table of occlusion."""
    back, front = public.draw("leaves")[:240, :320], public.draw("polygons")[:240, :320]
    y, x = np.mgrid[:240, :320]
    inside = np.hypot(y - 120, x - 160) <= 70
    sharp = np.where(inside[..., None], front, back)
    near = ndimage.distance_transform_edt(inside) + ndimage.distance_transform_edt(~inside) <= 8
    rows = []
    for blurred, signed in (("background", np.where(inside, 0.0, -4.0)), ("foreground", np.where(inside, 4.0, 0.0))):
        views = aperture.render_picture(sharp, signed).astype(float)
        layers = render.render_depth(sharp, signed, None, 0.0, 4.0).image
        difference = np.abs(views - layers).mean(axis=2)
        rows.append([f"{blurred} of 4 px", f"{difference[near].mean():.1f}", f"{difference[~near].mean():.1f}"])
    return rows


def _print(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(line) + " |", flush=True)
    print()


def main() -> None:
    """Print the tables."""
    rows = []
    kernels: tuple[Kernel, ...] = ("gaussian", "disc")
    for kernel in kernels:
        for slope in SLOPES:
            picture, sigma = tilted(slope)
            rendered = [aperture.render_picture(picture, sigma, kernel)]
            rendered += [render.render_depth(picture, sigma, None, 0.0, 4.0, kernel, layers=n).image for n in LAYERS]
            errors = [np.abs(readings(picture, each, sigma, kernel)) for each in rendered]
            rows.append([f"{kernel}, {slope:g} px per px", *(f"{np.median(e):.3f} / {np.max(e):.3f}" for e in errors)])
    _print(["tilted plane", "256 views", *(f"{n} layers" for n in LAYERS)], rows)
    _print(["occlusion", "within 8 px of the outline", "elsewhere"], occlusion())


if __name__ == "__main__":
    main()
