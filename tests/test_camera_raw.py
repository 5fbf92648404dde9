"""Camera RAW, on DNG files made here: a sensor's mosaic of which the light is known."""

import json
import struct
import sys

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image
from scipy import ndimage

from defocus import PhotographError, load, read_photograph
from defocus.culling.words import focus_point
from defocus.photograph.reduced import read_metadata

pytest.importorskip("rawpy")

# A camera whose filters are the sRGB primaries: linear sRGB to XYZ (IEC 61966-2-1), inverted.
XYZ_FROM_SRGB = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
MAKE, ORIENTATION, EXIF, F_NUMBER, MAKER_NOTE = 271, 274, 0x8769, 0x829D, 0x927C


def srgb(linear):
    """IEC 61966-2-1, of values in 0..1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def rationals(values):
    return [number for value in np.ravel(values) for number in (round(value * 10000), 10000)]


def write_dng(path, linear, *, orientation=1, neutral=(1.0, 1.0, 1.0), white=65535):
    """Linear H x W x 3 light, 0..1, as a sensor with an RGGB mosaic stores it; f/2.8 and a maker's note in the EXIF."""
    response = np.rint(np.asarray(linear) * neutral * white).astype(np.uint16)
    mosaic = response[..., 1].copy()
    mosaic[::2, ::2] = response[::2, ::2, 0]
    mosaic[1::2, 1::2] = response[1::2, 1::2, 2]
    placeholder = EXIF - 1  # tifffile writes no EXIF: its tag and where it is are filled in below
    tags = [
        (ORIENTATION, "H", 1, orientation, True),
        (MAKE, "s", 0, "Maker", True),
        (272, "s", 0, "Model", True),
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),  # CFAPattern
        (placeholder, "I", 1, 0, True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),  # DNGVersion
        (50708, "s", 0, "Maker Model", True),  # UniqueCameraModel
        (50717, "I", 1, white, True),  # WhiteLevel
        (50721, "2i", 9, rationals(np.linalg.inv(XYZ_FROM_SRGB)), True),  # ColorMatrix1
        (50728, "2I", 3, rationals(neutral), True),  # AsShotNeutral
        (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    tifffile.imwrite(path, mosaic, photometric="cfa", byteorder="<", extratags=tags, metadata=None)
    data = path.read_bytes()
    start = len(data)
    directory = struct.pack("<H", 2)
    directory += struct.pack("<HHII", F_NUMBER, 5, 1, start + 30)
    directory += struct.pack("<HHII", MAKER_NOTE, 7, 8, start + 38) + struct.pack("<I", 0)
    data = data.replace(struct.pack("<HHII", placeholder, 4, 1, 0), struct.pack("<HHII", EXIF, 4, 1, start))
    path.write_bytes(data + directory + struct.pack("<II", 28, 10) + b"SECRETS!")
    return path


def picture(size=128, blur=0.0):
    """Linear light of a photograph, blurred by so many px."""
    display = skimage.data.astronaut()[20 : 20 + size, 150 : 150 + size] / 255
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    return ndimage.gaussian_filter(linear, (blur, blur, 0))


def test_the_af_point_in_the_maker_note_of_a_raw_file_is_turned_upright(tmp_path):
    path = write_dng(tmp_path / "a.dng", picture(), orientation=6)
    data = path.read_bytes()
    old = struct.pack("<HHI", MAKER_NOTE, 7, 8)
    entries = struct.pack("<HHHII", 1, 0x4D, 5, 2, len(data) + 12 + 2 + 12 + 4)  # Panasonic's place, of rationals
    note = b"Panasonic\0\0\0" + entries + bytes(4) + struct.pack("<4I", 3, 4, 1, 4)
    at = data.index(old)
    changed = data[:at] + struct.pack("<HHII", MAKER_NOTE, 7, len(note), len(data)) + data[at + 12 :] + note
    metadata = read_metadata(changed)
    x, y, why = focus_point(metadata.tags, (metadata.width, metadata.height))
    assert (x, y, why) == (pytest.approx(0.75), pytest.approx(0.75), "AF point")  # 0.75, 0.25 of the sensor


def test_a_ramp_of_grey_reads_as_srgb_says(tmp_path):
    light = np.linspace(0, 1, 96)
    ramp = np.tile(light[None, :, None], (64, 1, 3))
    photo = read_photograph(write_dng(tmp_path / "a.dng", ramp))
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.shape == ramp.shape
    row = photo.pixels[32, 4:-4].astype(int)  # demosaicing has no neighbours at the rim
    assert np.all(np.diff(row, axis=0) > 0)
    # 1e-3 of white: rounding of the colour matrix and LibRaw's table of the curve
    np.testing.assert_allclose(row / 65535, np.repeat(srgb(light)[4:-4, None], 3, axis=1), atol=1e-3)


def test_levels_are_the_sensor_s_and_white_balance_the_camera_s(tmp_path):
    """A dark grey stays dark, and grey, through filters of which red and blue let less light pass."""
    grey = np.full((64, 64, 3), 0.05)
    photo = read_photograph(write_dng(tmp_path / "a.dng", grey, neutral=(0.5, 1.0, 0.75), white=16383))
    middle = photo.pixels[24:56, 8:56].reshape(-1, 3) / 65535
    np.testing.assert_allclose(middle.mean(axis=0), srgb(np.array(0.05)), atol=3e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright_and_once(tmp_path, orientation):
    down, right = np.mgrid[0:64, 0:96]
    # Below three quarters of white, from where on LibRaw takes the brightest pixel for white.
    upright = np.repeat((0.1 + 0.005 * down + 0.003 * right)[..., None], 3, axis=2)
    stored = upright.swapaxes(0, 1) if orientation >= 5 else upright
    stored = stored[::-1] if orientation in (3, 4, 6, 7) else stored
    stored = stored[:, ::-1] if orientation in (2, 3, 7, 8) else stored
    photo = read_photograph(write_dng(tmp_path / "a.dng", stored, orientation=orientation))
    assert photo.pixels.shape == upright.shape
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(photo.pixels[inner] / 65535, srgb(upright)[inner], atol=5e-3)


def test_what_is_raw_and_what_is_not(tmp_path):
    light = picture(64)
    dng = read_photograph(write_dng(tmp_path / "a.dng", light))
    # A DNG under a TIFF's name would else read as its preview.
    np.testing.assert_array_equal(read_photograph(write_dng(tmp_path / "b.tif", light)).pixels, dng.pixels)
    eight, sixteen = (skimage.data.astronaut()[:40, :50].astype(kind) for kind in (np.uint8, np.uint16))
    for pixels, name in ((eight, "c.tif"), (sixteen, "d.tif")):
        tifffile.imwrite(tmp_path / name, pixels, photometric="rgb")
        np.testing.assert_array_equal(read_photograph(tmp_path / name).pixels, pixels)
    Image.fromarray(eight).save(tmp_path / "e.dng", format="PNG")
    np.testing.assert_array_equal(read_photograph(tmp_path / "e.dng").pixels, eight)


def test_errors_are_sentences(tmp_path, monkeypatch):
    dng = write_dng(tmp_path / "a.dng", picture(64))
    with pytest.raises(PhotographError, match="64 x 64 pixels, more than the limit"):
        read_photograph(dng, max_pixels=4000)
    cut = tmp_path / "cut.dng"
    for share in (0.02, 0.3, 0.9):
        cut.write_bytes(dng.read_bytes()[: int(share * dng.stat().st_size)])
        with pytest.raises(PhotographError, match=r"cut\.dng is damaged") as raised:
            read_photograph(cut)
        assert "b'" not in str(raised.value)
    strange = tmp_path / "strange.nef"
    for contents in (b"II*\0" + bytes(range(256)) * 9, bytes(range(256)) * 9):
        strange.write_bytes(contents)
        with pytest.raises(PhotographError, match="update rawpy, or convert it to DNG"):
            read_photograph(strange)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PhotographError, match="pip install rawpy"):
        read_photograph(dng)


def test_a_folder_of_raw_and_jpeg(run, tmp_path):
    for name, blur in (("sharp", 0.0), ("soft", 3.0)):
        write_dng(tmp_path / f"{name}.DNG", picture(blur=blur))
    Image.fromarray(skimage.data.astronaut()[20:148, 150:278]).save(tmp_path / "sharp.jpg")
    (tmp_path / "broken.dng").write_bytes((tmp_path / "soft.DNG").read_bytes()[:2000])
    code, out, err = run("estimate", tmp_path, "--json")
    assert code == 1
    assert err.splitlines()[0] == "Failed: 1; done: 3."
    assert "broken.dng: is damaged" in err
    done = {record["path"].rpartition("/")[2]: record for record in map(json.loads, out.splitlines())}
    sigma = {
        name: np.median(load(record["outputs"]["map"]).sigma) for name, record in done.items() if "outputs" in record
    }
    assert done["sharp.DNG"]["outputs"]["map"].endswith("sharp.DNG.defocus.tiff")
    assert sigma["soft.DNG"] == pytest.approx(3.0, rel=0.25)
    assert sigma["sharp.DNG"] == pytest.approx(sigma["sharp.jpg"], abs=0.4)  # demosaicing costs some sharpness


def test_an_edit_of_raw_is_a_deep_png_with_exif(run, tmp_path):
    dng = write_dng(tmp_path / "a.dng", picture(96), orientation=6)
    before = dng.read_bytes()
    code, _, err = run("magnify", dng, "--amount", "2")
    assert (code, err) == (0, f"Warning: {dng}: An edit of RAW is saved as PNG.\n")
    assert dng.read_bytes() == before
    edited = tmp_path / "a.defocus.magnified.png"
    photo = read_photograph(edited)
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.shape == read_photograph(dng).pixels.shape
    assert photo.tags.text(MAKE) == "Maker"
    assert photo.orientation == 1
    assert photo.tags.number(F_NUMBER) == pytest.approx(2.8)
    assert b"SECRETS!" in before
    assert b"SECRETS!" not in edited.read_bytes()
    assert set(photo.tags.main) <= {MAKE, 272, ORIENTATION, 305}  # nothing of how the sensor's pixels were stored
