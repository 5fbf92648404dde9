"""Record what the edges, features and network give today on a photograph that ships with scikit-image.

Run it only when a change of these values is meant: `python tests/golden/make.py`. Agreement with the authors' release
is checked separately, against their own outputs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage import data

from defocus.edges import gradient_maxima
from defocus.methods.dhde.edges import edge_scales, value_channel
from defocus.methods.dhde.features.layout import LARGE, SMALL, HandCrafted

CROP = (slice(0, 200), slice(150, 350))


def main() -> None:
    """Write astronaut.npz beside this file."""
    value = value_channel(data.astronaut()[CROP] / 255)
    edges = edge_scales(*gradient_maxima(value), (0.117, 0.176), (0.234, 0.351))
    recorded = {"edges": np.packbits(np.stack([edges == 1, edges == 2]))}
    for scale, label in ((LARGE, 1), (SMALL, 2)):
        positions = np.argwhere(edges == label)[::40]
        recorded[f"positions_{scale.name}"] = positions.astype(np.int16)
        for name, values in HandCrafted(value, scale).features(positions).items():
            recorded[f"{name}_{scale.name}"] = values
    np.savez_compressed(Path(__file__).parent / "astronaut.npz", **recorded)


if __name__ == "__main__":
    main()
