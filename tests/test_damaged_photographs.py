"""Damaged and deceitful files: what is there is read, what is not is named, and memory is bounded before decoding."""

import io
import struct
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from defocus.errors import PhotographError, PhotographWarning
from defocus.photograph import read_photograph

RGB = data.astronaut()[:128, :160].copy()


def jpeg(pixels=RGB, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def tiff(**options):
    file = io.BytesIO()
    tifffile.imwrite(file, options.pop("pixels", RGB), **{"photometric": "rgb", **options})
    return file.getvalue()


def with_tags(contents, values):
    """Set tags of the first directory, of one number each."""
    changed = bytearray(contents)
    (first,) = struct.unpack_from("<I", changed, 4)
    (count,) = struct.unpack_from("<H", changed, first)
    for place in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", changed, place)
        if tag in values:
            struct.pack_into("<H2x" if kind == 3 else "<I", changed, place + 8, values[tag])
    return bytes(changed)


TABLES = pytest.mark.parametrize("optimize", [False, True], ids=["standard tables", "tables of its own"])


@TABLES
def test_zeros_in_the_place_of_a_jpeg_s_end_are_missing_pixels(optimize):
    """As a copy that failed leaves them: the file has its length, and zeros in it."""
    contents = jpeg(optimize=optimize, subsampling=0)  # else colours are mixed with those of the missing block
    half = len(contents) // 2
    for damaged in (
        contents[:half] + bytes(len(contents) - half),
        contents[:half] + bytes(len(contents) - half - 2) + b"\xff\xd9",
        contents[:half] + bytes(1000) + contents[half + 1000 :],
    ):
        with pytest.warns(PhotographWarning, match="are missing"):
            found = read_photograph(damaged)
        assert 0.3 < found.missing.mean() < 0.7
        # But for the block in which the data end, which counts as missing too, what is read is right.
        np.testing.assert_array_equal(found.pixels[~found.missing], read_photograph(contents).pixels[~found.missing])
        with pytest.raises(PhotographError, match="missing"):
            read_photograph(damaged, strict=True)


@TABLES
def test_plain_walls_are_not_taken_for_damage(optimize):
    """Walls are zeros, or nearly, in a JPEG with tables made for it."""
    pixels = np.full((512, 512, 3), 200, np.uint8)
    pixels[200:230, 200:230] = RGB[:30, :30]
    for contents in (jpeg(pixels, optimize=optimize), jpeg(pixels[..., 0].copy(), optimize=optimize)):
        assert read_photograph(contents, strict=True).missing is None


def test_a_wall_of_zeros_is_really_met():
    """Else the test above shows nothing."""
    assert bytes(64) in jpeg(np.full((1024, 1024), 128, np.uint8), optimize=True)
    assert read_photograph(jpeg(np.full((1024, 1024), 128, np.uint8), optimize=True), strict=True).missing is None


def test_zeros_outside_the_pixels_of_a_jpeg_are_no_damage():
    for contents in (jpeg(comment=bytes(500)), jpeg() + bytes(500)):
        assert read_photograph(contents, strict=True).missing is None


def test_a_jpeg_without_a_single_pixel_is_refused():
    contents = jpeg()
    start = contents.index(b"\xff\xda") + 14
    with pytest.raises(PhotographError, match="none of its pixels"):
        read_photograph(contents[:start])


def test_what_a_gif_s_first_frame_leaves_out_is_missing():
    file = io.BytesIO()
    Image.fromarray(RGB).quantize(64).save(file, "GIF")
    contents = bytearray(file.getvalue())
    struct.pack_into("<HH", contents, 6, 200, 128)  # the canvas; the frame has 160 x 128
    with pytest.warns(PhotographWarning, match="20% of its pixels are missing"):
        found = read_photograph(bytes(contents))
    assert found.missing[:, 160:].all()
    assert not found.missing[:, :160].any()


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "png", "jpegxl", "webp", "lerc"])
def test_strips_that_hold_more_than_they_say_are_refused(compression):
    large = np.zeros((3000, 3000, 3), np.uint8)
    encode = {
        "jpeg": imagecodecs.jpeg_encode,
        "jpeg2000": imagecodecs.jpeg2k_encode,
        "png": imagecodecs.png_encode,
        "jpegxl": imagecodecs.jpegxl_encode,
        "webp": imagecodecs.webp_encode,
        "lerc": imagecodecs.lerc_encode,
    }[compression]
    whole = tiff(compression=compression, rowsperstrip=128)
    np.testing.assert_allclose(read_photograph(whole).pixels.astype(int), RGB, atol=60)
    strip = bytes(encode(large))
    with pytest.raises(PhotographError, match="stored as one of 3000 x 3000"):
        read_photograph(with_tags(whole + strip, {273: len(whole), 279: len(strip)}))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiles_larger_than_any_picture_are_refused(compression):
    contents = tiff(tile=(64, 64), compression=compression)
    read_photograph(contents)
    with pytest.raises(PhotographError, match="tiles have 65520 x 65520 pixels"):
        read_photograph(with_tags(contents, {322: 65520, 323: 65520}))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("photometric", "name"), [(2, "RGB"), (5, "SEPARATED"), (6, "YCBCR")])
def test_colours_with_too_few_channels_are_refused(dtype, photometric, name):
    contents = tiff(pixels=RGB[..., 0].astype(dtype), photometric="minisblack")
    with pytest.raises(PhotographError, match=f"colours are {name}, with 1 of"):
        read_photograph(with_tags(contents, {262: photometric}))


def tiff_by_pillow(mode, compression):
    file = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(file, "TIFF", compression=compression)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        ("LAB", "tiff_lzw"),
        ("YCbCr", "tiff_lzw"),
        ("YCbCr", None),
        ("1", "group3"),
        ("1", "group4"),
        ("1", "tiff_ccitt"),
    ],
)
def test_colours_of_other_kinds_are_those_that_were_written(mode, compression):
    contents = tiff_by_pillow(mode, compression)
    # Of L*a*b* and YCbCr in 8 bits, rounding alone.
    expected = np.asarray(Image.fromarray(RGB).convert(mode).convert("RGB")) if mode != "LAB" else RGB
    np.testing.assert_allclose(read_photograph(contents).pixels.astype(int), expected, atol=6)


def test_libraries_say_nothing_of_damaged_tiffs(tmp_path):
    for number, (mode, compression) in enumerate(
        [("LAB", "tiff_lzw"), ("YCbCr", "tiff_lzw"), ("1", "group3"), ("1", "group4"), ("LAB", "tiff_adobe_deflate")]
    ):
        contents = bytearray(tiff_by_pillow(mode, compression))
        contents[100:-400:37] = b"\x5a" * len(contents[100:-400:37])
        (tmp_path / f"pillow_{number}.tif").write_bytes(contents)
    for number, compression in enumerate((None, "lzw", "zlib", "jpeg", "jpeg2000", "webp", "zstd", "packbits", "png")):
        contents = tiff(compression=compression, rowsperstrip=16)
        for cut in (30, 50, 70, 90):
            (tmp_path / f"{number}_{cut}.tif").write_bytes(contents[: len(contents) * cut // 100])
        middle = len(contents) // 2
        (tmp_path / f"{number}_x.tif").write_bytes(contents[:middle] + bytes(99) + contents[middle + 99 :])
    code = (
        "import pathlib, warnings; warnings.simplefilter('ignore')\n"
        "from defocus.photograph import read_photograph\n"
        "from defocus import PhotographError\n"
        "for path in sorted(pathlib.Path().glob('*.tif')):\n"
        "    try: read_photograph(path)\n"
        "    except PhotographError: pass"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == done.stderr == b""


def test_a_damaged_strip_of_jpegs_that_share_their_tables_costs_that_strip():
    file = io.BytesIO()
    picture = data.astronaut()[:160]
    Image.fromarray(picture).save(file, "TIFF", compression="jpeg", tiffinfo={278: 16})
    contents = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(contents)) as tiff:
        page = tiff.pages.first
        assert 347 in page.tags  # the tables
        start, count = page.dataoffsets[3], page.databytecounts[3]
    contents[start : start + count] = bytes(count)
    with pytest.warns(PhotographWarning, match="10%"):
        photograph = read_photograph(bytes(contents))
    assert photograph.missing[48:64].all() and photograph.missing.mean() == 0.1
    assert np.abs(photograph.pixels[64:].astype(int) - picture[64:]).mean() < 5
