"""Saved edits keep depth, profile and EXIF, stand upright, and never take the place of the original."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from skimage import data

from defocus.errors import PhotographError
from defocus.photograph import read_photograph, save_photograph, suffix_for

PIXELS = data.astronaut()[:60, :80]
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
