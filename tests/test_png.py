"""PNGs that are cut, damaged or swollen: what is there is read, what is not is named, nothing is printed."""

import io
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from defocus.errors import PhotographError, PhotographWarning
from defocus.photograph import as_photograph, read_photograph
from defocus.photograph.png_encoder import encode_png

RGB = data.astronaut()[:96, :80].copy()
ALPHA = np.dstack([RGB, np.tile(np.arange(80, dtype=np.uint8) * 3, (96, 1))])


def chunk(kind, contents):
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def with_chunk(png, kind, contents):
    return png[:33] + chunk(kind, contents) + png[33:]


def png(pixels, **options):
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "PNG", **options)
    return file.getvalue()


PICTURES = {
    "RGB": png(RGB),
    "RGBA": png(ALPHA),
    "grey": png(RGB[..., 0].copy()),
    "palette": png(Image.fromarray(RGB).quantize(64)),
    "16 bits": bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 257)),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_rows_before_a_cut_are_read_and_the_others_are_named(kind):
    whole = read_photograph(PICTURES[kind])
    cut = PICTURES[kind][: len(PICTURES[kind]) * 6 // 10]
    with pytest.warns(PhotographWarning, match="are missing"):
        found = read_photograph(cut)
    rows = found.missing.all(axis=1)
    assert 0.1 < rows.mean() < 0.9
    np.testing.assert_array_equal(found.missing, np.broadcast_to(rows[:, None], found.missing.shape))
    np.testing.assert_array_equal(found.pixels[~rows], whole.pixels[~rows])
    assert found.pixels.dtype == whole.pixels.dtype
    with pytest.raises(PhotographError, match="missing"):
        read_photograph(cut, strict=True)


def test_black_rows_at_the_end_are_not_taken_for_missing():
    pixels = RGB.copy()
    pixels[40:] = 0
    contents = png(pixels)
    with pytest.warns(PhotographWarning, match="hold no pixels"):
        found = read_photograph(contents[:-12])  # without its last chunk
    assert found.missing is None
    np.testing.assert_array_equal(found.pixels, pixels)


def test_after_a_wrong_checksum_nothing_is_believed():
    compressed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in RGB))
    third = len(compressed) // 3
    parts = [chunk(b"IDAT", compressed[n * third : (n + 1) * third if n < 2 else None]) for n in range(3)]
    parts[1] = parts[1][:-6] + bytes([parts[1][-6] ^ 1]) + parts[1][-5:]
    contents = PICTURES["RGB"][:33] + b"".join(parts) + chunk(b"IEND", b"")
    with pytest.warns(PhotographWarning, match="are missing"):
        found = read_photograph(contents)
    assert 0.5 < found.missing.mean() < 0.8
    np.testing.assert_array_equal(found.pixels[~found.missing], RGB[~found.missing])


def test_what_cannot_be_read_in_part_is_refused():
    def interlaced():
        header = struct.pack(">IIBBBBB", 80, 96, 8, 2, 0, 0, 1)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(300)))

    for contents, words in (
        (interlaced(), "interlaced"),
        (PICTURES["RGB"][:50], "none of its pixels"),
        (PICTURES["RGB"][:30], "header"),
        (PICTURES["RGB"].replace(b"IHDR", b"IDAT"), "header"),
    ):
        with pytest.raises(PhotographError, match=words):
            read_photograph(contents)


@pytest.mark.parametrize("kind", ["RGB", "16 bits"])
def test_metadata_that_swell_cost_themselves_only(kind):
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    contents = PICTURES[kind]
    for name, body, words in (
        (b"iCCP", b"p\0\0" + bomb, "profile"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb, "XMP"),
        (b"zTXt", b"Raw profile type exif\0\0" + bomb, "EXIF"),
    ):
        with pytest.warns(PhotographWarning, match=words):
            found = read_photograph(with_chunk(contents, name, body))
        np.testing.assert_array_equal(found.pixels, read_photograph(contents).pixels)
    # Text that is no photograph's metadata is passed over without a word.
    read_photograph(with_chunk(contents, b"zTXt", b"Comment\0\0" + bomb))


def test_metadata_of_every_kind_are_found():
    exif = Image.Exif()
    exif[274] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    digits = body.hex().encode()
    text = b"\nexif\n%8d\n" % len(body) + b"\n".join(digits[n : n + 72] for n in range(0, len(digits), 72)) + b"\n"
    for name, contents in (
        (b"eXIf", body),
        (b"tEXt", b"Raw profile type exif\0" + text),
        (b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(text)),
    ):
        found = read_photograph(with_chunk(PICTURES["RGB"], name, contents))
        assert found.orientation == 6
        assert found.pixels.shape == (80, 96, 3)
    packet = b"<x:xmpmeta/>"
    for contents in (b"\0\0\0\0" + packet, b"\1\0de\0\0" + zlib.compress(packet)):
        assert read_photograph(with_chunk(PICTURES["RGB"], b"iTXt", b"XML:com.adobe.xmp\0" + contents)).xmp == packet
    with Image.open(io.BytesIO(with_chunk(PICTURES["RGB"], b"tEXt", b"Raw profile type exif\0" + text))) as image:
        assert as_photograph(image).pixels.shape == (80, 96, 3)


def test_one_colour_may_stand_for_transparent():
    colour = tuple(int(value) for value in RGB[3, 3])
    found = read_photograph(png(RGB, transparency=colour))
    np.testing.assert_array_equal(found.alpha == 0, (RGB[3, 3] == RGB).all(axis=2))
    np.testing.assert_array_equal(found.pixels, RGB)


def test_libraries_print_nothing(tmp_path):
    for number, contents in enumerate(
        (
            with_chunk(PICTURES["16 bits"], b"eXIf", b"garbage"),
            with_chunk(PICTURES["16 bits"], b"iCCP", b"p\0\0garbage"),
            with_chunk(PICTURES["RGB"], b"gAMA", b""),
            PICTURES["16 bits"][:3000],
        )
    ):
        (tmp_path / f"{number}.png").write_bytes(contents)
    code = (
        "import pathlib, warnings; warnings.simplefilter('ignore')\n"
        "from defocus.photograph import read_photograph\n"
        "for path in sorted(pathlib.Path().glob('*.png')): read_photograph(path)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == done.stderr == b""


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 70), st.integers(3, 70), st.sampled_from([np.uint8, np.uint16]), st.sampled_from([(), (3,)]))
def test_what_is_encoded_is_read_back(height, width, dtype, channels):
    pixels = np.random.default_rng(height).integers(0, np.iinfo(dtype).max + 1, (height, width, *channels), dtype)
    contents = encode_png(pixels)
    np.testing.assert_array_equal(imagecodecs.png_decode(contents), pixels)
    read = read_photograph(contents, strict=True).pixels
    np.testing.assert_array_equal(read if channels else read[..., 0], pixels)
    turned = np.asfortranarray(pixels[:, ::-1])
    np.testing.assert_array_equal(imagecodecs.png_decode(encode_png(turned)), turned)
    if dtype == np.uint8:
        with Image.open(io.BytesIO(contents)) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)


def test_compressed_pixels_may_be_in_several_chunks(monkeypatch):
    whole = encode_png(RGB)
    monkeypatch.setattr(sys.modules[encode_png.__module__], "_LONGEST", 1000)
    parts = encode_png(RGB)
    assert whole.count(b"IDAT") == 1 and parts.count(b"IDAT") > 10
    np.testing.assert_array_equal(read_photograph(parts, strict=True).pixels, RGB)


@pytest.mark.parametrize("pixels", [RGB.astype(float), ALPHA, RGB[0, 0], RGB > 9])
def test_other_pixels_are_not_encoded(pixels):
    with pytest.raises(ValueError, match="A PNG holds"):
        encode_png(pixels)
