"""Saved edits keep depth, profile and EXIF, stand upright, and never take the place of the original."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from skimage import data

from defocus.errors import ParameterError, PhotographError, PhotographWarning
from defocus.photograph import read_photograph, save_photograph, saving_note, suffix_for
from defocus.photograph.exif import Entry, Exif, directory
from systems import needs_links

PIXELS = data.astronaut()[:60, :80]
_FILE = io.BytesIO()
Image.fromarray(PIXELS).save(_FILE, "JPEG")
PIXELS_AS_JPEG = _FILE.getvalue()
MAKE, ORIENTATION, F_NUMBER = 271, 274, 33437


def exif_of_a_turned_camera():
    exif = Image.Exif()
    exif[MAKE] = "Maker"
    exif[ORIENTATION] = 6
    exif.get_ifd(0x8769)[F_NUMBER] = 2.8
    return exif


@pytest.fixture(scope="module")
def profile():
    """sRGB's colours with other bytes: what counts is that it comes along."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_8_bit_edits_keep_exif_and_profile(tmp_path, suffix, profile):
    source = tmp_path / f"a{suffix}"
    Image.fromarray(PIXELS).save(source, exif=exif_of_a_turned_camera().tobytes(), icc_profile=profile)
    original = read_photograph(source, own_colours=True)
    assert original.pixels.shape == (80, 60, 3)  # upright
    assert original.profile == profile
    assert suffix_for(original) == suffix
    save_photograph(tmp_path / f"b{suffix}", original.pixels, original)
    again = read_photograph(tmp_path / f"b{suffix}", own_colours=True)
    assert again.pixels.shape == (80, 60, 3)
    assert again.profile == profile
    assert again.tags.text(MAKE) == "Maker"
    assert again.orientation == 1
    assert again.tags.number(F_NUMBER) == pytest.approx(2.8)
    # JPEG and WebP are lossy, at a quality where the eye sees nothing; the others are exact.
    assert np.abs(again.pixels.astype(int) - original.pixels).mean() < (1.5 if suffix in (".jpg", ".webp") else 1e-9)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_edits_stay_16_bit(tmp_path, suffix, profile):
    deep = PIXELS.astype(np.uint16) * 257 + 3
    tifffile.imwrite(
        tmp_path / "a.tif", deep, photometric="rgb", iccprofile=profile, extratags=[(MAKE, "s", 0, "Maker")]
    )
    original = read_photograph(tmp_path / "a.tif", own_colours=True)
    assert suffix_for(original) == ".tif"
    save_photograph(tmp_path / f"b{suffix}", original.pixels, original)
    again = read_photograph(tmp_path / f"b{suffix}", own_colours=True)
    np.testing.assert_array_equal(again.pixels, deep)
    assert again.profile == profile
    assert again.tags.text(MAKE) == "Maker"


def test_originals_are_never_overwritten(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    original = read_photograph(tmp_path / "a.png")
    with pytest.raises(PhotographError, match="never overwritten"):
        save_photograph(tmp_path / "x" / ".." / "a.png", original.pixels, original)
    with pytest.raises(PhotographError, match="saved as"):
        save_photograph(tmp_path / "a.gif", original.pixels, original)
    with pytest.raises(PhotographError, match="Cannot write"):
        save_photograph(tmp_path / "missing" / "b.png", original.pixels, original)
    assert (tmp_path / "a.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


AUTHOR, COPYRIGHT, WIDTH, HEIGHT = 315, 33432, 0xA002, 0xA003
PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:Rating="4" tiff:Orientation="6" tiff:ImageWidth="80" '
    b'tiff:ImageLength="60"><exif:PixelXDimension>80</exif:PixelXDimension>'
    b"<xmp:Thumbnails>old</xmp:Thumbnails></rdf:Description></x:xmpmeta>"
)


def written_exif(order, thumbnail=b"", damaged=()):
    """EXIF as cameras write it, byte by byte: Pillow would change texts that are not ASCII."""
    texts = {AUTHOR: "© Jürgen".encode() + b"\0", COPYRIGHT: "© Jürgen".encode("latin-1") + b"\0"}
    main = {tag: Entry(2, text) for tag, text in texts.items()} | {ORIENTATION: Entry(3, struct.pack(order + "H", 6))}
    camera = {
        F_NUMBER: Entry(5, struct.pack(order + "II", 28, 10)),
        WIDTH: Entry(4, struct.pack(order + "I", 80)),
        HEIGHT: Entry(4, struct.pack(order + "I", 60)),
    }
    place = {1: Entry(2, b"N\0"), 2: Entry(5, struct.pack(order + "6I", 48, 1, 8, 1, 0, 1))}
    contents = bytearray(Exif(main, camera, place, order).to_bytes())
    (count,) = struct.unpack_from(order + "H", contents, 8)
    for number in range(count):
        (tag,) = struct.unpack_from(order + "H", contents, 10 + 12 * number)
        if tag in damaged:
            struct.pack_into(order + "I", contents, 10 + 12 * number + 8, 0x7FFFFFFF)
    if thumbnail:
        struct.pack_into(order + "I", contents, 10 + 12 * count, len(contents))
        at = len(contents) + 2 + 2 * 12 + 4
        entries = {0x0201: at, 0x0202: len(thumbnail)}
        second = {tag: Entry(4, struct.pack(order + "I", value)) for tag, value in entries.items()}
        contents += directory(second, len(contents), order) + thumbnail
    return bytes(contents)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_metadata_of_edits_are_the_original_s_but_upright(tmp_path, suffix, order):
    thumbnail = b"\xff\xd8" + b"thumbnail of the old picture" * 9
    exif = b"Exif\0\0" + written_exif(order, thumbnail)
    options = {"xmp": PACKET} if suffix != ".png" else {"pnginfo": PngImagePlugin.PngInfo()}
    if suffix == ".png":
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", PACKET.decode())
    Image.fromarray(PIXELS).save(tmp_path / f"a{suffix}", exif=exif, **options)
    original = read_photograph(tmp_path / f"a{suffix}")
    assert original.orientation == 6
    assert saving_note(original) is None
    save_photograph(tmp_path / f"b{suffix}", original.pixels, original)
    again = read_photograph(tmp_path / f"b{suffix}")
    assert again.tags.text(AUTHOR) == again.tags.text(COPYRIGHT) == "© Jürgen"
    assert again.tags.camera.keys() == original.tags.camera.keys()
    assert again.tags.gps == original.tags.gps
    assert (again.orientation, again.tags.number(WIDTH), again.tags.number(HEIGHT)) == (1, 60, 80)
    for part in (b'xmp:Rating="4"', b'Orientation="1"', b'ImageWidth="60"', b'ImageLength="80"', b"Dimension>60<"):
        assert part in again.xmp
    assert b"Thumbnails" not in again.xmp
    assert b"thumbnail of the old picture" not in (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("order", "<>")
def test_tiffs_keep_texts_and_the_place(tmp_path, order):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + written_exif(order))
    original = read_photograph(tmp_path / "a.jpg")
    for pixels in (original.pixels, original.pixels.astype(np.uint16) * 257):
        save_photograph(tmp_path / "b.tif", pixels, original)
        again = read_photograph(tmp_path / "b.tif")
        assert again.pixels.dtype == pixels.dtype
        assert again.tags.text(AUTHOR) == again.tags.text(COPYRIGHT) == "© Jürgen"
        assert again.tags.gps == original.tags.gps
        assert again.tags.number(F_NUMBER) == pytest.approx(2.8)
        save_photograph(tmp_path / "c.tif", again.pixels, again)  # and from TIFF to TIFF
        assert read_photograph(tmp_path / "c.tif").tags.gps == original.tags.gps


@pytest.mark.parametrize("order", "<>")
def test_damaged_entries_are_left_out_one_by_one(tmp_path, order):
    exif = b"Exif\0\0" + written_exif(order, damaged=(AUTHOR,))
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    with pytest.warns(PhotographWarning, match="damaged EXIF") as caught:
        original = read_photograph(tmp_path / "a.jpg")
    assert len(caught) == 1
    assert original.orientation == 6
    save_photograph(tmp_path / "b.jpg", original.pixels, original)
    again = read_photograph(tmp_path / "b.jpg")  # without a warning
    assert again.tags.text(AUTHOR) is None
    assert again.tags.text(COPYRIGHT) == "© Jürgen"
    assert again.tags.gps == original.tags.gps
    with Image.open(tmp_path / "b.jpg") as image:  # another program reads it without a warning too
        assert len(image.getexif().get_ifd(0x8825)) == 2


@pytest.mark.parametrize("order", "<>")
def test_exif_cut_anywhere_ends_in_an_edit_without_a_warning(tmp_path, order):
    whole = written_exif(order, b"thumbnail")
    for length in range(0, len(whole), 7):
        Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
        original = replace(read_photograph(tmp_path / "a.jpg"), exif=whole[:length])
        save_photograph(tmp_path / "b.jpg", original.pixels, original)
        again = read_photograph(tmp_path / "b.jpg")
        assert again.orientation == 1
        with Image.open(tmp_path / "b.jpg") as image:
            dict(image.getexif())


def test_what_an_edit_cannot_keep_is_said_in_one_sentence(tmp_path):
    def note(name, image, **options):
        image.save(tmp_path / name, **options)
        return saving_note(read_photograph(tmp_path / name))

    picture = Image.fromarray(PIXELS)
    assert note("a.bmp", picture) == "An edit of BMP is saved as PNG."
    cmyk = "An edit of this JPEG is saved with RGB colours in place of CMYK."
    assert note("a.jpg", picture.convert("CMYK")) == cmyk
    transparent = Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]))
    assert note("b.png", transparent) is None
    plain = read_photograph(PIXELS_AS_JPEG)
    assert saving_note(plain) is None
    too_long = "An edit of this JPEG is saved without its XMP, which is too long for JPEG."
    assert saving_note(replace(plain, xmp=PACKET + bytes(70_000))) == too_long
    tifffile.imwrite(tmp_path / "f.tif", (PIXELS / 255).astype(np.float32), photometric="rgb")
    floating = "An edit of this TIFF is saved with 16 bits in place of floating point."
    assert saving_note(read_photograph(tmp_path / "f.tif")) == floating


def test_only_pixels_of_a_photograph_are_saved(tmp_path):
    original = read_photograph(PIXELS_AS_JPEG)
    for pixels, words in (
        (np.full((9, 9, 3), np.nan), "NaN"),
        (PIXELS.astype(np.int64), "int64"),
        (PIXELS[..., :2], "shape"),
    ):
        with pytest.raises(PhotographError, match=words):
            save_photograph(tmp_path / "b.png", pixels, original)
    for quality in (0, 101):
        with pytest.raises(ParameterError, match="1 to 100"):
            save_photograph(tmp_path / "b.jpg", PIXELS, original, quality=quality)
    assert not list(tmp_path.iterdir())
    save_photograph(tmp_path / "b.tif", PIXELS / 255 * 1.02 - 0.01, original)
    again = read_photograph(tmp_path / "b.tif").pixels
    assert again.dtype == np.uint16
    np.testing.assert_allclose(again / 65535, np.clip(PIXELS / 255 * 1.02 - 0.01, 0, 1), atol=1e-5)
    save_photograph(tmp_path / "grey.png", PIXELS[..., 0], original)
    assert read_photograph(tmp_path / "grey.png").pixels.shape == PIXELS.shape


@needs_links
def test_links_to_the_original_are_the_original(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "same.png").hardlink_to(tmp_path / "a.png")
    original = read_photograph(tmp_path / "a.png")
    for name in ("link.png", "same.png"):
        with pytest.raises(PhotographError, match="never overwritten"):
            save_photograph(tmp_path / name, PIXELS, original)
