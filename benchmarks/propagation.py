"""Propagation: seconds, peak memory and error of each reduction against the direct solution.

Runs on pictures that come with scikit-image unless photographs are given. The seeds are a smooth synthetic
sigma field (0.5..2 px) sampled at strong gradients; an .npz file with `seeds`, `weights` and `guide` is taken
as it is, as is one with `filtered_sparse_sigma`, `edges` and `rolling_guidance`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.methods.dhde.rolling_guidance import rolling_guidance_filter
from defocus.propagation import matting_laplacian, propagate

Array = NDArray[np.float32]
REGULARISATION = 0.005


def seeds_weights_guide(source: str, enlarge: int) -> tuple[Array, Array, Array]:
    """Seeds and weights H x W and guide H x W x 3 from a file or from a picture of scikit-image by name."""
    if source.endswith(".npz"):
        with np.load(source) as arrays:
            if "seeds" in arrays:
                return arrays["seeds"], arrays["weights"], arrays["guide"]
            guide = (arrays["rolling_guidance"] / 65535).astype(np.float32)
            return arrays["filtered_sparse_sigma"], (arrays["edges"] > 0).astype(np.float32), guide
    if Path(source).exists():
        with Image.open(source) as file:
            photo = np.asarray(file.convert("RGB"))
    else:
        from skimage import data

        photo = getattr(data, source)()
    if enlarge > 1:
        photo = np.asarray(Image.fromarray(photo).resize((photo.shape[1] * enlarge, photo.shape[0] * enlarge)))
    guide = rolling_guidance_filter(photo / np.float32(255))
    gradient = np.hypot(*np.gradient(guide.mean(2)))
    weights = (gradient > np.quantile(gradient, 0.92)).astype(np.float32)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    sigma = 1.25 + 0.75 * np.sin(y / photo.shape[0] * 7) * np.cos(x / photo.shape[1] * 7)
    return (sigma * weights).astype(np.float32), weights, guide


def direct_solution(seeds: Array, weights: Array, guide: Array) -> NDArray[np.float64]:
    """The exact system by sparse factorisation: slow and hungry (1.5 GB at 640 x 480)."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    data_term = REGULARISATION * weights.ravel().astype(np.float64)
    matrix = (matting_laplacian(guide) + diags_array(data_term)).tocsc()
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factors.solve(data_term * seeds.ravel()).reshape(weights.shape)


def peak_megabytes() -> float:
    """Peak memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measure(source: str, enlarge: int, reduction: int) -> tuple[NDArray[np.generic], float, float]:
    """One solve (0 = direct) in this process: map, seconds, peak MB of the whole process."""
    seeds, weights, guide = seeds_weights_guide(source, enlarge)
    start = time.perf_counter()
    if reduction == 0:
        found: NDArray[np.generic] = direct_solution(seeds, weights, guide)
    else:
        found = propagate(seeds, weights, guide, regularisation=REGULARISATION, reduction=reduction)
    return found, time.perf_counter() - start, peak_megabytes()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", default=["astronaut", "coffee"], help="files, or scikit-image names")
    parser.add_argument("--reductions", type=int, nargs="+", default=[8, 4, 2, 1])
    parser.add_argument("--enlarge", type=int, default=1, help="enlarge photographs by this factor first")
    parser.add_argument("--no-direct", action="store_true", help="compare with reduction 1 (or with nothing)")
    options = parser.parse_args()

    print(f"{'photograph':24} {'MP':>5} {'reduction':>9} {'s':>7} {'peak MB':>8} {'mean':>9} {'p99':>9} {'max':>9}")
    context = multiprocessing.get_context("spawn")
    for source in options.photos:
        runs = [*([] if options.no_direct else [0]), *sorted(options.reductions)]
        reference = None
        for reduction in runs:
            # A fresh process each, so that the peak is this solve's own.
            with context.Pool(1) as pool:
                found, seconds, peak = pool.apply(measure, (source, options.enlarge, reduction))
            if reference is None and reduction <= 1:
                reference = found
            error = "" if reference is None else _error_columns(np.abs(found - reference))
            label = "direct" if reduction == 0 else str(reduction)
            megapixels = found.size / 1e6
            print(
                f"{Path(source).name:24} {megapixels:5.2f} {label:>9} {seconds:7.2f} {peak:8.0f} {error}",
                flush=True,
            )


def _error_columns(error: NDArray[np.generic]) -> str:
    return f"{error.mean():9.1e} {np.quantile(error, 0.99):9.1e} {error.max():9.1e}"


if __name__ == "__main__":
    main()
