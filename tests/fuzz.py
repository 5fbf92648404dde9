"""Damaged files by the thousand: nothing but this package's own errors comes out, in time, in bounds, and in silence.

    python tests/fuzz.py --inputs 10000 [--seed 0] [--kind photographs|maps|weights]

Small valid files are made in code, in every format that is read, and damaged: bits turned, bytes replaced, pieces cut
out, repeated or exchanged, numbers set to 0, to -1 or to what is large. Each is read, and what was read is saved as an
edit and read again, in a child process of limited memory (4 GB). Counted as failures are exceptions other than
DefocusError and its kind, messages of more than a line, results that are no photographs or maps, more than 10 s, a
process that dies, and anything printed by a library. Failing inputs are kept in the folder `fuzz-failures`.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

import defocus
from defocus.errors import DefocusError
from defocus.methods import METHODS
from defocus.provenance import Provenance, read_provenance, stamp

SECONDS = 10.0
MEMORY = 4 * 2**30
KINDS = ("photographs", "maps", "weights")


def _exif() -> bytes:
    exif = Image.Exif()
    exif[271], exif[0x0112] = "maker", 6
    exif.get_ifd(0x8769)[0xA002] = 40
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()


@cache
def valid_files(kind: str) -> dict[str, bytes]:
    """Valid files of a kind, by name."""
    rng = np.random.default_rng(7)
    smooth = np.add.outer(np.arange(40), 2 * np.arange(56))[..., None] + rng.integers(0, 40, (40, 56, 3))
    rgb = np.clip(smooth, 0, 255).astype(np.uint8)
    deep = rgb.astype(np.uint16) * 257
    if kind == "maps":
        return _maps(rgb)
    if kind == "weights":
        shipped = [method.weights_file() for method in METHODS.values() if method.weights]
        return {path.name: path.read_bytes() for path in shipped}

    def pillow(name: str, picture: np.ndarray = rgb, **options: Any) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, name, **options)
        return file.getvalue()

    def tiff(picture: np.ndarray, **options: Any) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, picture, metadata=None, **options)
        return file.getvalue()

    profile = imagecodecs.cms_profile("adobergb")
    made = {
        "jpeg": pillow("JPEG", quality=90, exif=_exif(), icc_profile=profile, xmp=b"<x/>"),
        "jpeg progressive": pillow("JPEG", progressive=True),
        "jpeg grey": pillow("JPEG", rgb[..., 0]),
        "jpeg stamped": stamp(pillow("JPEG"), Provenance("mask", "0" * 64)),
        "png": pillow("PNG", exif=_exif(), icc_profile=profile),
        "png palette": pillow("PNG", np.asarray(Image.fromarray(rgb).quantize(16))),
        "png alpha": pillow("PNG", np.dstack([rgb, rgb[..., 0]])),
        "png 16": bytes(imagecodecs.png_encode(deep)),
        "webp": pillow("WEBP", exif=_exif()),
        "gif": pillow("GIF", save_all=True, append_images=[Image.fromarray(rgb[::-1])]),
        "bmp": pillow("BMP"),
        "avif": pillow("AVIF"),
        "jp2": pillow("JPEG2000"),
        "ppm": pillow("PPM"),
        "tiff": pillow("TIFF", exif=_exif()),
        "tiff lzw": tiff(rgb, photometric="rgb", compression="lzw", predictor=True),
        "tiff 16 tiled": tiff(deep, photometric="rgb", compression="zlib", tile=(16, 16)),
        "tiff planar": tiff(np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate", rowsperstrip=9),
        "tiff float": tiff((rgb / 255).astype(np.float32), photometric="rgb", compression="zstd"),
        "tiff big": tiff(rgb, photometric="rgb", bigtiff=True, byteorder=">"),
        "tiff cmyk": tiff(np.dstack([rgb, rgb[..., 0]]), photometric="separated"),
        "tiff jpeg": tiff(rgb, photometric="rgb", compression="jpeg", tile=(32, 32)),
        "tiff webp": tiff(rgb, photometric="rgb", compression="webp"),
    }
    if imagecodecs.JPEGXL.available:
        made["jxl"] = imagecodecs.jpegxl_encode(rgb, usecontainer=True)
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as writer:
        writer.write(rgb[::4, ::4], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        writer.write(rgb, photometric="rgb", compression="zlib", metadata=None)
    made["tiff below"] = pages.getvalue()
    try:
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(rgb)).save(file, exif=_exif())
        made["heic"] = file.getvalue()
    except ImportError:
        pass
    return made


def _maps(rgb: np.ndarray) -> dict[str, bytes]:
    made = {}
    m = defocus.estimate(rgb, method="zhuo2011")
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (("compact", {}), ("lossless", {"precision": "lossless"}), ("reduced", {"reduced": 4})):
            m.save(Path(folder) / "m.tiff", **options)
            made[name] = (Path(folder) / "m.tiff").read_bytes()
    return made


def damaged(contents: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Damage a file in one to four ways."""
    data = bytearray(contents)
    for _ in range(int(rng.integers(1, 5))):
        if len(data) < 16:
            break
        # Headers are short and decide most.
        span = len(data) if rng.random() < 0.5 else min(len(data), 400)
        at = int(rng.integers(0, span))
        match int(rng.integers(0, 8)):
            case 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at : at + 4] = rng.integers(0, 256, 4, np.uint8).tobytes()
            case 2:
                value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF]))
                order = "<" if rng.random() < 0.5 else ">"
                kind = "H" if value <= 0xFFFF and rng.random() < 0.5 else "I"
                packed = struct.pack(order + kind, value)
                data[at : at + len(packed)] = packed
            case 3:
                del data[at : at + int(rng.integers(1, 200))]
            case 4:
                data[at:at] = data[at : at + int(rng.integers(1, 100))]
            case 5:
                del data[int(rng.integers(16, len(data) + 1)) :]
            case 6:
                other = others[int(rng.integers(0, len(others)))]
                piece = int(rng.integers(0, max(len(other) - 64, 1)))
                data[at : at + 64] = other[piece : piece + 64]
            case 7:
                back = int(rng.integers(0, len(data)))
                data[at : at + 4] = struct.pack("<I", back)  # an address within the file
    return bytes(data)


def make(kind: str, number: int, seed: int) -> tuple[str, bytes]:
    """The number-th damaged input: the name of the file it was made from, and its contents."""
    files = valid_files(kind)
    rng = np.random.default_rng([seed, KINDS.index(kind), number])
    name = sorted(files)[number % len(files)]
    return name, damaged(files[name], rng, list(files.values()))


def check(kind: str, contents: bytes, folder: Path) -> str:
    """Read an input, and say what came of it; raises only what must not be raised."""
    path = folder / "input"
    path.write_bytes(contents)
    read_provenance(path)
    try:
        if kind == "maps":
            from defocus.maps.map_file import describe

            describe(path)
            m = defocus.load(path)
            assert np.isfinite(m.sigma).all()
            return "read"
        if kind == "weights":
            return _check_weights(contents, path)
        from defocus.photograph import read_photograph, save_photograph, suffix_for

        photograph = read_photograph(contents)
        assert photograph.pixels.dtype in (np.uint8, np.uint16, np.float32, np.float64)
        assert photograph.pixels.ndim == 3
        assert photograph.pixels.shape[2] == 3
        if photograph.pixels.size < 10_000_000:
            target = folder / f"edit{suffix_for(photograph)}"
            save_photograph(target, photograph.pixels, photograph)
            assert read_photograph(target).pixels.shape == photograph.pixels.shape
    except DefocusError as error:
        assert "\n" not in str(error), "a message of several lines"
        assert str(error).isprintable(), "a message that steers the terminal"
        return "refused"
    return "read"


def _check_weights(contents: bytes, path: Path) -> str:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    if contents[:2] == b"PK" or contents[:1] == b"P":
        from defocus.methods import shi2014, shi2015jnb, shi2015tog
        from defocus.methods.weights_file import read_array_weights

        named = path.with_suffix(".npz")
        named.write_bytes(contents)
        for method in (shi2014, shi2015jnb, shi2015tog):
            try:
                read_array_weights(method.__name__.rpartition(".")[2], method.method.LAYOUT, named)
            except DefocusError:
                continue
        return "read"
    named = path.with_suffix(".onnx")
    named.write_bytes(contents)
    for method in ("pyramid", "dhde"):
        try:
            defocus.estimate(picture, method=method, weights=named)
        except DefocusError as error:
            assert "\n" not in str(error)
    return "read"


def _serve(connection: Connection, said: str) -> None:
    """The life of a child: input in, what came of it out."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                kind, contents = connection.recv()
            except EOFError:
                return
            before = Path(said).stat().st_size
            try:
                outcome = check(kind, contents, Path(folder))
            except MemoryError:
                outcome = "refused"  # said in one sentence by every command
            except BaseException as error:
                outcome = f"{type(error).__name__}: {error}"[:200]
            if Path(said).stat().st_size > before and outcome in ("read", "refused"):
                outcome = "printed: " + Path(said).read_text(errors="replace")[before:][:200]
            connection.send(outcome)


class Child:
    """A process that checks inputs, and is replaced when it hangs or dies."""

    def __init__(self) -> None:
        self._said = tempfile.NamedTemporaryFile(delete=False).name  # noqa: SIM115 (outlives this process's children)
        self._start()

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(theirs, self._said), daemon=True)
        self._process.start()
        theirs.close()
        self._connection = ours

    def check(self, kind: str, contents: bytes) -> str:
        """What came of an input: "read", "refused", or what is wrong."""
        self._connection.send((kind, contents))
        # The first one waits for imports.
        if not self._connection.poll(SECONDS + 20):
            self.end()
            self._start()
            return f"no answer after {SECONDS:.0f} s"
        try:
            return str(self._connection.recv())
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._start()
            return f"the process ended with code {code}"

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def run(
    inputs: int, seed: int, kinds: tuple[str, ...] = KINDS
) -> tuple[Counter[str], list[tuple[str, str, bytes, str]]]:
    """Check inputs of all kinds in turn, and return counts and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    child = Child()
    try:
        for number in range(inputs):
            kind = kinds[number % len(kinds)]
            name, contents = make(kind, number // len(kinds), seed)
            start = time.perf_counter()
            outcome = child.check(kind, contents)
            if outcome in ("read", "refused") and number > 0 and time.perf_counter() - start > SECONDS:
                outcome = f"took {time.perf_counter() - start:.0f} s"
            counts[f"{kind}: {outcome if outcome in ('read', 'refused') else 'failed'}"] += 1
            if outcome not in ("read", "refused"):
                failures.append((kind, name, contents, outcome))
    finally:
        child.end()
    return counts, failures


def main() -> None:
    """Run from the command line; exit code 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    arguments = parser.parse_args()
    start = time.perf_counter()
    counts, failures = run(arguments.inputs, arguments.seed, tuple(arguments.kind or KINDS))
    for number, (kind, name, contents, outcome) in enumerate(failures):
        folder = Path("fuzz-failures")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}-{kind}-{name.replace(' ', '_')}").write_bytes(contents)
        print(f"{kind}, {name}: {outcome}")
    print(json.dumps(counts), f"{len(failures)} failures, {time.perf_counter() - start:.0f} s")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
