"""A large photograph whose pixels stay in its file is the one that is read whole, part by part, in any kind of TIFF."""

import io
import pickle
import struct
import threading
import warnings
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import defocus
from defocus import PhotographError, read_photograph
from defocus.errors import PhotographWarning
from defocus.methods.pyramid.blur_reader import BlurReader
from defocus.photograph import StoredPixels, photograph_from_array, png, reduce_photograph, source, stored_pixels, tiff
from defocus.photograph.content import find_content
from defocus.photograph.stored_pixels import Pieces

RANDOM = np.random.default_rng(7)
SMOOTH = np.add.outer(np.arange(150), np.arange(203))[..., None] * np.array([1, 2, 3]) % 251
RGB8 = (SMOOTH + RANDOM.integers(0, 5, SMOOTH.shape)).astype(np.uint8)
RGB16 = RANDOM.integers(0, 65536, (150, 203, 3), np.uint16)
FLOATS = RANDOM.random((150, 203, 3), np.float32)
TILES = {"tile": (32, 48)}
STRIPS = {"rowsperstrip": 17}
P3 = imagecodecs.cms_profile(
    "rgb", whitepoint=[0.3127, 0.3290, 1.0], primaries=[0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], gamma=2.2
)


@pytest.fixture
def in_parts(monkeypatch):
    """Read small pictures as large ones are; the function reads a file whole and in parts."""

    def both(path, **options):
        whole = read_photograph(path, **options)
        assert isinstance(whole.pixels, np.ndarray)
        with monkeypatch.context() as patch:
            patch.setattr(tiff, "_IN_PARTS_FROM", 1)
            patch.setattr(tiff, "_CUT_TO_BYTES", 10_000)
            patch.setattr(png, "_IN_BANDS_FROM", 1)
            patch.setattr(png, "_BAND_BYTES", 10_000)
            patch.setattr(png, "_READ_BYTES", 500)
            return whole, read_photograph(path, **options)

    return both


def assert_same(whole, parts):
    pixels = parts.pixels
    assert isinstance(pixels, StoredPixels)
    assert (pixels.shape, pixels.dtype, pixels.size, pixels.nbytes, pixels.ndim, len(pixels)) == (
        whole.pixels.shape,
        whole.pixels.dtype,
        whole.pixels.size,
        whole.pixels.nbytes,
        3,
        whole.height,
    )
    height, width = pixels.shape[:2]
    for rows, columns in (
        (slice(0, 40), slice(0, 40)),
        (slice(31, 33), slice(47, 49)),
        (slice(height - 50, None), slice(width - 3, None)),
        (slice(20, 20), slice(0, 10)),
        (slice(5, height - 5), slice(None)),
        (slice(-10, None), slice(-20, -10)),
        (slice(10, 5), slice(0, 500)),
    ):
        part = pixels[rows, columns]
        np.testing.assert_array_equal(part, whole.pixels[rows, columns])
        assert part.dtype == whole.pixels.dtype
        assert part.flags.c_contiguous
        assert not part.flags.writeable
    for row in (0, 33, -1, np.int64(5)):
        np.testing.assert_array_equal(pixels[row], whole.pixels[row])
    np.testing.assert_array_equal(pixels[7:9], whole.pixels[7:9])
    np.testing.assert_array_equal(np.asarray(pixels), whole.pixels)
    np.testing.assert_array_equal(parts.as_float(np.float32), whole.as_float(np.float32))
    for name in ("path", "profile", "exif", "xmp", "orientation", "sha256", "file_format", "stored_colours"):
        assert getattr(parts, name) == getattr(whole, name)


@pytest.mark.parametrize("layout", [TILES, STRIPS, {}], ids=["tiles", "strips", "one strip"])
@pytest.mark.parametrize("pixels", [RGB8, RGB16, FLOATS, FLOATS.astype(np.float64), FLOATS.astype(np.float16)])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"planarconfig": "separate"}, {"bigtiff": True}])
def test_uncompressed(tmp_path, in_parts, pixels, layout, options):
    stored = np.moveaxis(pixels, 2, 0) if "planarconfig" in options else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **layout, **options)
    assert_same(*in_parts(tmp_path / "a.tif"))


@pytest.mark.parametrize("layout", [TILES, STRIPS, {}], ids=["tiles", "strips", "one strip"])
@pytest.mark.parametrize(
    "compression", ["lzw", "zlib", "zstd", "packbits", "png", "jpeg", "jpegxl", "webp", "jpeg2000"]
)
def test_compressions(tmp_path, in_parts, compression, layout):
    tifffile.imwrite(tmp_path / "a.tif", RGB8, photometric="rgb", compression=compression, **layout)
    assert_same(*in_parts(tmp_path / "a.tif"))


@pytest.mark.parametrize("pixels", [RGB8, RGB16, FLOATS])
def test_predictors_and_planes(tmp_path, in_parts, pixels):
    for stored, planes in ((pixels, "contig"), (np.moveaxis(pixels, 2, 0), "separate")):
        tifffile.imwrite(
            tmp_path / "a.tif",
            stored,
            photometric="rgb",
            planarconfig=planes,
            compression="zlib",
            predictor=True,
            **TILES,
        )
        assert_same(*in_parts(tmp_path / "a.tif"))


def test_jpeg_with_shared_tables_and_chroma_of_half_the_size(tmp_path, in_parts):
    """As libtiff writes it: the strips of a TIFF lack the tables, which stand in a tag of their own."""
    Image.fromarray(RGB8).save(tmp_path / "a.tif", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        assert 347 in opened.pages.first.tags
    assert_same(*in_parts(tmp_path / "a.tif"))
    tifffile.imwrite(tmp_path / "b.tif", RGB8, photometric="ycbcr", compression="jpeg", subsampling=(2, 2), **TILES)
    assert_same(*in_parts(tmp_path / "b.tif"))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("pixels", [RGB8[..., 0], RGB16[..., 0]])
def test_grey(tmp_path, in_parts, pixels, photometric):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, compression="zlib", **TILES)
    assert_same(*in_parts(tmp_path / "a.tif"))


@pytest.mark.parametrize("pixels", [RGB8, RGB16, RGB8[..., 0], RGB16[..., 0]])
@pytest.mark.parametrize("level", [0, 9])
def test_png(tmp_path, in_parts, pixels, level):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=level))
    assert_same(*in_parts(tmp_path / "a.png"))


def test_png_of_many_parts_with_metadata(tmp_path, in_parts):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 3
    Image.fromarray(RGB8).save(file, "PNG", exif=exif, icc_profile=P3)
    contents = file.getvalue()
    start = contents.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", contents, start)
    pixels, rest = contents[start + 8 : start + 8 + length], contents[start + 12 + length :]
    assert b"IDAT" not in rest
    parts = [pixels[:1], b"", *(pixels[at : at + 700] for at in range(1, length, 700))]
    chunks = [struct.pack(">I", len(p)) + b"IDAT" + p + struct.pack(">I", zlib.crc32(b"IDAT" + p)) for p in parts]
    (tmp_path / "a.png").write_bytes(contents[:start] + b"".join(chunks) + rest)
    whole, parts = in_parts(tmp_path / "a.png")
    assert (parts.tags.orientation, parts.orientation) == (3, 3)
    assert_same(whole, parts)


def test_png_at_random(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(RGB8))
    monkeypatch.setattr(png, "_IN_BANDS_FROM", 1)
    monkeypatch.setattr(png, "_BAND_BYTES", 10 * (1 + 3 * 203))
    monkeypatch.setattr(stored_pixels, "_KEPT_BYTES", 1)
    pixels = read_photograph(tmp_path / "a.png").pixels
    for row in (149, 0, 75, 74, 149, 3, 20):
        np.testing.assert_array_equal(pixels[row], RGB8[row])
    wrong = []

    def read(start):
        wrong.extend(r for r in range(start, 150, 4) if not np.array_equal(pixels[r], RGB8[r]))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("kind", ["alpha", "palette", "interlaced", "transparent", "quarter turn", "cut", "damaged"])
def test_other_png_are_read_whole(tmp_path, monkeypatch, kind):
    path = tmp_path / "a.png"
    picture = Image.fromarray(RGB8)
    if kind == "alpha":
        picture.putalpha(Image.fromarray(RGB8[..., 0]))
    if kind == "palette":
        picture = picture.quantize(8)
    options = {}
    if kind == "transparent":
        options["transparency"] = (1, 2, 3)
    if kind == "quarter turn":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    picture.save(path, **options)
    if kind == "interlaced":
        path.write_bytes(cv2.imencode(".png", RGB8)[1].tobytes())
        contents = bytearray(path.read_bytes())
        contents[28] = 1
        contents[29:33] = struct.pack(">I", zlib.crc32(bytes(contents[12:29])))
        path.write_bytes(contents)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-3000])
    if kind == "damaged":
        contents = bytearray(path.read_bytes())
        contents[-3000] ^= 1
        path.write_bytes(contents)
    monkeypatch.setattr(png, "_IN_BANDS_FROM", 1)
    if kind in ("interlaced", "damaged"):  # the first by its header alone, so that what it holds makes no sense
        with pytest.raises(PhotographError, match="interlaced" if kind == "interlaced" else "none of its pixels"):
            read_photograph(path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotographWarning)
        photograph = read_photograph(path)
    assert isinstance(photograph.pixels, np.ndarray)
    assert (photograph.missing is not None) == (kind == "cut")


def test_png_whose_rows_end_early_says_so_when_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 203, 150, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in RGB8[:100])
    contents = b"\x89PNG\r\n\x1a\n"
    for body in (header, b"IDAT" + zlib.compress(rows), b"IEND"):
        contents += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(contents)
    monkeypatch.setattr(png, "_IN_BANDS_FROM", 1)
    monkeypatch.setattr(png, "_BAND_BYTES", 30 * (1 + 3 * 203))
    pixels = read_photograph(path).pixels
    np.testing.assert_array_equal(pixels[:90], RGB8[:90])
    with pytest.raises(PhotographError, match="rows from 90 on"):
        pixels[140]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", [{"compression": "zlib", **TILES}, STRIPS], ids=["tiles", "strips"])
def test_upright(tmp_path, in_parts, orientation, layout):
    tifffile.imwrite(
        tmp_path / "a.tif", RGB8, photometric="rgb", extratags=[(274, "H", 1, orientation, True)], **layout
    )
    whole, parts = in_parts(tmp_path / "a.tif")
    assert whole.orientation == orientation
    assert_same(whole, parts)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colour_profiles(tmp_path, in_parts, dtype):
    pixels = {np.uint8: RGB8, np.uint16: RGB16, np.float32: FLOATS}[dtype]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=P3, **TILES)
    whole, parts = in_parts(tmp_path / "a.tif")
    assert not np.array_equal(whole.pixels, pixels)
    assert_same(whole, parts)
    whole, parts = in_parts(tmp_path / "a.tif", own_colours=True)
    np.testing.assert_array_equal(whole.pixels, pixels)
    assert_same(whole, parts)
    assert_same(whole.in_srgb(), parts.in_srgb())
    assert parts.in_srgb().profile is None


def test_a_profile_that_does_not_fit_is_named_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    tifffile.imwrite(tmp_path / "a.tif", RGB8, photometric="rgb", iccprofile=b"no profile", **TILES)
    with pytest.warns(PhotographWarning, match="profile") as caught:
        pixels = read_photograph(tmp_path / "a.tif").pixels
    assert len(caught) == 1
    np.testing.assert_array_equal(np.asarray(pixels), RGB8)


def test_overviews_and_other_pages_do_not_confuse(tmp_path, in_parts):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB8[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(RGB8, photometric="rgb", subifds=1, compression="zlib", **TILES)
        file.write(RGB8[::2, ::2], photometric="rgb", subfiletype=1, **TILES)
    whole, parts = in_parts(tmp_path / "a.tif")
    np.testing.assert_array_equal(whole.pixels, RGB8)
    assert_same(whole, parts)


@pytest.mark.parametrize("kind", ["alpha", "palette", "cmyk", "12 bits", "strip"])
def test_what_has_to_be_read_whole_is(tmp_path, monkeypatch, kind):
    path = tmp_path / "a.tif"
    if kind == "alpha":
        alpha = np.full((150, 203, 1), 90, np.uint8)
        tifffile.imwrite(path, np.concatenate([RGB8, alpha], axis=2), photometric="rgb", extrasamples=["unassalpha"])
    elif kind == "palette":
        Image.fromarray(RGB8).quantize(8).save(path)
    elif kind == "cmyk":
        Image.fromarray(RGB8).convert("CMYK").save(path)
    elif kind == "12 bits":
        tifffile.imwrite(path, RGB16 >> 4, photometric="rgb", bitspersample=12, rowsperstrip=10)
    else:
        monkeypatch.setattr(tiff, "_LARGEST_PIECE", 10_000)
        tifffile.imwrite(path, RGB8, photometric="rgb", compression="zlib", rowsperstrip=150)
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    assert isinstance(read_photograph(path).pixels, np.ndarray)


def test_a_file_cut_short_is_read_whole_and_what_is_there_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    file = io.BytesIO()
    tifffile.imwrite(file, RGB8, photometric="rgb", **STRIPS)
    with pytest.warns(PhotographWarning, match="missing"):
        photograph = read_photograph(file.getvalue()[:-20_000])
    assert isinstance(photograph.pixels, np.ndarray)
    assert photograph.missing is not None


def test_a_damaged_tile_says_where_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB8, photometric="rgb", compression="zlib", **TILES)
    with tifffile.TiffFile(path) as opened:
        start = opened.pages.first.dataoffsets[6]  # the second of the second row of tiles
    contents = bytearray(path.read_bytes())
    contents[start : start + 100] = bytes(100)
    path.write_bytes(contents)
    pixels = read_photograph(path).pixels
    np.testing.assert_array_equal(pixels[:32], RGB8[:32])
    for _ in range(2):
        with pytest.raises(PhotographError, match=r"from column 48 and row 32 on cannot be decoded"):
            pixels[30:40]
    with pytest.raises(PhotographError, match="cannot be decoded"):
        np.asarray(pixels)


def test_floats_are_checked_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    monkeypatch.setattr(tiff, "_CUT_TO_BYTES", 10_000)
    for value, words in ((2.0, "0..1"), (np.nan, "NaN")):
        wrong = FLOATS.copy()
        wrong[100, 100] = value
        tifffile.imwrite(tmp_path / "a.tif", wrong, photometric="rgb", **STRIPS)
        pixels = read_photograph(tmp_path / "a.tif").pixels
        np.testing.assert_array_equal(pixels[:50], FLOATS[:50])
        with pytest.raises(PhotographError, match=words):
            pixels[90:120]


def test_the_file_may_be_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB8, photometric="rgb", compression="zlib", **TILES)
    pixels = read_photograph(path).pixels
    other = tmp_path / "b.tif"
    other.write_bytes(b"another")
    other.replace(path)
    np.testing.assert_array_equal(np.asarray(pixels), RGB8)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_file_is_closed_with_the_last_part_of_it(tmp_path, monkeypatch):
    def is_open():
        return any(link.resolve() == path.resolve() for link in Path("/proc/self/fd").iterdir())

    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB8, photometric="rgb", compression="zlib", **TILES)
    pixels = read_photograph(path).pixels
    part = pixels.part(slice(0, 10), slice(0, 10))
    del pixels
    assert is_open()
    np.testing.assert_array_equal(part[:], RGB8[:10, :10])
    del part
    assert not is_open()


def test_bytes_are_read_in_parts_too(monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    file = io.BytesIO()
    tifffile.imwrite(file, RGB8, photometric="rgb", compression="zlib", **TILES)
    pixels = read_photograph(file.getvalue()).pixels
    assert isinstance(pixels, StoredPixels)
    np.testing.assert_array_equal(pixels[100:, 100:], RGB8[100:, 100:])


def test_parts_of_parts_turned(tmp_path, in_parts):
    tifffile.imwrite(tmp_path / "a.tif", RGB8, photometric="rgb", extratags=[(274, "H", 1, 6, True)], **TILES)
    whole, parts = in_parts(tmp_path / "a.tif")
    inner = parts.pixels.part(slice(10, 190), slice(5, 140)).part(slice(3, 100), slice(50, None))
    assert inner.shape == (97, 85, 3)
    np.testing.assert_array_equal(np.asarray(inner), whole.pixels[13:110, 55:140])
    np.testing.assert_array_equal(inner[90:200, 80:90], whole.pixels[103:110, 135:140])


def counted(array, rows):
    """Pixels that count how often each of their strips is decoded."""
    times = {}

    def decode(number):
        times[number] = times.get(number, 0) + 1
        return array[number * rows : (number + 1) * rows].copy()

    grid = Pieces(len(array), array.shape[1], 3, rows, array.shape[1], array.dtype, decode)
    return StoredPixels(grid, "counted.tif"), times


def test_strips_beside_each_other_are_decoded_once():
    pixels, times = counted(RGB8, 10)
    for left in range(0, 203, 20):
        np.testing.assert_array_equal(pixels[15:95, left : left + 30], RGB8[15:95, left : left + 30])
    assert times == dict.fromkeys(range(1, 10), 1)


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(stored_pixels, "_KEPT_BYTES", 3 * 10 * 203 * 3)
    pixels, times = counted(RGB8, 10)
    for row in range(150):
        pixels[row]
    assert set(times.values()) == {1}
    assert len(pixels._kept._decoded) == 3
    pixels[0]
    assert times[0] == 2


def test_threads_share_what_is_decoded():
    pixels, times = counted(RGB8, 10)
    wrong = []

    def read(start):
        wrong.extend(r for r in range(start, 150, 4) if not np.array_equal(pixels[r : r + 3], RGB8[r : r + 3]))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert set(times.values()) == {1}


def test_as_an_array():
    pixels, _ = counted(RGB8, 10)
    assert not np.asarray(pixels).flags.writeable
    assert np.array(pixels).flags.writeable
    np.testing.assert_array_equal(np.asarray(pixels, np.float64), RGB8)
    np.testing.assert_array_equal(pixels[::2, ::3, 0], RGB8[::2, ::3, 0])
    np.testing.assert_array_equal(np.stack(list(pixels)), RGB8)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pixels)), RGB8)
    assert repr(pixels) == "<StoredPixels 203 x 150 uint8 in counted.tif>"
    with pytest.raises(IndexError, match="150 rows"):
        pixels[150]
    with pytest.raises(ValueError, match="copy"):
        pixels.__array__(copy=False)


def test_the_whole_is_refused_where_memory_is_short(monkeypatch):
    pixels, _ = counted(RGB8, 10)
    monkeypatch.setattr(stored_pixels, "available_memory", lambda: 80_000)
    with pytest.raises(PhotographError, match="GB of memory"):
        np.asarray(pixels)
    assert pixels[:100].shape == (100, 203, 3)


def with_bars(top=0, bottom=0, left=0, right=0):
    picture = RANDOM.integers(40, 256, (400, 500, 3)).astype(np.uint8)
    noise = RANDOM.integers(0, 3, picture.shape).astype(np.uint8)
    picture[:top], picture[len(picture) - bottom :] = noise[:top], noise[len(picture) - bottom :]
    picture[:, :left], picture[:, 500 - right :] = noise[:, :left], noise[:, 500 - right :]
    return picture


@pytest.mark.parametrize(
    "bars",
    [{}, {"top": 30}, {"bottom": 1}, {"left": 150}, {"right": 3}, {"left": 90, "right": 70, "top": 66}, {"left": 480}],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_bars_are_those_of_the_photograph_read_whole(tmp_path, in_parts, bars, dtype):
    picture = with_bars(**bars)
    if dtype == np.float32:
        picture = picture.astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", **TILES)
    whole, parts = in_parts(tmp_path / "a.tif")
    content = find_content(parts)
    assert content == find_content(whole)
    cut = content.cut(parts)
    assert isinstance(cut.pixels, StoredPixels)
    np.testing.assert_array_equal(np.asarray(cut.pixels), content.cut(whole).pixels)


def test_columns_of_a_photograph_without_bars_are_hardly_read(monkeypatch):
    tall = RANDOM.integers(0, 256, (3000, 40, 3)).astype(np.uint8)
    pixels, times = counted(tall, 10)
    photograph = defocus.Photograph(pixels)
    assert find_content(photograph) == find_content(photograph_from_array(tall))
    assert len(times) < 40


def test_reduced_photographs_are_the_same(tmp_path, in_parts):
    tifffile.imwrite(tmp_path / "a.tif", RGB8, photometric="rgb", **TILES)
    whole, parts = in_parts(tmp_path / "a.tif")
    np.testing.assert_array_equal(reduce_photograph(parts, 60).pixels, reduce_photograph(whole, 60).pixels)


def test_methods_and_edits_take_them(tmp_path, in_parts):
    picture = RANDOM.integers(0, 256, (150, 203, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", **TILES)
    whole, parts = in_parts(tmp_path / "a.tif")
    expected, got = defocus.estimate(whole, method="zhuo2011"), defocus.estimate(parts, method="zhuo2011")
    np.testing.assert_array_equal(got.sigma, expected.sigma)
    assert got.metadata == expected.metadata
    for edit in (defocus.magnify, defocus.sharpen):
        np.testing.assert_array_equal(edit(parts, defocus_map=expected), edit(whole, defocus_map=expected))


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_the_map_is_the_same(tmp_path, in_parts, monkeypatch, suffix):
    """Also where a photograph is read block by block, and has bars, which are cut off first."""
    monkeypatch.setitem(BlurReader.read.__kwdefaults__, "block", 256)
    picture = np.zeros((420, 640, 3), np.uint8)
    picture[40:-40] = cv2.resize(RANDOM.integers(0, 256, (170, 320, 3), np.uint8), (640, 340))
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, picture, photometric="rgb", **TILES)
    else:
        Image.fromarray(picture).save(path)
    whole, parts = in_parts(path)
    assert isinstance(parts.pixels, StoredPixels)
    expected, got = defocus.estimate(whole), defocus.estimate(parts)
    np.testing.assert_array_equal(got.sigma, expected.sigma)
    np.testing.assert_array_equal(got.confidence, expected.confidence)
    np.testing.assert_array_equal(got.seeds.sigma, expected.seeds.sigma)
    assert got.confidence[:30].max() == 0 < got.confidence[100:300].mean()


def test_the_limit_is_for_what_is_read_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB8, photometric="rgb", **TILES)
    monkeypatch.setattr(source, "MAX_PIXELS", 30_000)
    with pytest.raises(PhotographError, match=r"limit of 0.03 million, and needs about .* GB .* tiled TIFF"):
        read_photograph(path)
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    assert read_photograph(path).height == 150
    with pytest.raises(PhotographError, match=r"limit of 0\.03 million"):  # one that was asked for holds for all
        read_photograph(path, max_pixels=30_000)
    monkeypatch.setattr(source, "available_memory", lambda: 1e4)
    with pytest.raises(PhotographError, match="are free"):
        read_photograph(path)


def test_the_largest_file_is_for_what_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("defocus.photograph.read.LARGEST_FILE", 10_000)
    Image.fromarray(RGB8).save(tmp_path / "a.bmp")
    with pytest.raises(PhotographError, match="BMP has to be read whole"):
        read_photograph(tmp_path / "a.bmp")
    tifffile.imwrite(tmp_path / "a.tif", RGB8, photometric="rgb", **TILES)
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.tif").pixels, RGB8)
    Image.fromarray(RGB8).save(tmp_path / "a.png")
    monkeypatch.setattr(source, "available_memory", lambda: 10_000)
    with pytest.raises(PhotographError, match="GB of memory"):
        read_photograph(tmp_path / "a.png")


def test_tiles_larger_than_they_should_be_are_refused_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_IN_PARTS_FROM", 1)
    large, path = tmp_path / "large.tif", tmp_path / "a.tif"
    tifffile.imwrite(large, RGB8, photometric="rgb", compression="jpeg", tile=(160, 208))
    with tifffile.TiffFile(large) as opened:
        start, count = opened.pages.first.dataoffsets[0], opened.pages.first.databytecounts[0]
    bomb = large.read_bytes()[start : start + count]
    tifffile.imwrite(
        path, iter([bomb] * 4), shape=(32, 32, 3), dtype=np.uint8, photometric="rgb", compression="jpeg", tile=(16, 16)
    )
    pixels = read_photograph(path).pixels
    assert isinstance(pixels, StoredPixels)
    with pytest.raises(PhotographError, match="stored as one of"):
        np.asarray(pixels)
