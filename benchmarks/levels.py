"""What is lost, and gained, where the pyramid method leaves levels out.

    python benchmarks/levels.py
    python benchmarks/levels.py photo1.jpg photo2.jpg

Each photograph is estimated three times: with all levels read everywhere (`finer_levels=everywhere`), with those that
are needed (the default), and without the finest (the preset fast). Printed are the CPU seconds of each, and the mean
difference of the second and the third from the first: of log2 sigma, of confidence, and of sigma in px where it is
below 1 px and elsewhere. Without arguments, pictures of scikit-image are taken, as they are and with two thirds blurred
by Gaussians of 2, 4 and 8 px.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import defocus
from defocus.evaluation.render import gaussian_blur
from defocus.methods.pyramid.method import PRESETS, PyramidParameters
from defocus.photograph import Photograph, photograph_from_array, read_photograph

PICTURES = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle_left")
SETTINGS = {
    "everywhere": PyramidParameters(finer_levels="everywhere"),
    "needed": PRESETS["default"],
    "fast": PRESETS["fast"],
}


def pictures() -> Iterator[tuple[str, Photograph]]:
    """Yield pictures of scikit-image, sharp and partly blurred."""
    import skimage

    for name in PICTURES:
        found = sorted((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))
        if not found:
            continue
        sharp = read_photograph(found[0]).pixels[..., :3]
        yield name, photograph_from_array(np.asarray(sharp))
        for sigma in (2.0, 4.0, 8.0):
            blurred = np.array(sharp)
            third = sharp.shape[1] // 3
            blurred[:, third:] = gaussian_blur(blurred, sigma)[:, third:]
            yield f"{name}, {sigma:g} px", photograph_from_array(blurred)


def compare(photographs: Iterator[tuple[str, Photograph]]) -> str:
    """Return the table, in markdown."""
    lines = [
        "| photograph | levels | CPU, s | log2 sigma | confidence | px, below 1 px | px, elsewhere |",
        "|---|---|---|---|---|---|---|",
    ]
    rows: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
    for name, photograph in photographs:
        defocus.estimate(photograph)  # the first run of a process opens the network
        reference = None
        for setting, parameters in SETTINGS.items():
            begin = time.process_time()
            found = defocus.estimate(photograph, parameters=parameters)
            row = [time.process_time() - begin]
            if reference is None:
                reference = found
            difference = np.abs(found.sigma - reference.sigma)
            low = reference.sigma < 1
            row += [
                float(np.abs(np.log2(found.sigma / reference.sigma)).mean()),
                float(np.abs(found.confidence - reference.confidence).mean()),
                float(difference[low].mean()) if low.any() else np.nan,
                float(difference[~low].mean()) if not low.all() else np.nan,
            ]
            rows[setting].append(row)
            lines.append(line(name, setting, row))
            print(lines[-1], file=sys.stderr, flush=True)
    lines += [line("mean", setting, [float(value) for value in np.nanmean(rows[setting], axis=0)]) for setting in rows]
    return "\n".join(lines)


def line(name: str, setting: str, row: Sequence[float]) -> str:
    """Return one row of the table."""
    return f"| {name} | {setting} | {row[0]:.2f} | " + " | ".join(f"{value:.4f}" for value in row[1:]) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path, help="photographs; default: pictures of scikit-image")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", UserWarning)
    given = ((path.name, read_photograph(path)) for path in options.photos)
    print(compare(given if options.photos else pictures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
