"""Our batched pursuit against that of scikit-learn on the same patches: `python benchmarks/sparse_coding.py`."""

from __future__ import annotations

import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data
from sklearn.linear_model import orthogonal_mp_gram

from defocus.methods.shi2015jnb.method import LAYOUT, LEAST_LENGTH, MOST_ATOMS, RELATIVE_TOLERANCE, patch_tolerance
from defocus.methods.shi2015jnb.sparse_code import atoms_needed
from defocus.methods.weights_file import read_array_weights


def main() -> None:
    """Print microseconds a patch of both, and how often the counts agree."""
    dictionary = read_array_weights("shi2015jnb", LAYOUT).arrays["dictionary"].astype(np.float32)
    patches = sliding_window_view(data.camera() / np.float32(255), (8, 8))[::6, ::6].reshape(-1, 64)
    patches = (patches - patches.mean(axis=1, keepdims=True)).astype(np.float32)
    length = np.linalg.norm(patches, axis=1)
    patches, length = patches[length >= LEAST_LENGTH], length[length >= LEAST_LENGTH]
    tolerance = patch_tolerance(length, "relative")

    begin = time.perf_counter()
    ours = atoms_needed(patches, dictionary, tolerance, MOST_ATOMS)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    # At unit length the relative tolerance is one number, which lets it take all patches in one call.
    atoms, unit = dictionary.astype(np.float64), (patches / length[:, None]).astype(np.float64)
    codes = orthogonal_mp_gram(
        atoms.T @ atoms, atoms.T @ unit.T, tol=RELATIVE_TOLERANCE**2, norms_squared=np.ones(len(unit))
    )
    theirs = np.minimum(np.count_nonzero(codes, axis=0), MOST_ATOMS)  # ours stops there
    other = time.perf_counter() - begin
    alike = np.mean(np.abs(ours - theirs) <= 2)
    for name, spent in (("ours", seconds), ("scikit-learn", other)):
        print(f"{name}: {spent / len(patches) * 1e6:.0f} microseconds a patch, {len(patches)} patches")
    print(f"Counts agree within two atoms at {alike:.1%}.")


if __name__ == "__main__":
    main()
