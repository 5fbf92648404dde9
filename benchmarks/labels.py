"""How well weights read the blur labels of synthetic patches, side by side on the same patches.

    python benchmarks/labels.py --photos ../shared/data/train --weights ours= \
        --weights authors=../shared/golden/DHDE_model.caffemodel

The photographs are those that `defocus train` with the same seed holds out. Two recipes: `released`, clean Gaussian
blur at strong edges as in the authors' scripts, and `ours`, with noise, JPEG, half-size sources and weaker edges, of
which only patches within the labels' range count. An empty path stands for the weights of this package.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from defocus.methods.dhde.classifier import PatchClassifier
from defocus.training.dhde.fitting import TrainingParameters, score
from defocus.training.dhde.patches import RELEASED, PatchRecipe, PatchSet, make_patches
from defocus.training.photographs import find_photographs, split_photographs


def read(classifier: PatchClassifier, patches: PatchSet, scale: str) -> np.ndarray:
    """Probabilities of the labels of all patches of a scale."""
    pixels, features = getattr(patches, scale), getattr(patches, f"{scale}_features")
    return np.concatenate(
        [classifier.read_patches(pixels[at : at + 256], features[at : at + 256]) for at in range(0, len(pixels), 256)]
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--patches", type=int, default=8, help="of each photograph, label and scale")
    arguments = parser.parse_args()
    parameters = TrainingParameters()
    _, held_out = split_photographs(find_photographs(arguments.photos), parameters.held_out, parameters.seed)
    print("| recipe | patch | weights | patches | top-1 | within one | MAE arg-max, px | MAE mean, px |")
    print("|---|---|---|---|---|---|---|---|")
    for name, recipe in (("released", RELEASED), ("ours", PatchRecipe())):
        # A seed of its own: these are not the patches that chose the temperature.
        made = make_patches(held_out, replace(recipe, patches_per_label=arguments.patches), seed=7)
        for scale in ("large", "small"):
            within = ~getattr(made, f"{scale}_beyond")
            for weights in arguments.weights:
                title, _, path = weights.partition("=")
                probabilities = read(PatchClassifier(Path(path) if path else None), made, scale)
                row = score(probabilities[within], getattr(made, f"{scale}_labels")[within])
                print(
                    f"| {name} | {scale} | {title} | {row.patches:,} | {row.top1:.3f} | {row.within_one:.3f} "
                    f"| {row.argmax_error:.3f} | {row.mean_error:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
