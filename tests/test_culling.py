"""Quick readings, words, stars, and what `defocus rank` rates, moves and copies."""

import csv
import errno
import json
import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from skimage import data

import defocus
from defocus.applications.rank import Box, sharpness, subject_area
from defocus.culling.filing import FilingError, belongings, copy_photograph, move_photograph
from defocus.culling.quick import QUICK_SIDE, quick_map, quick_sharpness
from defocus.culling.sidecars import read_rating, write_rating
from defocus.culling.stars import parse_steps, stars_by_place, stars_by_share
from defocus.culling.words import focus_point, why
from defocus.errors import OutputError, ParameterError, PhotographError, PhotographWarning
from defocus.evaluation.render import gaussian_blur
from defocus.maps.contact_sheet import Tile, contact_sheet
from defocus.photograph import read_photograph
from defocus.photograph.exif import Exif, parse_exif
from defocus.photograph.reduced import read_metadata, read_reduced
from systems import needs_links
from test_motion import shaken

ASTRONAUT, COFFEE = data.astronaut(), data.coffee()


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def large(pixels, width=4200, height=2800):
    """Continued by its mirror images, which adds no edges."""
    row = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    tile = np.concatenate([row, row[::-1]], axis=0)
    return np.tile(tile, (-(-height // len(tile)), -(-width // tile.shape[1]), 1))[:height, :width]


# Reduced copies


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_copy_is_the_photograph_smaller_and_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / "a.jpg", COFFEE, quality=95, exif=exif)
    whole, small = read_photograph(path), read_reduced(path, 150)
    assert small.full_size == (whole.width, whole.height)
    assert max(small.width, small.height) == 150
    expected = np.asarray(Image.fromarray(np.asarray(whole.pixels)).resize((small.width, small.height), Image.BOX))
    assert np.abs(expected.astype(float) - small.pixels).mean() < 3
    found = read_metadata(path)
    assert (found.width, found.height) == (whole.width, whole.height)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp", "gif", "jxl", "heic", "dng", "ppm"])
def test_every_format_has_a_reduced_copy_and_metadata(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "dng":
        pytest.importorskip("rawpy")
        from test_camera_raw import picture, write_dng

        write_dng(path, picture(128))
    elif suffix == "jxl":
        imagecodecs = pytest.importorskip("imagecodecs")
        path.write_bytes(imagecodecs.jpegxl_encode(COFFEE))
    elif suffix == "heic":
        pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(COFFEE)).save(path)
    else:
        save(path, COFFEE)
    whole = read_photograph(path)
    small, found = read_reduced(path, 60), read_metadata(path)
    assert small.full_size == (found.width, found.height) == (whole.width, whole.height)
    assert max(small.width, small.height) == 60


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_preview_of_a_raw_file_is_read_where_it_is_large_enough(tmp_path, orientation):
    pytest.importorskip("rawpy")
    from test_camera_raw import XYZ_FROM_SRGB, rationals

    preview = np.array(Image.fromarray(COFFEE).resize((300, 200), Image.Resampling.BOX))
    preview[:, :40] = (255, 0, 0)  # what only the preview shows
    sensor = np.asarray(Image.fromarray(COFFEE[..., 1]).resize((600, 400))).astype(np.uint16) * 257
    path = tmp_path / "a.dng"
    main = [
        (274, "H", 1, orientation, True),
        (271, "s", 0, "Maker", True),
        (272, "s", 0, "Model", True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Maker Model", True),
        (50721, "2i", 9, rationals(np.linalg.inv(XYZ_FROM_SRGB)), True),
        (50728, "2I", 3, rationals((1.0, 1.0, 1.0)), True),
        (50778, "H", 1, 21, True),
    ]
    raw = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50717, "I", 1, 65535, True),
    ]
    with tifffile.TiffWriter(path, byteorder="<") as file:
        options = {"metadata": None, "photometric": "ycbcr", "subifds": 1, "subfiletype": 1, "rowsperstrip": 200}
        in_ycbcr = np.asarray(Image.fromarray(preview).convert("YCbCr"))  # as tifffile takes it
        file.write(in_ycbcr, compression="jpeg", extratags=main, **options)
        file.write(sensor, photometric="cfa", extratags=raw, metadata=None)
    found = read_metadata(path)
    upright = (600, 400) if orientation == 1 else (400, 600)
    assert (found.width, found.height) == upright
    small = read_reduced(path, 240)
    assert small.full_size == upright
    corner = small.pixels[:, :30] if orientation == 1 else small.pixels[:30]
    assert np.median(corner[..., 0]) > 240 and np.median(corner[..., 1]) < 20
    # Too small a preview: then the sensor is read.
    grey = read_reduced(path, 500)
    assert max(grey.width, grey.height) == 500
    assert np.ptp(grey.as_float(), axis=2).mean() < 0.05


def test_damage_is_found_in_a_reduced_copy_as_in_the_whole(tmp_path):
    path = save(tmp_path / "a.jpg", COFFEE)
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) // 2])
    with pytest.warns(PhotographWarning, match="cut short"):
        assert read_reduced(path, 150).missing.any()
    with pytest.raises(PhotographError, match="cut short"):
        read_reduced(path, 150, strict=True)
    path.write_bytes(b"no photograph")
    for read in (read_metadata, lambda file: read_reduced(file, 150)):
        with pytest.raises(PhotographError, match="not a photograph"):
            read(path)
    with pytest.raises(PhotographError, match="no file"):
        read_metadata(tmp_path / "b.jpg")
    m = defocus.estimate(COFFEE[:64, :64])
    m.save(tmp_path / "m.png")
    with pytest.raises(OutputError):
        read_reduced(tmp_path / "m.png", 60, refuse_outputs=True)


# Quick readings


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """A large photograph blurred more and more, read quickly."""
    folder = tmp_path_factory.mktemp("quick")
    found = []
    for sigma in (0.0, 3.0, 6.0, 12.0):
        path = save(folder / f"{sigma}.jpg", gaussian_blur(large(ASTRONAUT), sigma), quality=92)
        photograph = read_reduced(path, QUICK_SIDE)
        found.append((sigma, photograph, quick_map(photograph)))
    return found


def test_sigma_is_in_px_of_the_whole_photograph(readings):
    for sigma, photograph, m in readings[1:]:
        assert photograph.width == QUICK_SIDE
        sure = m.confidence > 0.5
        # What was blurred in the photograph itself adds to it.
        assert np.median(m.sigma[sure]) == pytest.approx(sigma, rel=0.2)
        assert m.sigma.shape == (-(-photograph.height // 4), -(-photograph.width // 4))


def test_quick_figures_order_what_is_more_blurred_behind(readings):
    found = [quick_sharpness(photograph, m) for _, photograph, m in readings]
    assert defocus.rank(found) == [0, 1, 2, 3]
    assert found[0].in_focus == pytest.approx(sharpness(defocus.estimate(ASTRONAUT)).in_focus, abs=0.15)
    assert found[3].in_focus < 0.05
    # In a copy of about half the size 1 px of the whole can be told.
    assert found[0].counted_at == found[0].threshold == 1
    assert "or less" in why(found[0])


def test_a_fast_ranking_tells_the_sharp_frame_of_a_burst_of_6000_px(run, tmp_path):
    whole = np.asarray(Image.fromarray(COFFEE).resize((900, 600), Image.Resampling.BICUBIC))
    for name, sigma in (("d", 0.0), ("c", 0.7), ("b", 1.2), ("a", 2.0)):
        save(tmp_path / f"{name}.jpg", large(gaussian_blur(whole, sigma), 6000, 1000), quality=92)
    code, out, err = run("rank", tmp_path, "--fast", "--json")
    assert (code, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["path"][-5:] for each in found] == ["d.jpg", "c.jpg", "b.jpg", "a.jpg"]
    # 1 px of the whole cannot be told in the copy, and that is said.
    assert {each["threshold"] for each in found} == {1}
    assert [each["counted_at"] for each in found] == pytest.approx([0.45 * 6000 / 2048] * 4, abs=1e-3)
    # What looks soft at 100 % falls behind clearly, though the copy hardly shows it.
    assert found[2]["in_focus"] < 0.7 * found[0]["in_focus"]


def test_what_is_not_reduced_is_counted_as_a_map_is(tmp_path):
    photograph = read_reduced(save(tmp_path / "a.png", ASTRONAUT), QUICK_SIDE)
    m = quick_map(photograph)
    assert quick_sharpness(photograph, m) == sharpness(m)


@pytest.mark.parametrize("length", [24, 48])
def test_a_shaken_photograph_is_found_by_the_quick_reading_and_its_length_is_right(tmp_path, length):
    path = save(tmp_path / "a.jpg", large(shaken(COFFEE, length, 0)), quality=92)
    photograph = read_reduced(path, QUICK_SIDE)
    m = quick_map(photograph)
    assert m.motion.shaken
    assert m.motion.camera.length == pytest.approx(length, rel=0.25)
    s = quick_sharpness(photograph, m)
    assert s.shaken
    assert why(s).startswith("shaken by about")
    sharp = quick_sharpness(photograph, quick_map(read_reduced(save(tmp_path / "b.jpg", COFFEE), QUICK_SIDE)))
    soft = quick_sharpness(
        photograph, quick_map(read_reduced(save(tmp_path / "c.png", gaussian_blur(COFFEE, 3)), 2048))
    )
    assert defocus.rank([s, soft, sharp]) == [2, 1, 0]


def test_a_short_shake_of_a_large_photograph_is_found_at_a_closer_look(map_of):
    from defocus.evidence.motion import motion_of
    from defocus.photograph import photograph_from_array

    moved, still = (photograph_from_array(large(each)) for each in (shaken(COFFEE, 9, 0), COFFEE))
    assert not motion_of(moved).shaken
    m = map_of(np.full((280, 420), 0.5))
    s = sharpness(m, moved)
    assert s.shaken
    assert s.shake_length == pytest.approx(9, abs=2)
    assert not sharpness(m, still).shaken
    assert not sharpness(m).shaken


def test_bars_and_hidden_pixels_are_not_read(tmp_path):
    framed = np.zeros((400, 600, 3), np.uint8)
    framed[80:320] = COFFEE[:240, :600]
    m = quick_map(read_reduced(save(tmp_path / "a.png", framed), QUICK_SIDE))
    assert m.sigma.shape == (100, 150)
    assert not m.confidence[:19].any()
    assert not m.confidence[81:].any()
    assert m.confidence[25:75].mean() > 0.2
    cut_out = np.dstack([COFFEE, np.full(COFFEE.shape[:2], 255, np.uint8)])
    cut_out[:, :300, 3] = 0
    m = quick_map(read_reduced(save(tmp_path / "b.png", cut_out), QUICK_SIDE))
    assert not m.confidence[:, :75].any()
    assert m.confidence[:, 80:].mean() > 0.2
    with pytest.warns(UserWarning, match="no edge"):
        nothing = quick_map(read_reduced(save(tmp_path / "c.png", np.full((100, 120, 3), 90, np.uint8)), QUICK_SIDE))
    assert not nothing.confidence.any()


def test_a_fast_ranking_of_different_sizes(run, tmp_path):
    save(tmp_path / "a.jpg", large(gaussian_blur(COFFEE, 4)), quality=92)
    save(tmp_path / "b.jpg", COFFEE, quality=92)
    code, out, err = run("rank", tmp_path, "--fast", "--json")
    assert (code, err) == (0, "")
    first, second = map(json.loads, out.splitlines())
    assert first["path"].endswith("b.jpg")
    assert second["width"] == 4200
    assert second["sharpest_sigma"] == pytest.approx(4, rel=0.25)
    for others in (["--at", "512"], ["--method", "dhde"]):
        code, _, err = run("rank", tmp_path, "--fast", *others)
        assert code == 2
        assert "--fast" in err


# Where to look, and why


def tags(**numbers):
    exif = Image.Exif()
    for tag, value in numbers.items():
        exif.get_ifd(0x8769)[{"area": 0x9214, "location": 0xA214}[tag]] = value
    return parse_exif(exif.tobytes())


def test_where_the_camera_says_that_it_focused_is_where_to_look(map_of):
    sigma = np.full((100, 150), 4.0, np.float32)
    sigma[:30, :40] = 0.5
    s = sharpness(map_of(sigma))
    point = focus_point(Exif(), (150, 100), s)
    assert point.why == "sharpest region"
    assert point.x < 40 / 150
    assert point.y < 0.3
    for given in (tags(area=(90, 50, 20, 10)), tags(location=(90, 50))):
        point = focus_point(given, (150, 100), s)
        assert (point.x, point.y, point.why) == (pytest.approx(0.6), pytest.approx(0.5), "AF point")
    assert focus_point(Exif(), (150, 100)) is None
    assert subject_area(tags(location=(400, 50)), (150, 100)) is None
    assert isinstance(subject_area(tags(location=(90, 50)), (150, 100)), Box)


def entry(tag, kind, values, order):
    form = {3: "H", 5: "II", 7: "B"}[kind]
    count = len(values) // (2 if kind == 5 else 1)
    return tag, kind, count, struct.pack(order + form * count, *values)


def directory(entries, at, order):
    """A TIFF directory at an address, with long values behind it."""
    head, values = struct.pack(order + "H", len(entries)), b""
    free = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        stored = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", free + len(values))
        values += value if len(value) > 4 else b""
        head += struct.pack(order + "HHI", tag, kind, count) + stored
    return head + bytes(4) + values


def canon_points(newer, up, flags):
    """Canon's AFInfo or AFInfo2 of three points, and two that are not valid: the middle, and two in the upper right."""
    picture, size = (6000, 4000, 3000, 2000), 40
    x, y = [0, 750, 700, 9, 9], [0, up * 500, up * 500, 9, 9]
    places = [number % 2**16 for number in (*x, *y)]
    if newer:
        values = [0, 2, 5, 3, *picture, *[size] * 10, *places, flags, flags, 0, 0]
        values[0] = 2 * len(values)
        return 0x26, values
    return 0x12, [5, 3, *picture, size, size, *places, flags, 0]


def nikon_points(version, way, order):
    """Nikon's AFInfo2 of an area at 75 % and 25 %."""
    at, in_focus = {b"0100": (0x10, 0x1C), b"0101": (0x46, 0x52), b"0400": (0x3E, None)}.get(version, (0x2A, None))
    points = bytearray(version + bytes([way]) + bytes(95))
    struct.pack_into(order + "6H", points, at, 6000, 4000, 4500, 1000, 300, 200)
    if in_focus is not None:
        points[in_focus] = 1
    return bytes(points)


def maker_note(kind, at, order):
    """A maker's note whose camera focused at 75 % of the width and 25 % of the height, to be put at an address."""
    if kind == "Sony":
        return b"SONY DSC \0\0\0" + directory([entry(0x2027, 3, (6000, 4000, 4500, 1000), order)], at + 12, order)
    if kind == "Panasonic":
        return b"Panasonic\0\0\0" + directory([entry(0x4D, 5, (768, 1024, 256, 1024), order)], at + 12, order)
    if kind == "Fujifilm":
        return b"FUJIFILM" + struct.pack("<I", 12) + directory([entry(0x1023, 3, (450, 100), "<")], 12, "<")
    if kind.startswith("Canon"):
        newer, up = "newer" in kind, 1 if "EOS" in kind else -1
        tag, values = canon_points(newer, up, 0b110 if "two" in kind else 0b010)
        return directory([entry(tag, 3, values, order)], at, order)
    _, version, way, inner = kind.split()
    points = nikon_points(version.encode(), int(way), inner)
    start = b"II*\0" if inner == "<" else b"MM\0*"
    inside = directory([entry(0xB7, 7, points, inner)], 8, inner)
    return b"Nikon\0\2\x10\0\0" + start + struct.pack(inner + "I", 8) + inside


MAKERS = {
    "Sony": ("SONY", "ILCE-7"),
    "Panasonic": ("Panasonic", "DC-G9"),
    "Fujifilm": ("FUJIFILM", "X-T3"),
    "Canon EOS newer": ("Canon", "Canon EOS R5"),
    "Canon EOS older": ("Canon", "Canon EOS 40D"),
    "Canon newer": ("Canon", "Canon PowerShot G7 X"),
    "Canon older": ("Canon", "Canon PowerShot A80"),
    "Nikon 0100 1 >": ("NIKON CORPORATION", "NIKON D90"),
    "Nikon 0101 1 <": ("NIKON CORPORATION", "NIKON D850"),
    "Nikon 0300 2 <": ("NIKON CORPORATION", "NIKON Z 7"),
    "Nikon 0301 1 <": ("NIKON CORPORATION", "NIKON Z fc"),
    "Nikon 0400 0 <": ("NIKON CORPORATION", "NIKON Z 9"),
}


def with_maker_note(path, kind, orientation=1):
    """Write a JPEG of 600 x 400 px, as stored, whose camera focused at 450, 100, in the way of its maker."""
    room = 300
    exif = Image.Exif()
    exif[271], exif[272] = MAKERS[kind.replace(" two", "")]
    exif[274] = orientation
    camera = exif.get_ifd(0x8769)
    camera[0xA002], camera[0xA003], camera[0x927C] = 600, 400, b"x" * room
    blob = exif.tobytes()[6:]
    at = blob.index(b"x" * room)
    order = "<" if blob.startswith(b"II") else ">"
    contents = b"Exif\0\0" + blob.replace(b"x" * room, maker_note(kind, at, order).ljust(room, b"\0"))
    Image.fromarray(COFFEE[:400, :600]).save(path, exif=contents)
    return path


@pytest.mark.parametrize("kind", MAKERS)
def test_where_cameras_focused_by_their_makers_notes(tmp_path, kind):
    path = with_maker_note(tmp_path / "a.jpg", kind)
    found = read_metadata(path)
    assert focus_point(found.tags, (600, 400))[:2] == (pytest.approx(0.75), pytest.approx(0.25))
    if shutil.which("exiftool") is not None:  # which nobody here wrote
        names = ["FocusLocation", "AFPointPosition", "FocusPixel", "AFImageWidth", "AFImageHeight", "AFAreaXPositions"]
        names += ["AFAreaYPositions", "AFPointsInFocus", "AFAreaXPosition", "AFAreaYPosition"]
        said = subprocess.run(
            ["exiftool", "-s", "-s", "-s", *(f"-{name}" for name in names), path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")[:-1]
        up = "" if "EOS" in kind else "-"
        expected = {"Sony": ["6000 4000 4500 1000"], "Panasonic": ["0.75 0.25"], "Fujifilm": ["450 100"]}
        expected["Canon"] = ["3000", "2000", "0 750 700 9 9", f"0 {up}500 {up}500 9 9", "1"]
        expected["Nikon"] = ["6000", "4000", "4500", "1000"]
        assert said == expected[kind.split()[0]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["Canon EOS newer", "Nikon 0300 2 <"])
def test_the_af_point_turns_with_the_photograph(tmp_path, kind, orientation):
    path = with_maker_note(tmp_path / "a.jpg", kind, orientation)
    marked = np.zeros((400, 600), np.uint8)
    marked[80:120, 430:470] = 255
    with Image.open(path) as stored:
        exif = stored.getexif()
        spot = Image.fromarray(marked)
        spot.getexif()[274] = exif[274]
    upright = np.asarray(ImageOps.exif_transpose(spot))
    rows, columns = np.nonzero(upright)
    height, width = upright.shape
    x, y, _ = focus_point(read_metadata(path).tags, (width, height))
    assert x == pytest.approx((columns.mean() + 0.5) / width, abs=0.002)
    assert y == pytest.approx((rows.mean() + 0.5) / height, abs=0.002)


def test_of_several_canon_points_in_focus_one_of_them_is_where_to_look(tmp_path):
    path = with_maker_note(tmp_path / "a.jpg", "Canon EOS newer two")
    x, y = read_metadata(path).tags.focus
    assert (x, y) == (pytest.approx((1500 + 700) / 3000), pytest.approx(0.25))  # the more central of two


@pytest.mark.parametrize(
    ("kind", "found", "instead"),
    [
        ("Canon EOS newer", (2, 5, 3, 6000), (0, 5, 3, 6000)),  # focused by hand
        ("Canon EOS newer", (9, 9, 0b010), (9, 9, 0)),  # nothing in focus
        ("Canon EOS older", (9, 9, 0b010), (9, 9, 0)),
        ("Canon EOS newer", (3, 6000, 4000), (3, 4000, 4000)),  # cut by a program that kept the note
        ("Nikon 0100 1 >", (300, 200, 0x0100), (300, 200, 0)),
    ],
)
def test_where_a_camera_did_not_focus_is_no_af_point(tmp_path, kind, found, instead):
    contents = with_maker_note(tmp_path / "a.jpg", kind).read_bytes()
    for order in "<>":
        was, now = (struct.pack(f"{order}{len(numbers)}H", *numbers) for numbers in (found, instead))
        contents = contents.replace(was, now)
    assert read_metadata(contents).tags.focus is None


def test_maker_notes_that_say_nothing_or_are_damaged_are_no_focus_point(tmp_path):
    contents = with_maker_note(tmp_path / "a.jpg", "Sony").read_bytes()
    middle = contents.replace(struct.pack(">HH", 4500, 1000), struct.pack(">HH", 3000, 2000))
    middle = middle.replace(struct.pack("<HH", 4500, 1000), struct.pack("<HH", 3000, 2000))
    assert middle != contents
    assert read_metadata(middle).tags.focus is None
    for kind in MAKERS:
        with Image.open(with_maker_note(tmp_path / "a.jpg", kind)) as image:
            contents = image.info["exif"]
        note = parse_exif(contents).camera[0x927C].value.rstrip(b"\0")
        at = contents.index(note)
        for place in range(at, at + len(note)):  # each byte wrong in turn
            focus = parse_exif(contents[:place] + b"\xff" + contents[place + 1 :]).focus
            assert focus is None or (0 < focus[0] < 1 and 0 < focus[1] < 1)
        for end in range(at, at + len(note)):  # cut short
            focus = parse_exif(contents[:end]).focus
            assert focus is None or (0 < focus[0] < 1 and 0 < focus[1] < 1)


def test_the_place_to_look_at_lies_in_the_sharpest_region_even_where_that_is_a_ring(map_of):
    rows, columns = np.mgrid[:120, :160]
    distance = np.hypot(rows - 60, columns - 80)
    sigma = np.where((distance > 30) & (distance < 45), 0.5, 5.0).astype(np.float32)
    x, y = sharpness(map_of(sigma)).sharpest_at
    assert sigma[int(y * 120), int(x * 160)] == 0.5


def test_what_is_said_of_a_photograph(map_of):
    sigma = np.full((100, 150), 5.0, np.float32)
    sigma[70:, 100:] = 0.4
    assert why(sharpness(map_of(sigma))) == "sharpest 0.4 px at the bottom right; 10 % in focus"
    given = sharpness(map_of(sigma), subject=(0, 0, 0.2, 0.2))
    assert why(given) == "sharpest 0.4 px at the bottom right; 10 % in focus; subject 5.0 px"
    assert why(sharpness(map_of(sigma, confidence=0.1))) == "no detail: blur can be read in 0 % of it"
    moved = sharpness(defocus.estimate(shaken(COFFEE, 20, 30)))
    assert why(moved).startswith("shaken by about")


# Stars


def test_stars(map_of):
    found = [sharpness(map_of(np.where(np.arange(100) < n, 0.3, 9.0)[None].repeat(80, 0))) for n in (95, 50, 30, 15, 2)]
    assert [stars_by_share(s) for s in found] == [5, 4, 3, 2, 1]
    assert [stars_by_share(s, (0.01, 0.02, 0.03, 0.04)) for s in found] == [5, 5, 5, 5, 2]
    unreadable = sharpness(map_of(np.full((80, 100), 1.0), confidence=0.1))
    assert stars_by_share(unreadable) is None
    assert stars_by_place([*found, *found, unreadable]) == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, None]
    moved = sharpness(defocus.estimate(shaken(COFFEE, 20, 30)))
    assert stars_by_share(moved) == 1
    for wrong in ("0.1,0.2,0.3", "0.4,0.3,0.2,0.1", "a,b,c,d", "0,0.2,0.3,0.4", "0.1,0.2,0.3,nan"):
        with pytest.raises(ParameterError, match="four shares"):
            parse_steps(wrong)


# Moving and copying


@pytest.fixture
def folder(tmp_path):
    for name in ("a.CR2", "a.CR2.xmp", "a_01.CR2.xmp", "a.xmp", "b.jpg", "b.png", "b.xmp", "b.jpg.xmp", "c.jpg"):
        (tmp_path / name).write_text(name)
    return tmp_path


def listing(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_photograph_moves_with_its_sidecars_and_back(folder):
    before = listing(folder)
    moved = move_photograph(folder / "a.CR2", folder / "out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.CR2", "a.CR2.xmp", "a.xmp", "a_01.CR2.xmp"]
    assert moved[0] == (folder / "a.CR2", folder / "out" / "a.CR2")
    for was, now in moved:
        now.rename(was)
    assert listing(folder) == before
    # b.xmp is b.png's too.
    assert [path.name for path in belongings(folder / "b.jpg", outputs=True)] == ["b.jpg", "b.jpg.xmp"]


def test_what_this_package_wrote_moves_along_but_is_not_copied(folder):
    for name in ("b.jpg.defocus.tiff", "b.defocus.png", "c.defocus.tiff", "c.defocus.strokes.json", "cc.defocus.tiff"):
        (folder / name).write_text(name)
    assert [path.name for path in belongings(folder / "b.jpg", outputs=True)[1:]] == ["b.jpg.xmp", "b.jpg.defocus.tiff"]
    copy_photograph(folder / "c.jpg", folder / "best")
    assert [path.name for path in (folder / "best").iterdir()] == ["c.jpg"]
    move_photograph(folder / "c.jpg", folder / "out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "c.defocus.strokes.json",
        "c.defocus.tiff",
        "c.jpg",
    ]


def test_nothing_is_overwritten_and_nothing_is_left_half_done(folder):
    (folder / "out").mkdir()
    (folder / "out" / "a.xmp").write_text("another")
    before = listing(folder)
    for file in (move_photograph, copy_photograph):
        with pytest.raises(FilingError, match=r"a\.xmp exists already"):
            file(folder / "a.CR2", folder / "out")
        assert listing(folder) == before
    with pytest.raises(FilingError, match="cannot be put"):
        move_photograph(folder / "c.jpg", folder / "b.jpg" / "out")
    assert listing(folder) == before


def test_moving_to_another_file_system_copies_and_then_removes(folder, monkeypatch):
    own = os.replace

    def replace(source, target):
        if not str(source).endswith(".part"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        own(source, target)

    monkeypatch.setattr(os, "replace", replace)
    before = listing(folder)
    move_photograph(folder / "c.jpg", folder / "out")
    assert listing(folder) == {("out/c.jpg" if name == "c.jpg" else name): text for name, text in before.items()}


def test_copies_are_whole_with_their_times(folder):
    os.utime(folder / "c.jpg", (1e9, 1e9))
    copy_photograph(folder / "c.jpg", folder / "best")
    assert (folder / "best" / "c.jpg").read_text() == "c.jpg"
    assert (folder / "best" / "c.jpg").stat().st_mtime == 1e9
    assert (folder / "c.jpg").exists()


# The command


@pytest.fixture
def shoot(tmp_path):
    folder = tmp_path / "shoot"
    for name, sigma in (("sharp", 0), ("soft", 0.9), ("blurred", 5)):
        save(folder / f"{name}.png", gaussian_blur(ASTRONAUT[:320, 100:420], sigma))
    save(folder / "sky.png", np.full((240, 320, 3), 200, np.uint8))
    return folder


def test_stars_go_into_sidecars_but_never_over_a_person_s(run, shoot):
    photographs = {path: path.read_bytes() for path in shoot.iterdir()}
    write_rating(shoot / "soft.png", 3)
    code, out, _ = run("rank", shoot, "--write-xmp", "--json")
    assert code == 0
    rated = {json.loads(line)["path"].rsplit("/")[-1]: json.loads(line)["rating"] for line in out.splitlines()}
    assert rated == {"sharp.png": 5, "soft.png": 3, "blurred.png": 1, "sky.png": None}
    assert [read_rating(shoot / f"{n}.png").stars for n in ("sharp", "soft", "blurred", "sky")] == [5, 3, 1, None]
    # What this command gave it may change; what a person gave only when asked.
    code, out, _ = run("rank", shoot, "--write-xmp", "--stars-by", "place")
    assert "soft.png: stays rated 3, as a person gave it" in out
    assert [read_rating(shoot / f"{n}.png").stars for n in ("sharp", "soft", "blurred")] == [5, 3, 2]
    assert run("rank", shoot, "--write-xmp", "--overwrite-ratings", "--star-steps", "0.001,0.002,0.003,1")[0] == 0
    assert read_rating(shoot / "soft.png").stars == 4
    assert {path: path.read_bytes() for path in photographs} == photographs


def test_a_dry_run_says_all_and_does_nothing(run, shoot):
    before = sorted(shoot.rglob("*"))
    code, out, _ = run("rank", shoot, "--write-xmp", "--move-below", "0.3", "--copy-best", "1", "--dry-run")
    assert code == 0
    assert sorted(shoot.rglob("*")) == before
    for words in (
        "sharp.png: would be rated 5",
        f"sharp.png: would be copied -> {shoot / 'best' / 'sharp.png'}",
        f"blurred.png: would be moved -> {shoot / 'out-of-focus' / 'blurred.png'}",
    ):
        assert words in out
    assert "sky.png: would" not in out


def test_moving_and_copying_and_doing_it_again(run, shoot, tmp_path):
    table = tmp_path / "t.csv"
    arguments = ["rank", shoot, "--write-xmp", "--move-below", "0.05", "--copy-best", "1", "--csv", table]
    assert run(*arguments)[0] == 0
    names = sorted(str(path.relative_to(shoot)) for path in shoot.rglob("*") if path.is_file())
    assert names == [
        *("best/sharp.png", "best/sharp.png.xmp", "out-of-focus/blurred.png", "out-of-focus/blurred.png.xmp"),
        *("sharp.png", "sharp.png.xmp", "sky.png", "soft.png", "soft.png.xmp"),
    ]
    with table.open(newline="") as file:
        rows = {row["path"].rsplit("/")[-1]: row for row in csv.DictReader(file)}
    assert rows["blurred.png"]["moved_to"] == str(shoot / "out-of-focus" / "blurred.png")
    assert rows["sharp.png"]["copied_to"] == str(shoot / "best" / "sharp.png")
    assert rows["soft.png"]["moved_to"] == ""
    # Copies and what was moved are not found as photographs of the shoot.
    code, out, _ = run(*arguments)
    assert code == 0
    assert "is in" in out
    assert sorted(str(path.relative_to(shoot)) for path in shoot.rglob("*") if path.is_file()) == names


def test_one_that_cannot_be_filed_costs_one_line(run, shoot):
    (shoot / "sharp.png.xmp").write_text("my notes")
    (shoot / "out-of-focus").mkdir()
    (shoot / "out-of-focus" / "blurred.png").write_text("another")
    code, out, err = run("rank", shoot, "--write-xmp", "--move-below", "0.05")
    assert code == 1
    assert "Traceback" not in err
    assert "sharp.png.xmp is not XML" in err
    assert "blurred.png exists already" in err
    assert "soft.png: rated" in out
    assert (shoot / "sharp.png.xmp").read_text() == "my notes"
    assert (shoot / "blurred.png").exists()


def test_wrong_options_come_before_the_work(run, shoot):
    for arguments, words in (
        (["--write-xmp", "--star-steps", "1,2"], "four shares"),
        (["--move-below", "0.1", "--move-to", "a/b"], "neither the name of one folder"),
        (["--copy-best", "1", "--copy-to", ".."], "neither the name of one folder"),
        (["--move-below", "7"], "less than or equal to 1"),
    ):
        code, out, err = run("rank", shoot, *arguments)
        assert (code, out) == (2, ""), arguments
        assert words in " ".join(err.replace("│", " ").split())


# The scripts in benchmarks/ that make the tables of docs/figures/rank.md


def test_the_scripts_measure_what_they_say(tmp_path, capsys, monkeypatch):
    from test_benchmark_scripts import script

    for name, pixels in (("a", ASTRONAUT), ("b", gaussian_blur(COFFEE, 3)), ("c", gaussian_blur(ASTRONAUT, 1))):
        save(tmp_path / f"{name}.jpg", pixels)
    quick = script("quick")
    monkeypatch.setattr(quick, "SIZE", (800, 600))
    monkeypatch.setattr(quick, "SHAKES", (("as they are", 0, 0.0), ("moved by 20 px", 20, 0.0)))
    monkeypatch.setattr("sys.argv", ["quick.py", "--photos", str(tmp_path), "--number", "3"])
    quick.main()
    row = next(line for line in capsys.readouterr().out.splitlines() if "counted at 1 px" in line)
    assert float(row.split("|")[2]) == 1
    monkeypatch.setattr("sys.argv", ["quick.py", "--photos", str(tmp_path), "--number", "1", "--shake"])
    quick.main()
    still, moved = capsys.readouterr().out.splitlines()[-2:]
    assert "0%" in still and "100%" in moved
    monkeypatch.setattr(quick, "SIZE", (400, 300))
    monkeypatch.setattr(quick, "FURTHER", (0.0, 2.0))
    monkeypatch.setattr("sys.argv", ["quick.py", "--photos", str(tmp_path), "--number", "1", "--bursts"])
    quick.main()
    assert "| 0 and 2 px | 1 of 1 |" in capsys.readouterr().out
    bursts = script("bursts")
    monkeypatch.setattr(bursts, "OTHERS", 5)
    monkeypatch.setattr(bursts, "MOVED", (0.1,))
    monkeypatch.setattr("sys.argv", ["bursts.py", "--photos", str(tmp_path), "--every", "1"])
    bursts.main()
    rows = capsys.readouterr().out.splitlines()
    assert "| 100.0% | 100.0% |" in next(row for row in rows if "moved by 10%, as it is" in row)


# The contact sheet


def test_names_that_differ_look_different_with_and_without_fonts(monkeypatch):
    tile = np.full((240, 320, 3), 99, np.uint8)

    def words(name):
        return contact_sheet([Tile(tile, name)])[16 + 240 :]

    import defocus.maps.lettering as module

    for fonts in (module.INSTALLED, ()):
        monkeypatch.setattr(module, "INSTALLED", fonts)
        module._font_of.cache_clear()
        names = [
            "Größe 東京.jpg",
            "Größe 京都.jpg",
            "Grosse 東京.jpg",
            "Gro\\xdfe 東京.jpg",
            "Gro?e ??.jpg",
            "Groe .jpg",
        ]
        pictures = [words(name) for name in names]
        for k, one in enumerate(pictures):
            assert one.std() > 5
            assert all(one.shape != other.shape or (one != other).any() for other in pictures[:k])
    module._font_of.cache_clear()
    long = words("東" * 300)
    assert (long[:, -16:] == long[0, 0]).all()


@needs_links
def test_of_a_photograph_and_a_link_to_it_the_photograph_is_rated(run, tmp_path):
    save(tmp_path / "same.jpg", COFFEE)
    (tmp_path / "a link.jpg").symlink_to("same.jpg")
    assert run("rank", tmp_path, "--fast", "--write-xmp")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a link.jpg", "same.jpg", "same.jpg.xmp"]


def test_a_table_stays_in_columns_whatever_the_script_of_the_names(run, tmp_path):
    save(tmp_path / "東京.png", COFFEE)
    save(tmp_path / "plain name.png", COFFEE)
    # Each of the two characters takes two columns of a terminal.
    columns = {line.index("%") + 2 * ("東京" in line) for line in run("rank", tmp_path, "--fast")[1].splitlines()[1:3]}
    assert len(columns) == 1
