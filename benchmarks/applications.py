"""The applications measured: masks, sharpening on scenes of known truth, seconds and memory.

    python benchmarks/applications.py --data ../shared/data/dev --sharp ../shared/data/train

Masks: `masks` and `multifocus` of the development sets, F (beta^2 = 0.3) of every rule: as it is, refined by a guided
filter of the mask (windows of 33 px, eps 1e-4), and by closed-form matting, which is what `refine` does; thresholds in
px are not chosen, they are listed. Of `masks` also boundary F (a pixel of one boundary counts where the other is within
4 px); the truth of `multifocus` leaves the boundaries out.
Sharpening: `depth` rendered with sigma up to 1.5 and 3 px (linear light, clean and with noise of 2/255 and JPEG 92);
PSNR and SSIM (scikit-image) against the sharp picture, for the photograph, this package with its own map and with the
true one, unsharp masking (radius 1.5, amount 1) and Richardson-Lucy (20 iterations, one sigma: the mean of the map).
Harm: what an edit does where nothing should change. On the sharp parts of `masks` and `multifocus` (2 px and more from
their boundaries), on what has less than 0.6 px in `camera`, and on 15 photographs of `--sharp`, a folder of photographs
that are in focus throughout (every n-th by name): the fraction of pixels that `magnify` (amount 3) and `sharpen` change
by more than 2 of 255 in any channel; and how many of the 15 `segment` divides, with more than 1 % of either kind among
what is decided.
Halo: bright sharp shapes of scikit-image pictures before a dark ground blurred by 3 px, magnified 3 times by the map
that is estimated: by how much the ground becomes brighter, in levels of 255, from 3 to 12 px outside the shape.
Costs: a process of its own for each application and size, with a map made beforehand; peak of the resident set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data as pictures
from skimage.filters import unsharp_mask
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import richardson_lucy

import defocus
from defocus.evaluation import generators
from defocus.evaluation.datasets import Example, read_depth, read_masks, read_multifocus
from defocus.evaluation.metrics import f_beta
from defocus.filters import guided_upsample
from defocus.optics.kernels import gaussian_kernel
from defocus.photograph import read_photograph

SIZES = {"0.3 MP": (480, 640), "6 MP": (2000, 3000), "24 MP": (4000, 6000)}
BOUNDARY = 4
APPLICATIONS = ("segment", "segment --refine", "magnify", "sharpen", "depth")

# Runs in a fresh process.
COST = """
import sys, time, numpy as np, defocus
from defocus.evaluation.benchmark import peak_megabytes
photo, found = np.load(sys.argv[1]), defocus.load(sys.argv[2])
name, _, refine = sys.argv[3].partition(" ")
begin = time.perf_counter()
getattr(defocus, name)(photo, found, **({"refine": True} if refine else {}))
print(f"{time.perf_counter() - begin:.2f} s, {peak_megabytes():.0f} MB")
"""


def boundary_f(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Harmonic mean of the shares of each boundary that the other one is near to."""
    ours, theirs = (m ^ ndimage.binary_erosion(m, border_value=1) for m in (mask, truth))
    if not ours.any() or not theirs.any():
        return 0.0
    precision = (ndimage.distance_transform_edt(~theirs)[ours] <= BOUNDARY).mean()
    recall = (ndimage.distance_transform_edt(~ours)[theirs] <= BOUNDARY).mean()
    return float(f_beta(precision, recall, 1.0))


def masks(examples: Iterator[Example], *, boundaries: bool) -> None:
    """Print F and, if the truth has the boundaries, boundary F of every rule."""
    rules = {"alpha 0.3": {"alpha": 0.3}, "0.9 px": {"threshold": 0.9}, "1.1 px": {"threshold": 1.1}, "auto": {}}
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for e in examples:
        m = defocus.estimate(e.image)
        truth = (e.truth > 0) & e.valid
        for name, options in rules.items():
            plain = defocus.segment(e.image, m, **options).mask
            made = {
                "plain": plain,
                "guided": guided(plain, e.image),
                "matting": defocus.segment(e.image, m, refine=True, **options).mask,
            }
            for kind, whole in made.items():
                mask = whole & e.valid
                hits = float((mask & truth).sum())
                f = float(f_beta(hits / max(mask.sum(), 1), hits / truth.sum()))
                found.setdefault((name, kind), []).append((f, boundary_f(mask, truth)) if boundaries else (f,))
    measures = ("F", "boundary F") if boundaries else ("F",)
    print("| rule | " + " | ".join(f"{m}, plain | guided | matting" for m in measures) + " |\n|---|", end="")
    print("---|" * 3 * len(measures))
    for name in rules:
        means = [np.mean(found[name, kind], axis=0) for kind in ("plain", "guided", "matting")]
        cells = [f"{mean[k]:.3f}" for k in range(len(measures)) for mean in means]
        print(f"| {name} | " + " | ".join(cells) + " |")


def guided(mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Guided filter of the mask, at full size, in colour."""
    rgb = image.astype(np.float32) / 255
    lifted = guided_upsample(mask.astype(np.float32), rgb, rgb, reduction=1, radius=16, eps=1e-4)
    return np.asarray(lifted >= 0.5)


def sharpening(data: Path) -> None:
    """Print PSNR and SSIM of every scene."""
    sharp = {e.name: e.image for e in read_depth(data)}
    scenes = generators.depth_rendered("depth", lambda: read_depth(data), largest=(1.5, 3.0))
    names = ("photograph", "own map", "true map", "unsharp mask", "Richardson-Lucy")
    rows: dict[str, list[list[tuple[float, float]]]] = {}
    print("| scene | " + " | ".join(f"{n}, PSNR / SSIM" for n in names) + " |\n|---|" + "---|" * len(names))
    for e in scenes.examples():
        truth = sharp[e.source]
        m = defocus.estimate(e.image)
        exact = defocus.DefocusMap(e.truth, m.confidence, m.saturated, m.seeds, "truth", (0.0, 10.0))
        kernel = gaussian_kernel(float(m.sigma.mean()))
        lucy = np.stack([richardson_lucy(c / 255, np.outer(kernel, kernel), 20) for c in np.moveaxis(e.image, 2, 0)], 2)
        made = (
            e.image,
            defocus.sharpen(e.image, m),
            defocus.sharpen(e.image, exact),
            np.rint(255 * unsharp_mask(e.image, 1.5, 1.0, channel_axis=2)).astype(np.uint8),
            np.rint(255 * np.clip(lucy, 0, 1)).astype(np.uint8),
        )
        values = [(peak_signal_noise_ratio(truth, p), structural_similarity(truth, p, channel_axis=2)) for p in made]
        rows.setdefault(e.name.split("@")[1], []).append(values)
        print(f"| {e.name} | " + " | ".join(f"{p:.2f} / {s:.3f}" for p, s in values) + " |")
    print("\n| kind | " + " | ".join(names[1:]) + " |\n|---|" + "---|" * (len(names) - 1))
    for kind, of_kind in rows.items():
        table = np.array(of_kind)
        change = table[:, 1:] - table[:, :1]
        cells = [
            f"{change[:, k, 0].mean():+.2f} dB (worst {change[:, k, 0].min():+.2f}), "
            f"{change[:, k, 1].mean():+.3f} (worst {change[:, k, 1].min():+.3f})"
            for k in range(len(names) - 1)
        ]
        print(f"| {kind} | " + " | ".join(cells) + " |")


def harm(data: Path, sharp: Path) -> None:
    """Print what edits change where nothing should change."""
    rows: dict[str, list[tuple[float, float]]] = {}
    divided, undecided = 0, []
    for name, image, focused in _in_focus(data, sharp):
        m = defocus.estimate(image)
        changed = [
            (np.abs(edited.astype(int) - image).max(axis=2) > 2)[focused].mean()
            for edited in (defocus.magnify(image, m, amount=3), defocus.sharpen(image, m))
        ]
        rows.setdefault(name, []).append((float(changed[0]), float(changed[1])))
        if name == "in focus throughout":
            s = defocus.segment(image, m)
            decided = s.mask[~s.undecided]
            divided += bool(len(decided)) and 0.01 < decided.mean() < 0.99
            undecided.append(float(s.undecided.mean()))
    print("| where it is sharp | photographs | magnify changes | sharpen changes |\n|---|---|---|---|")
    for name, changes in rows.items():
        magnified, sharpened = np.mean(changes, axis=0)
        print(f"| {name} | {len(changes)} | {magnified:.1%} | {sharpened:.1%} |")
    print(f"\nsegment divides {divided} of {len(undecided)}; {np.mean(undecided):.0%} of them is undecided.")


def _in_focus(data: Path, sharp: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Name of the set, photograph, and where it is in focus."""
    for name, read in (("masks", read_masks), ("multifocus", read_multifocus)):
        for e in read(data):
            yield name, e.image, ndimage.binary_erosion((e.truth == 0) & e.valid, iterations=2)
    for path in sorted((data / "camera" / "image").iterdir()):
        stored = imagecodecs.png_decode((data / "camera" / "truth" / f"{path.stem}.png").read_bytes())
        focused = (stored > 0) & (stored <= 601)
        if focused.any():
            yield "camera", np.asarray(read_photograph(path).pixels), focused
    paths = sorted(path for path in sharp.iterdir() if path.name.startswith("urban"))
    for path in paths[5 :: max(1, len(paths) // 15)][:15]:
        image = np.asarray(read_photograph(path).pixels)
        yield "in focus throughout", image, np.ones(image.shape[:2], bool)


def halo() -> None:
    """Print by how much the ground beside a bright subject becomes brighter."""
    brighter = []
    for picture in (pictures.astronaut(), pictures.chelsea(), pictures.coffee(), pictures.rocket()):
        texture = picture[:300, :400].astype(float)
        rows, columns = np.mgrid[:300, :400]
        for shape in (
            ((rows - 150) / 90) ** 2 + ((columns - 200) / 120) ** 2 < 1,
            (np.abs(rows - 160) < 100) & (np.abs(columns - 200) < 60),
        ):
            ground = ndimage.gaussian_filter(0.25 * texture[::-1], (3, 3, 0))
            scene = np.where(shape[..., None], 150 + 0.4 * texture, ground)
            image = np.clip(np.rint(ndimage.gaussian_filter(scene, (0.5, 0.5, 0))), 0, 255).astype(np.uint8)
            edited = defocus.magnify(image, amount=3)
            distance = ndimage.distance_transform_edt(~shape)
            ring = (distance >= 3) & (distance <= 12)
            brighter.append(float((edited[ring].astype(float) - image[ring]).mean()))
    print(f"The ground becomes brighter by {np.mean(brighter):.1f} of 255 (worst of 8 scenes {max(brighter):.1f}).")


def costs() -> None:
    """Print seconds and peak memory of each application at each size."""
    print("| application | " + " | ".join(SIZES) + " |\n|---|" + "---|" * len(SIZES))
    cells: dict[str, list[str]] = {name: [] for name in APPLICATIONS}
    with tempfile.TemporaryDirectory() as folder:
        photo, saved = Path(folder) / "photo.npy", Path(folder) / "map.tiff"
        for height, width in SIZES.values():
            source = pictures.astronaut()
            tiles = -(-height // len(source)), -(-width // source.shape[1]), 1
            np.save(photo, np.tile(source, tiles)[:height, :width])
            # A sharp subject before a ground whose blur grows with the picture, as photographs of one scene have it.
            x = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, axis=0)
            sigma = 0.5 + 10 * (width / 6000) * x
            sigma[height // 4 : -height // 4, width // 10 : width // 2] = 0.5
            everywhere = np.ones(sigma.shape, np.float32)
            none = defocus.Seeds.none((height, width))
            defocus.DefocusMap(sigma, everywhere, sigma < 0, none, "made", (0.0, 40.0)).save(saved)
            for name in APPLICATIONS:
                command = [sys.executable, "-W", "ignore", "-c", COST, str(photo), str(saved), name]
                cells[name].append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    for name, row in cells.items():
        print(f"| {name} | " + " | ".join(row) + " |")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="root folder of the development sets")
    parser.add_argument("--sharp", type=Path, required=True, help="folder of photographs that are in focus throughout")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for title, table in (
        ("Masks", lambda: masks(read_masks(arguments.data), boundaries=True)),
        ("Masks of multifocus", lambda: masks(read_multifocus(arguments.data), boundaries=False)),
        ("Harm", lambda: harm(arguments.data, arguments.sharp)),
        ("Halo", halo),
        ("Sharpening", lambda: sharpening(arguments.data)),
        ("Costs", costs),
    ):
        print(f"\n### {title}\n")
        table()


if __name__ == "__main__":
    main()
