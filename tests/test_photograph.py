import io
import struct
import sys
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import skimage.data
import tifffile
from PIL import Image, ImageCms, ImageFile, ImageOps

from defocus import PhotographError
from defocus.photograph import (
    Photograph,
    PhotographWarning,
    as_photograph,
    photograph_from_array,
    read_photograph,
)

RNG = np.random.default_rng(7)
RGB8 = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
ORIENTATIONS = range(1, 9)
# Display P3 has the DCI primaries, D65 white and the sRGB curve (SMPTE EG 432-1); linear P3 to linear sRGB is
# the product of the two primaries' matrices.
P3_PRIMARIES = [0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0]
P3_TO_SRGB = np.array([[1.2249402, -0.2249402, 0.0], [-0.0420570, 1.0420570, 0.0], [-0.0196376, -0.0786361, 1.0982736]])
P3_GAMMA22 = imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.3290, 1.0], primaries=P3_PRIMARIES, gamma=2.2)


def srgb_from_p3(values):
    """Values in 0..1, gamma 2.2, Display P3 primaries -> sRGB, from the definitions."""
    linear = np.clip(values**2.2 @ P3_TO_SRGB.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def inside_srgb(shape, dtype):
    """Muted P3 colours, so that none leaves the sRGB gamut and clipping plays no part."""
    white = np.iinfo(dtype).max
    return (white * (0.35 + 0.3 * RNG.random(shape))).astype(dtype)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def stored(upright, orientation):
    """What a camera that writes `orientation` stores for an upright picture; EXIF 2.32, tag 0x0112."""
    picture = upright.swapaxes(0, 1) if orientation >= 5 else upright
    picture = picture[::-1] if orientation in (3, 4, 6, 7) else picture
    return np.ascontiguousarray(picture[:, ::-1] if orientation in (2, 3, 7, 8) else picture)


def png_with(chunks, png):
    """Insert chunks after the header of a PNG."""
    inserted = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return png[:33] + inserted + png[33:]


def icc_chunk(profile):
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


# Formats, depths, modes


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "ppm"])
def test_lossless_8_bit_formats_keep_every_pixel(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB8).save(path, **({"lossless": True} if suffix == "webp" else {}))
    photo = read_photograph(path)
    assert photo.pixels.dtype == np.uint8
    np.testing.assert_array_equal(photo.pixels, RGB8)
    assert (photo.height, photo.width, photo.path) == (5, 7, path)


def test_jpeg_and_str_path(tmp_path):
    path = tmp_path / "a.jpg"
    picture = skimage.data.astronaut()[:64, :48]
    Image.fromarray(picture).save(path, quality=95)
    photo = as_photograph(str(path))
    assert photo.pixels.shape == (64, 48, 3)
    # JPEG of quality 95 stays within a few levels in the mean.
    assert np.abs(photo.pixels.astype(int) - picture).mean() < 4


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_16_bits(tmp_path, channels):
    pixels = RNG.integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels.squeeze()))
    photo = read_photograph(path)
    assert photo.pixels.dtype == np.uint16
    colour = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    np.testing.assert_array_equal(photo.pixels, colour)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_deep_tiff_keeps_its_depth(tmp_path, planar, byteorder, dtype):
    pixels = RGB16 if dtype == np.uint16 else (RGB16 / 65535).astype(dtype)
    path = tmp_path / "a.tif"
    data = pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, byteorder=byteorder, compression="zlib")
    photo = read_photograph(path)
    assert photo.pixels.dtype == dtype
    assert photo.pixels.dtype.isnative
    np.testing.assert_array_equal(photo.pixels, pixels)


def test_grey_tiffs(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB16[..., 0], photometric="minisblack")
    np.testing.assert_array_equal(read_photograph(path).pixels[..., 2], RGB16[..., 0])
    tifffile.imwrite(path, 65535 - RGB16[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_photograph(path).pixels[..., 2], RGB16[..., 0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_8_bit_modes_show_the_colours_they_stand_for(tmp_path, mode, suffix):
    if (mode, suffix) == ("LA", "tif"):
        source = Image.fromarray(RGB8[..., 0]).convert("LA")
    elif mode == "1":
        source = Image.fromarray(RGB8[..., 0]).convert("1", dither=Image.Dither.NONE)
    else:
        source = Image.fromarray(RGB8).convert(mode)
    path = tmp_path / f"a.{suffix}"
    source.save(path)
    photo = read_photograph(path)
    assert photo.pixels.dtype == np.uint8
    np.testing.assert_array_equal(photo.pixels, np.asarray(source.convert("RGB")))


def test_alpha_is_dropped_not_composited(tmp_path):
    clear = np.dstack([RGB8, np.zeros((5, 7), np.uint8)])
    path = tmp_path / "a.png"
    Image.fromarray(clear).save(path)
    np.testing.assert_array_equal(read_photograph(path).pixels, RGB8)
    palette = Image.fromarray(RGB8).quantize(8)
    palette.save(path, transparency=0)
    np.testing.assert_array_equal(read_photograph(path).pixels, np.asarray(palette.convert("RGB")))


def test_content_counts_not_suffix(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    Image.fromarray(RGB8).save(path, format="PNG")
    np.testing.assert_array_equal(read_photograph(path).pixels, RGB8)


def test_several_pictures_first_is_read_with_a_warning(tmp_path):
    frames = [Image.fromarray(RGB8), Image.fromarray(255 - RGB8)]
    for suffix in ("tif", "webp"):
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        with pytest.warns(PhotographWarning, match="only the first"):
            np.testing.assert_array_equal(read_photograph(path).pixels, RGB8)
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.stack([RGB16, RGB16 // 2]), photometric="rgb")
    with pytest.warns(PhotographWarning, match="only the first"):
        np.testing.assert_array_equal(read_photograph(path).pixels, RGB16)


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "a.heic"
    picture = skimage.data.astronaut()[:64, :96]
    # 10 bits at the top of 16, as libheif takes them
    ten_bits = (picture.astype(np.uint16) << 2 | picture >> 6) << 6
    pillow_heif.from_bytes("RGB;16", (96, 64), ten_bits.tobytes()).save(path, quality=100)
    photo = read_photograph(path)
    assert photo.pixels.dtype == np.uint16
    # chroma is subsampled and the codec is lossy: a few of 255 levels in the mean
    assert np.abs(photo.pixels / 257.0 - picture).mean() < 4
    white = np.full((64, 64, 3), 1023 << 6, np.uint16)
    pillow_heif.from_bytes("RGB;16", (64, 64), white.tobytes()).save(path, quality=-1)
    # 10-bit white is 16-bit white up to the codec's last level of 1023
    assert read_photograph(path).pixels.min() >= 65535 * 1021 // 1023


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("depth", [8, 10])
def test_heic_comes_out_upright(tmp_path, orientation, depth):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "a.heic"
    picture = skimage.data.astronaut()[:96, :64]
    turned = stored(picture, orientation)
    if depth == 8:
        heif = pillow_heif.from_pillow(Image.fromarray(turned))
    else:
        size = (turned.shape[1], turned.shape[0])
        heif = pillow_heif.from_bytes("RGB;16", size, (turned.astype(np.uint16) << 8).tobytes())
    heif.info["exif"] = exif(orientation)
    heif.save(path, quality=100)
    photo = read_photograph(path)
    assert photo.pixels.dtype == (np.uint8 if depth == 8 else np.uint16)
    assert photo.pixels.shape == picture.shape
    # lossy, as above
    assert np.abs(photo.as_float() * 255 - picture).mean() < 4


def test_heic_without_the_plug_in_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotographError, match="pip install pillow-heif"):
        read_photograph(path)


# Orientation


def test_the_test_s_own_orientations_agree_with_pillow():
    for orientation in ORIENTATIONS:
        image = Image.fromarray(stored(RGB8, orientation))
        image.getexif()[0x0112] = orientation
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), RGB8)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_of_every_kind_of_file_comes_out_upright(tmp_path, orientation):
    turned8, turned16 = stored(RGB8, orientation), stored(RGB16, orientation)
    for suffix, options in (("png", {}), ("tif", {}), ("webp", {"lossless": True})):
        path = tmp_path / f"eight.{suffix}"
        Image.fromarray(turned8).save(path, exif=exif(orientation), **options)
        np.testing.assert_array_equal(read_photograph(path).pixels, RGB8, err_msg=suffix)
        with Image.open(path) as image:
            np.testing.assert_array_equal(as_photograph(image).pixels, RGB8, err_msg=f"{suffix}, image")

    path = tmp_path / "sixteen.png"
    body = exif(orientation).removeprefix(b"Exif\0\0")
    path.write_bytes(png_with([(b"eXIf", body)], imagecodecs.png_encode(turned16)))
    np.testing.assert_array_equal(read_photograph(path).pixels, RGB16)

    path = tmp_path / "sixteen.tif"
    tifffile.imwrite(path, turned16, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_array_equal(read_photograph(path).pixels, RGB16)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2, "4:1:1"])
def test_a_jpeg_s_pixels_are_those_of_pillow(mode, progressive, subsampling):
    picture = Image.fromarray(skimage.data.astronaut()[:123, :149]).convert(mode)
    colours = {"exif": exif(1), "subsampling": subsampling} if mode == "RGB" else {}
    file = io.BytesIO()
    picture.save(file, "JPEG", progressive=progressive, optimize=True, restart_marker_blocks=5, **colours)
    with Image.open(file) as image:
        expected = np.asarray(image.convert("RGB")) if mode != "CMYK" else None
        found = read_photograph(file.getvalue(), strict=True)
    if expected is not None:
        np.testing.assert_array_equal(found.pixels, expected)
    assert found.stored_colours == {"RGB": "rgb", "L": "gray", "CMYK": "cmyk"}[mode]
    assert found.exif == colours.get("exif")


def test_a_jpeg_that_keeps_rgb_is_read_as_rgb():
    file = io.BytesIO()
    Image.fromarray(skimage.data.astronaut()[:64, :64]).save(file, "JPEG", keep_rgb=True, quality=100, subsampling=0)
    found = read_photograph(file.getvalue(), strict=True).pixels.astype(int)
    np.testing.assert_allclose(found, skimage.data.astronaut()[:64, :64], atol=3)  # by quality 100


def test_a_sound_jpeg_is_decoded_once(monkeypatch):
    file = io.BytesIO()
    Image.fromarray(RGB8).save(file, "JPEG")
    decoded = []
    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *given, **options: decoded.append(1) or decode(*given, **options)
    )
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(1))
    read_photograph(file.getvalue())
    assert len(decoded) == 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_of_jpeg(tmp_path, orientation):
    picture = skimage.data.astronaut()[:48, :80]
    path = tmp_path / "a.jpg"
    Image.fromarray(stored(picture, orientation)).save(path, quality=98, subsampling=0, exif=exif(orientation))
    # JPEG of quality 98 is lossy by a level or two in the mean; any wrong turn is off by dozens.
    assert np.abs(read_photograph(path).pixels.astype(int) - picture).mean() < 3


# Colour


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_display_p3_becomes_srgb_at_every_depth(tmp_path, dtype):
    path = tmp_path / "a.tif"
    if dtype == np.float32:
        pixels = inside_srgb((6, 8, 3), np.uint16).astype(np.float32) / 65535
        values, white = pixels, 1
    else:
        pixels = inside_srgb((6, 8, 3), dtype)
        white = np.iinfo(dtype).max
        values = pixels / white
    tifffile.imwrite(path, pixels, photometric="rgb", iccprofile=P3_GAMMA22)
    photo = read_photograph(path)
    assert photo.pixels.dtype == dtype
    # One level of 8 bits; for deep pixels 2e-4, as ICC stores matrices with 16 bits and rounds the white point.
    tolerance = 1.0 / 255 if dtype == np.uint8 else 2e-4
    np.testing.assert_allclose(photo.pixels / white, srgb_from_p3(values), atol=tolerance)


def test_profile_in_16_bit_png_is_used(tmp_path):
    pixels = inside_srgb((6, 8, 3), np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png_with([icc_chunk(P3_GAMMA22)], imagecodecs.png_encode(pixels)))
    # as above
    np.testing.assert_allclose(read_photograph(path).pixels / 65535, srgb_from_p3(pixels / 65535), atol=2e-4)


def test_saturated_16_bit_colours_are_exact_too(tmp_path):
    pixels = RNG.integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", iccprofile=P3_GAMMA22)
    error = np.abs(read_photograph(path).pixels / 65535 - srgb_from_p3(pixels / 65535))
    # LittleCMS's table for 16 bits is off by up to 15/255 where the gamut ends; without it matrices of 16 bits
    # leave less than half a level of 8 bits, where the sRGB curve is steepest.
    assert error.max() < 0.5 / 255


def test_srgb_profile_leaves_pixels_alone(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB8).save(path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    np.testing.assert_array_equal(read_photograph(path).pixels, RGB8)


def test_grey_profile(tmp_path):
    path = tmp_path / "a.png"
    grey = RGB8[..., 0]
    Image.fromarray(grey).save(path, icc_profile=imagecodecs.cms_profile("gray", gamma=1.0))
    linear = grey / 255
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    photo = read_photograph(path)
    # one level of 8 bits, the precision of the file
    np.testing.assert_allclose(photo.pixels / 255, np.repeat(expected[..., None], 3, axis=2), atol=1.01 / 255)


def test_cmyk_without_profile(tmp_path):
    inks = np.zeros((4, 4, 4), np.uint8)
    inks[0, 0] = (255, 0, 0, 0)  # cyan
    inks[0, 1] = (0, 0, 0, 255)  # black
    inks[0, 2] = (0, 0, 0, 128)
    path = tmp_path / "a.tif"
    Image.fromarray(inks, mode="CMYK").save(path)
    photo = read_photograph(path)
    assert photo.pixels[0, 0].tolist() == [0, 255, 255]
    assert photo.pixels[0, 1].tolist() == [0, 0, 0]
    assert photo.pixels[0, 2].tolist() == [127, 127, 127]
    assert photo.pixels[3, 3].tolist() == [255, 255, 255]
    deep = tmp_path / "b.tif"
    tifffile.imwrite(deep, inks.astype(np.uint16) * 257, photometric="separated")
    np.testing.assert_array_equal(read_photograph(deep).pixels, photo.pixels.astype(np.uint16) * 257)


def test_profile_that_does_not_fit_is_ignored_with_a_warning(tmp_path):
    path = tmp_path / "a.png"
    for profile in (b"no profile at all", imagecodecs.cms_profile("gray", gamma=1.8)):
        Image.fromarray(RGB8).save(path, icc_profile=profile)
        with pytest.warns(PhotographWarning, match="profile"):
            np.testing.assert_array_equal(read_photograph(path).pixels, RGB8)


# Arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_arrays_of_every_kind(dtype, shape):
    array = (
        RNG.random(shape).astype(dtype) if np.dtype(dtype).kind == "f" else RNG.integers(0, 256, shape).astype(dtype)
    )
    before = array.copy()
    photo = photograph_from_array(array)
    assert photo.pixels.dtype == dtype
    assert photo.pixels.shape == (5, 7, 3)
    colour = array[..., :3] if array.ndim == 3 else array[..., None]
    np.testing.assert_array_equal(photo.pixels, np.broadcast_to(colour, (5, 7, 3)))
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0, 0] = 0
    np.testing.assert_array_equal(array, before)
    assert array.flags.writeable


def test_as_float_divides_as_im2double():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(photograph_from_array(levels).as_float()[..., 0], levels.astype(np.float64) / 255)
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(photograph_from_array(deep).as_float()[..., 1], deep.astype(np.float64) / 65535)
    single = photograph_from_array(levels).as_float(np.float32)
    assert single.dtype == np.float32
    assert (single.min(), single.max()) == (0, 1)
    array = RNG.random((4, 4, 3))
    floats = photograph_from_array(array).as_float()
    floats[:] = 0.5  # a copy: the photograph keeps its pixels
    assert not (array == 0.5).any()


def test_rounding_beyond_the_ends_is_clipped_in_a_copy():
    array = np.full((4, 4, 3), 1 + 1e-7)
    array[0] = -1e-9
    photo = photograph_from_array(array)
    assert (photo.pixels.min(), photo.pixels.max()) == (0, 1)
    assert (array.min(), array.max()) == (-1e-9, 1 + 1e-7)


def test_views_and_foreign_byte_order_are_taken():
    flipped = RGB8[::-1, ::2]
    np.testing.assert_array_equal(photograph_from_array(flipped).pixels, flipped)
    foreign = RGB16.astype(RGB16.dtype.newbyteorder(">"))
    photo = photograph_from_array(foreign)
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels, RGB16)


def test_photograph_passes_through():
    photo = photograph_from_array(RGB8)
    assert as_photograph(photo) is photo
    assert isinstance(as_photograph(Image.fromarray(RGB8)), Photograph)


# Bad input: one sentence, and nothing else


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 7), bool), "bool.*uint8, uint16 or float"),
        (np.zeros((5, 7), np.int32), "int32"),
        (np.zeros((5, 7), np.int64), "int64"),
        (np.zeros((5, 7), np.complex128), "complex128"),
        (np.zeros((5, 7), object), "object"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((5, 7, 2), np.uint8), "shape"),
        (np.zeros((5, 7, 5), np.uint8), "shape"),
        (np.zeros((2, 5, 7, 3), np.uint8), "shape"),
        (np.zeros((3, 50, 70), np.uint8), "transpose"),
        (np.zeros((0, 0), np.uint8), "3 x 3"),
        (np.zeros((0, 7, 3), np.float64), "3 x 3"),
        (np.zeros((1, 1, 3), np.uint8), "3 x 3"),
        (np.zeros((2, 100), np.uint8), "3 x 3"),
        (np.full((5, 7), np.nan), "NaN"),
        (np.where(np.eye(5), np.inf, 0.5), "infinite"),
        (np.where(np.eye(5), -np.inf, 0.5), "infinite"),
        (np.where(np.eye(5), np.nan, 0.5).astype(np.float32), "NaN"),
        (np.full((5, 7), 255.0), "0..1.*255"),
        (np.full((5, 7), -0.1), "0..1"),
    ],
)
def test_bad_arrays(array, words):
    before = array.copy()
    with pytest.raises(PhotographError, match=words):
        photograph_from_array(array)
    np.testing.assert_array_equal(array, before)


def test_no_photograph_at_all():
    for thing, words in (
        (None, "convert it to one"),
        (3, "convert it to one"),
        ([[1, 2], [3, 4]], "one photograph, not several"),
        (b"\xff\xd8", "damaged"),
        (b"no photograph", "not a photograph"),
        (b"", "empty"),
    ):
        with pytest.raises(PhotographError, match=words):
            as_photograph(thing)


def test_bad_paths(tmp_path):
    with pytest.raises(PhotographError, match="no file"):
        read_photograph(tmp_path / "missing.jpg")
    with pytest.raises(PhotographError, match="folder"):
        read_photograph(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(PhotographError, match="empty"):
        read_photograph(tmp_path / "empty.jpg")
    (tmp_path / "words.jpg").write_text("this is no photograph, whatever its name says")
    with pytest.raises(PhotographError, match="not a photograph"):
        read_photograph(tmp_path / "words.jpg")
    with pytest.raises(PhotographError):
        read_photograph("a\0b.jpg")


def encoded(kind):
    picture = skimage.data.astronaut()[:64, :64]
    file = io.BytesIO()
    if kind == "png16":
        return imagecodecs.png_encode(picture.astype(np.uint16) * 257)
    if kind == "tif16":
        tifffile.imwrite(file, picture.astype(np.uint16) * 257, photometric="rgb", compression="zlib")
    elif kind == "heic":
        pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(picture)).save(file)
    else:
        Image.fromarray(picture).save(file, format=kind, **({"compression": "tiff_lzw"} if kind == "tiff" else {}))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp", "png16", "tif16", "heic"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files(tmp_path, kind, share):
    whole = encoded(kind)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(whole[: max(int(len(whole) * share), 12)])
    with warnings.catch_warnings(), pytest.raises(PhotographError) as raised:
        warnings.simplefilter("ignore")  # decoders may warn before they give up
        read_photograph(path, strict=True)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_too_small_and_too_large_files(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB8[:1, :1]).save(path)
    with pytest.raises(PhotographError, match="3 x 3"):
        read_photograph(path)
    for name, write in (
        ("a.png", lambda p: Image.fromarray(RGB8).save(p)),
        ("b.png", lambda p: p.write_bytes(imagecodecs.png_encode(RGB16))),
        ("c.tif", lambda p: tifffile.imwrite(p, RGB16, photometric="rgb")),
    ):
        path = tmp_path / name
        write(path)
        read_photograph(path, max_pixels=35)
        for limit in (34, 5):  # Pillow has an error of its own beyond twice the limit
            with pytest.raises(PhotographError, match="limit"):
                read_photograph(path, max_pixels=limit)


def test_decompression_bomb_is_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    path.write_bytes(body + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + encoded("png")[33:])
    with pytest.raises(PhotographError, match="limit of 200 million"):
        read_photograph(path)


def test_pillow_s_own_limit_neither_stops_us_nor_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / "a.png"
    Image.fromarray(RGB8).save(path)
    assert read_photograph(path).width == 7
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32])
def test_tiffs_of_other_types_say_what_to_do(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((5, 7), dtype))
    with pytest.raises(PhotographError, match="8 or 16 bits"):
        read_photograph(path)


def test_float_tiffs_outside_0_to_1(tmp_path):
    path = tmp_path / "a.tif"
    for value, words in ((2.0, "0..1"), (np.nan, "NaN")):
        tifffile.imwrite(path, np.full((5, 7), value, np.float32))
        with pytest.raises(PhotographError, match=words):
            read_photograph(path)
