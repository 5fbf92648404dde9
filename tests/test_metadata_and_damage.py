"""Damaged, strange and hostile files: pixels that are there are read, those that are not are never made up."""

import io
import os
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

import defocus
from defocus.errors import PhotographError, PhotographWarning
from defocus.photograph import read_photograph, save_photograph, saving_note
from defocus.photograph import source as photograph_source

PICTURE = data.astronaut()[:128, :192]


def encoded(kind="JPEG", picture=PICTURE, **options):
    file = io.BytesIO()
    if kind == "JPEG" and options.get("exif", b"Exif")[:4] != b"Exif":
        options["exif"] = b"Exif\0\0" + options["exif"]
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def read(contents, words=None, **options):
    """Read, with exactly one warning where words are given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        photograph = read_photograph(contents, **options)
    messages = [str(each.message) for each in caught]
    assert len(messages) == (words is not None), messages
    if words is not None:
        assert words in messages[0]
        assert caught[0].category is PhotographWarning
    return photograph


# Inputs


def test_colours_of_its_own_are_converted_before_an_estimate(fake_method, tmp_path):
    wide = imagecodecs.cms_profile("adobergb")
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(icc_profile=wide, quality=95))
    own, srgb = read_photograph(path, own_colours=True), read_photograph(path)
    assert own.profile == wide
    assert np.abs(own.pixels.astype(int) - srgb.pixels).max() > 5
    np.testing.assert_array_equal(own.in_srgb().pixels, srgb.pixels)
    assert own.in_srgb().profile is None
    maps = [defocus.estimate(each, method="fake").sigma for each in (own, srgb)]
    np.testing.assert_array_equal(maps[0], maps[1])


# Limits


def test_a_jpeg_that_cannot_hold_its_pixels_is_refused_before_it_is_decoded():
    contents = encoded()
    at = contents.index(b"\xff\xc0") + 5
    bomb = contents[:at] + struct.pack(">HH", 9000, 20000) + contents[at + 4 :]
    with pytest.raises(PhotographError, match="cannot hold its 20000 x 9000 pixels"):
        read_photograph(bomb)


def test_limits_count_channels_bits_and_the_memory_that_is_free(monkeypatch, tmp_path):
    tifffile.imwrite(
        tmp_path / "many.tif", np.zeros((20, 20, 300), np.uint16), photometric="rgb", planarconfig="contig"
    )
    with pytest.raises(PhotographError, match="of 600 bytes"):
        read_photograph(tmp_path / "many.tif")
    monkeypatch.setattr(photograph_source, "available_memory", lambda: 1e5)
    for contents in (encoded(), encoded("PNG"), encoded("TIFF"), encoded("WEBP")):
        with pytest.raises(PhotographError, match="GB of memory"):
            read_photograph(contents)


# Damage


def test_a_jpeg_without_its_last_bytes_is_whole():
    contents = encoded(quality=90)
    photograph = read(contents[:-2], "lacks its last bytes")
    np.testing.assert_array_equal(photograph.pixels, read(contents).pixels)
    assert photograph.missing is None
    with pytest.raises(PhotographError, match="last bytes"):
        read_photograph(contents[:-2], strict=True)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("kept", [0.4, 0.8])
def test_what_a_jpeg_lacks_is_marked(subsampling, end, kept):
    contents = encoded(quality=90, subsampling=subsampling)
    whole = read(contents).pixels
    start = contents.index(b"\xff\xda")
    cut = contents[: start + int(kept * (len(contents) - start))].rstrip(b"\xff") + end
    photograph = read(cut, "is cut short")
    missing = photograph.missing
    assert 0.05 < missing.mean() < 0.95
    # What is not marked is as it was: nothing is made up in silence.
    np.testing.assert_array_equal(photograph.pixels[~missing], whole[~missing])
    # And little that is there is given up: a row of blocks at most.
    rows = np.flatnonzero((photograph.pixels != whole).any(axis=(1, 2)))
    assert np.flatnonzero(missing.any(axis=1))[0] >= rows[0] - 16
    m = defocus.estimate(photograph)
    assert m.confidence[missing].max() == 0
    assert m.confidence[:16].max() > 0.3
    with pytest.raises(PhotographError, match="cut short"):
        read_photograph(cut, strict=True)


def test_a_progressive_jpeg_that_is_cut_is_refused():
    contents = encoded(quality=90, progressive=True)
    with pytest.raises(PhotographError, match="progressive"):
        read_photograph(contents[: len(contents) // 2])
    read(contents)


def test_a_white_border_is_not_missing():
    framed = np.full((160, 200, 3), 255, np.uint8)
    framed[:100, :150] = PICTURE[:100, :150]
    assert read(encoded(picture=framed)).missing is None


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 1), (np.uint16, 257)])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("change", ["count 0", "offset 0", "beyond the end", "garbage"])
def test_strips_and_tiles_that_are_missing(tmp_path, dtype, factor, tiled, change):
    path = tmp_path / "a.tif"
    layout = {"tile": (64, 64)} if tiled else {"rowsperstrip": 32}
    deep = PICTURE.astype(dtype) * dtype(factor)
    tifffile.imwrite(path, deep, photometric="rgb", compression="zlib", **layout)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages.first
        names = ("TileOffsets", "TileByteCounts") if tiled else ("StripOffsets", "StripByteCounts")
        offsets, counts = (list(page.tags[name].value) for name in names)
        if change == "garbage":
            with path.open("r+b") as file:
                file.seek(offsets[1])
                file.write(bytes(counts[1]))
        else:
            if change == "count 0":
                counts[1] = 0
            else:
                offsets[1] = 0 if change == "offset 0" else 10_000_000
            page.tags[names[0]].overwrite(offsets)
            page.tags[names[1]].overwrite(counts)
    photograph = read(path, "missing")
    gone = np.s_[:64, 64:128] if tiled else np.s_[32:64]
    expected = np.zeros(PICTURE.shape[:2], bool)
    expected[gone] = True
    np.testing.assert_array_equal(photograph.missing, expected)
    np.testing.assert_array_equal(photograph.pixels[~expected], deep[~expected])
    with pytest.raises(PhotographError, match="missing"):
        read_photograph(path, strict=True)


def test_damaged_metadata_cost_themselves():
    garbage = b"Exif\0\0no TIFF at all, not at all"
    deep = imagecodecs.png_encode(PICTURE.astype(np.uint16) * 257)
    body = b"eXIf" + garbage[6:]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    for contents in (
        encoded(exif=garbage, quality=90),
        encoded("PNG", exif=garbage[6:]),
        encoded("WEBP", exif=garbage[6:], lossless=True),
        deep[:33] + chunk + deep[33:],
    ):
        photograph = read(contents, "damaged EXIF")
        assert photograph.orientation == 1
        assert photograph.pixels.shape == PICTURE.shape


def test_an_orientation_of_another_type_is_none(tmp_path):
    entry = struct.pack("<HHI4s", 0x0112, 2, 2, b"6\0\0\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    photograph = read(encoded(exif=exif))
    assert photograph.orientation == 1
    save_photograph(tmp_path / "b.jpg", photograph.pixels, photograph)
    assert read(tmp_path / "b.jpg").orientation == 1


# TIFF


@pytest.mark.parametrize("below", [False, True])
def test_the_picture_is_read_and_not_its_thumbnail(tmp_path, below):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(PICTURE[::8, ::8], photometric="rgb", subfiletype=1, subifds=1 if below else 0, metadata=None)
        tiff.write(PICTURE, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, PICTURE)


@pytest.mark.parametrize("compression", ["webp", "jpeg2000", "jpegxl", "zstd", "lzw", "packbits", "deflate", "lzma"])
def test_every_compression_of_8_bits(tmp_path, compression):
    options = {"lossless": True} if compression in ("webp", "jpegxl") else None
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb", compression=compression, compressionargs=options)
    difference = np.abs(read(tmp_path / "a.tif").pixels.astype(int) - PICTURE)
    assert difference.mean() < 0.5


# Metadata of edits


TEXT = {"utf-8": "© Jürgen 写真", "latin-1": "© Jürgen"}


def exif_with(text, *, orientation=6, thumbnail=False):
    """EXIF with an artist's bytes, an orientation, the camera's size and a place."""

    def directory(entries, at, following=0):
        head, values = struct.pack("<H", len(entries)), b""
        free = at + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in sorted(entries):
            if len(value) > 4:
                head += struct.pack("<HHII", tag, kind, count, free + len(values))
                values += value + bytes(len(value) % 2)
            else:
                head += struct.pack("<HHI4s", tag, kind, count, value.ljust(4, b"\0"))
        return head + struct.pack("<I", following) + values

    main = [
        (0x0112, 3, 1, struct.pack("<H", orientation)),
        (0x013B, 2, len(text) + 1, text + b"\0"),
        (0x8769, 4, 1, struct.pack("<I", 300)),
        (0x8825, 4, 1, struct.pack("<I", 400)),
    ]
    body = directory(main, 8, 500 if thumbnail else 0).ljust(292, b"\0")
    camera = [
        (0xA002, 4, 1, struct.pack("<I", 9999)),
        (0x9004, 2, 4, b"abc\0"),
        (0x829A, 5, 1, struct.pack("<II", 1, 8)),
    ]
    body += directory(camera, 300).ljust(100, b"\0")
    body += directory([(1, 2, 2, b"N\0"), (2, 5, 3, struct.pack("<6I", 52, 1, 31, 1, 0, 1))], 400).ljust(100, b"\0")
    if thumbnail:
        small = b"\xff\xd8THUMBNAIL\xff\xd9"
        body += directory([(0x0201, 4, 1, struct.pack("<I", 560)), (0x0202, 4, 1, struct.pack("<I", len(small)))], 500)
        body = body.ljust(552, b"\0") + small
    return b"II*\0" + struct.pack("<I", 8) + body


@pytest.mark.parametrize("encoding", TEXT)
@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("JPEG", ".tif")])
def test_texts_places_and_sizes_of_the_exif_survive(tmp_path, encoding, kind, suffix):
    artist = TEXT[encoding].encode(encoding)
    contents = encoded(kind, exif=exif_with(artist, thumbnail=True))
    original = read(contents)
    assert original.tags.text(0x013B) == TEXT[encoding]
    assert original.pixels.shape[:2] == PICTURE.shape[1::-1]
    save_photograph(tmp_path / f"b{suffix}", original.pixels, original)
    stored = (tmp_path / f"b{suffix}").read_bytes()
    assert artist in stored
    assert b"THUMBNAIL" not in stored
    again = read(tmp_path / f"b{suffix}")
    assert again.orientation == 1
    assert again.pixels.shape == original.pixels.shape
    assert again.tags.text(0x013B) == TEXT[encoding]
    assert again.tags.number(0x829A) == pytest.approx(1 / 8)
    assert again.tags.gps[2].value == struct.pack("<6I", 52, 1, 31, 1, 0, 1)
    if suffix != ".tif":  # whose own directory says the size
        assert again.tags.number(0xA002) == original.width
    with Image.open(tmp_path / f"b{suffix}") as image:  # another reader
        assert dict(image.getexif().get_ifd(0x8825))[1].startswith("N")


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 1), (np.uint16, 257)])
def test_a_tiff_with_a_place_keeps_it(tmp_path, dtype, factor):
    first = read(encoded(exif=exif_with("© Jürgen".encode())))
    deep = first.pixels.astype(dtype) * dtype(factor)
    save_photograph(tmp_path / "a.tif", deep, first)
    original = read(tmp_path / "a.tif")
    assert original.pixels.dtype == dtype
    for name in ("b.tif", "b.png", "b.jpg"):
        save_photograph(tmp_path / name, original.pixels, original)
        again = read(tmp_path / name)
        assert again.tags.text(0x013B) == "© Jürgen"
        assert again.tags.gps[2].value == struct.pack("<6I", 52, 1, 31, 1, 0, 1)
        assert again.tags.number(0x829A) == pytest.approx(1 / 8)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'xmp:Rating="4" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_ratings_survive_and_the_orientation_is_upright(tmp_path, suffix):
    original = read(encoded(xmp=XMP))
    assert original.xmp == XMP
    save_photograph(tmp_path / f"b{suffix}", original.pixels, original)
    again = read(tmp_path / f"b{suffix}")
    assert again.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparency_survives(tmp_path, suffix, dtype):
    alpha = np.tile(np.linspace(0, np.iinfo(dtype).max, 192).astype(dtype), (128, 1))
    deep = PICTURE.astype(dtype) * dtype(1 if dtype == np.uint8 else 257)
    contents = bytes(imagecodecs.png_encode(np.dstack([deep, alpha])))
    original = read(contents)
    np.testing.assert_array_equal(original.alpha, alpha)
    save_photograph(tmp_path / f"b{suffix}", original.pixels, original)
    again = read(tmp_path / f"b{suffix}")
    full = np.iinfo(again.alpha.dtype).max
    np.testing.assert_allclose(
        again.alpha / full, alpha / np.iinfo(dtype).max, atol=1 / 255 if suffix == ".webp" else 0
    )
    if suffix != ".webp":
        np.testing.assert_array_equal(again.pixels, original.pixels)


def test_what_an_edit_cannot_keep_is_said(tmp_path):
    assert saving_note(read(encoded())) is None
    assert saving_note(read(encoded("PNG"))) is None
    assert saving_note(read(encoded("BMP"))) == "An edit of BMP is saved as PNG."
    assert saving_note(read(encoded("AVIF"))) == "An edit of AVIF is saved as JPEG."
    clear = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 100, np.uint8)])
    assert "transparency" in saving_note(read(encoded("AVIF", clear)))


# Formats


def test_jpeg_xl_in_a_container_and_without(tmp_path):
    if not imagecodecs.JPEGXL.available:
        pytest.skip("imagecodecs was built without JPEG XL here")
    for container in (False, True):
        contents = imagecodecs.jpegxl_encode(PICTURE, lossless=True, usecontainer=container)
        photograph = read(contents)
        np.testing.assert_array_equal(photograph.pixels, PICTURE)
        assert photograph.file_format == "JPEG XL"
        with pytest.raises(PhotographError, match=r"0\.01 million"):
            read_photograph(contents, max_pixels=10_000)
    deep = imagecodecs.jpegxl_encode(PICTURE.astype(np.uint16) * 257, lossless=True)
    np.testing.assert_array_equal(read(deep).pixels, PICTURE.astype(np.uint16) * 257)


def test_a_phone_s_mpo_is_its_first_picture():
    contents = encoded("MPO", save_all=True, append_images=[Image.fromarray(PICTURE[::2, ::2])], quality=90)
    assert read(contents).pixels.shape == PICTURE.shape


def test_content_decides_and_not_the_name(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(PICTURE)).save(file, exif=exif_with(b"someone", orientation=1))
    (tmp_path / "photo.jpg").write_bytes(file.getvalue())
    photograph = read(tmp_path / "photo.jpg")
    assert photograph.file_format == "HEIC"
    assert photograph.tags.text(0x013B) == "someone"


def test_one_read_gives_everything(tmp_path, monkeypatch):
    import hashlib
    from pathlib import Path

    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(exif=exif_with(b"someone"), xmp=XMP))
    opened = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda name, *rest, **more: opened.append(name) or original(name, *rest, **more))
    photograph = read_photograph(path)
    assert photograph.sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert (photograph.file_format, photograph.orientation) == ("JPEG", 6)
    assert photograph.tags.text(0x013B) == "someone"
    assert [str(name) for name in opened].count(str(path)) == 1


@pytest.mark.parametrize("white", [65535, 4095])
def test_a_ppm_of_16_bits_keeps_them(white):
    levels = np.random.default_rng(0).integers(0, white + 1, (20, 30, 3))
    contents = b"P6\n# made by a camera\n30 20 " + str(white).encode() + b"\n" + levels.astype(">u2").tobytes()
    pixels = read(contents).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_allclose(pixels / 65535, levels / white, atol=0.5 / 65535)
    grey = b"P5 30 20 " + str(white).encode() + b"\n" + levels[..., 0].astype(">u2").tobytes()
    np.testing.assert_array_equal(read(grey).pixels[..., 1], pixels[..., 0])
    with pytest.raises(PhotographError, match="cut short"):
        read_photograph(contents[:-10])
