"""Probabilities of the blur labels at edge pixels, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.methods.dhde.caffemodel import read_caffemodel
from defocus.methods.dhde.features.layout import HandCrafted, PatchScale
from defocus.methods.dhde.features.patches import PatchReader, pad_edges
from defocus.methods.dhde.weights import BLUR_LABELS, CNN_PATCH_WIDTH, read_metadata, rebuilt
from defocus.methods.onnx_file import trusted_model
from defocus.methods.registry import find_method
from defocus.methods.session import open_session
from defocus.methods.weights_file import read_contents
from defocus.runtime.cores import on_all_cores, single_blas_thread

__all__ = ["BATCH", "PatchClassifier", "cnn_patches"]

BATCH = 128
"""Patches that are in memory at once, per thread: 10 MB of responses of the first layer."""


class PatchClassifier:
    """The trained network of DHDE.

    Parameters
    ----------
    path : an ONNX file of `defocus train`, the authors' `.caffemodel`, or None for the weights of this package.
    device : what the network is run on, see `defocus.methods.session.open_session`.

    Raises
    ------
    WeightsError : the file is missing, damaged, or another network.
    ParameterError : the device is not there or does not work.
    """

    card: Mapping[str, Any]
    """Where the weights come from."""
    sha256: str
    """Of the weights file, to tell which weights made a map."""

    def __init__(self, path: Path | None = None, device: str = "cpu") -> None:
        source = find_method("dhde").weights_file(path)
        assert source is not None
        contents, self.sha256 = read_contents(source)
        if source.suffix == ".caffemodel":
            model = read_caffemodel(source).to_onnx()
        else:
            model = contents if path is None else trusted_model(contents, source, rebuilt)
        # Batches run in threads of their own.
        self._session = open_session(model, source, threads=1, device=device)
        self.card = read_metadata(self._session.metadata)

    @property
    def device(self) -> str:
        """What the network has been run on last."""
        return self._session.device

    def read_patches(self, patches: NDArray[Any], hand_crafted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of every blur label of patches that are cut out already.

        Parameters
        ----------
        patches : n x 3 x w x w of any dtype, sRGB, 0..255; w is 27 or 15.
        hand_crafted : n x 120 float32, the patches' `HandCrafted` features.

        Returns
        -------
        n x 11 float32, each row sums to 1. All n are in memory at once.
        """
        inputs = {"hand_crafted": hand_crafted, "patches": cnn_patches(patches)}
        (probability,) = self._session.run(["probability"], inputs)
        if not np.isfinite(probability).all():
            raise WeightsError("The weights' numbers are so large that the network overflows; train them again.")
        return np.asarray(probability)

    def probabilities(
        self,
        pixels: NDArray[np.float32],
        value: NDArray[np.float64],
        positions: NDArray[np.integer],
        scale: PatchScale,
        done: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Probability of every blur label at positions, all read at one patch scale.

        Parameters
        ----------
        pixels : H x W x 3 float32, sRGB, 0..255.
        value : H x W float64, value channel, 0..1.
        positions : n x 2 integers, row and column.
        scale : `LARGE` or `SMALL`.
        done : called after each batch with the number of its patches.

        Returns
        -------
        n x 11 float32, each row sums to 1.
        """
        hand_crafted = HandCrafted(value, scale)
        patches = PatchReader(pad_edges(pixels, scale.radius), scale.radius)
        batches = [positions[start : start + BATCH] for start in range(0, len(positions), BATCH)]

        def classify(batch: NDArray[np.integer]) -> NDArray[np.float32]:
            probability = self.read_patches(patches(batch), hand_crafted(batch))
            if done is not None:
                done(len(batch))
            return probability

        # Singular values of small matrices are ten times slower on threaded BLAS: whole batches run in threads instead,
        # which also makes the result independent of the number of cores.
        with single_blas_thread():
            results = on_all_cores(classify, batches)
        return np.concatenate(results) if results else np.empty((0, len(BLUR_LABELS)), dtype=np.float32)


def cnn_patches(patches: NDArray[Any]) -> NDArray[np.float32]:
    """Patches of either scale as the CNN reads them: n x 3 x w x w to n x 3 x 27 x 27 float32, border replicated."""
    border = (CNN_PATCH_WIDTH - patches.shape[-1]) // 2
    if border:
        patches = np.pad(patches, ((0, 0), (0, 0), (border, border), (border, border)), mode="edge")
    return np.ascontiguousarray(patches, dtype=np.float32)
