"""Cut-outs, layers and portraits: what other programs find in the files."""

import io
import re
import shutil
import struct
import subprocess
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

import defocus
from defocus.applications.layers import blur_mask, layered_tiff
from defocus.applications.portrait import portrait_jpeg
from defocus.applications.segment import cut_out, moved_border
from defocus.errors import ParameterError
from defocus.photograph import Photograph, photograph_from_array, read_photograph
from defocus.provenance import Provenance, has_output_name, read_provenance

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
)
NAME, EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"


@pytest.fixture
def half(map_of):
    """A photograph and a map of which the left half is out of focus."""
    sigma = np.full((120, 160), 0.5, np.float32)
    sigma[:, :80] = 4
    return photograph_from_array(data.astronaut()[:120, :160].copy()), map_of(sigma)


# ---- borders ----


def test_a_border_moves_by_as_many_px_as_was_asked():
    mask = np.zeros((60, 60), bool)
    mask[:, 30:] = True
    for px in (-7, -1, 0, 1, 4):
        moved = moved_border(mask, px, 0)
        assert set(np.unique(moved)) == {0, 1}
        assert moved[0].sum() == 30 + px
    soft = moved_border(mask, 0, 10)[0]
    assert soft[29] < 0.5 < soft[30]
    assert ((soft > 0) & (soft < 1)).sum() == 10
    assert np.allclose(soft, 1 - soft[::-1])


@given(st.floats(-20, 20), st.floats(0, 30))
def test_growing_never_takes_away(px, feather):
    mask = np.zeros((40, 40), bool)
    mask[10:25, 8:30] = True
    before, after = moved_border(mask, 0, feather), moved_border(mask, abs(px), feather)
    assert (after >= before).all()
    assert (moved_border(mask, -abs(px), feather) <= before).all()


@pytest.mark.parametrize("whole", [True, False])
def test_a_mask_without_a_border_stays(whole):
    assert (moved_border(np.full((9, 9), whole), 3, 5) == whole).all()


def test_what_is_in_focus_grows(half):
    photograph, found = half
    widths = [int((~defocus.segment(photograph, found, threshold=2, grow=px).mask)[0].sum()) for px in (-10, 0, 10)]
    assert widths == [70, 80, 90]
    with pytest.raises(ParameterError, match="feather"):
        defocus.segment(photograph, found, feather=-1)
    with pytest.raises(ParameterError, match="grow"):
        defocus.segment(photograph, found, grow=float("nan"))


# ---- cut-outs ----


def test_a_cutout_is_transparent_where_it_is_blurred(half):
    photograph, found = half
    cut = cut_out(photograph, defocus.segment(photograph, found, threshold=2, feather=0))
    assert (cut.alpha[:, :80] == 0).all()
    assert (cut.alpha[:, 80:] == 255).all()
    assert np.array_equal(cut.pixels, photograph.pixels)


def test_what_was_transparent_stays_transparent(half):
    photograph, found = half
    alpha = np.full((120, 160), 128, np.uint8)
    alpha[:, 150:] = 0
    cut = cut_out(replace(photograph, alpha=alpha), defocus.segment(photograph, found, threshold=2, feather=0))
    assert (cut.alpha[:, 150:] == 0).all()
    assert (cut.alpha[:, 80:150] == 128).all()


def test_the_command_writes_a_cutout_of_sixteen_bits_with_its_profile(tmp_path, run):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = data.astronaut()[:120, :160].astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=profile)
    code, out, _ = run("segment", tmp_path / "a.tif", "--cutout", "--grow", "3", "--feather", "4", "--threshold", "1",
                       "--method", "zhuo2011")  # fmt: skip
    assert code == 0
    contents = (tmp_path / "a.defocus.cutout.png").read_bytes()
    cut = imagecodecs.png_decode(contents)
    assert cut.dtype == np.uint16
    assert np.array_equal(cut[..., :3], pixels)
    assert len(np.unique(cut[..., 3])) > 2
    assert Image.open(io.BytesIO(contents)).info["icc_profile"] == profile
    assert read_provenance(tmp_path / "a.defocus.cutout.png").options["grow"] == 3
    assert "a.defocus.cutout.png" in out
    # Another width of the border is another cut-out.
    again = ["segment", tmp_path / "a.tif", "--cutout", "--threshold", "1", "--method", "zhuo2011", "--skip-existing"]
    assert "left as it is" in run(*again, "--grow", "3", "--feather", "4")[1]
    assert "left as it is" not in run(*again, "--grow", "2", "--feather", "4")[1]


def test_a_single_file_takes_no_cutout_or_layers(tmp_path, run):
    Image.fromarray(data.astronaut()[:60, :60]).save(tmp_path / "a.png")
    for command in (["segment", "--cutout"], ["magnify", "--layers"]):
        code, _, err = run(command[0], tmp_path / "a.png", command[1], "-o", tmp_path / "b.png")
        assert code == 2
        assert "give a folder" in " ".join(err.replace("│", " ").split())


def test_further_exports_are_known_by_their_name(tmp_path):
    for name in ("a.defocus.mask.2.png", "a.defocus.cutout.12.png", "a.defocus.layers.tif", "a.defocus.portrait.jpg"):
        assert has_output_name(tmp_path / name)
    assert not has_output_name(tmp_path / "a.2.png")


# ---- layers ----


def read_layers(path):
    """The layers as a reader of other people finds them: name and pixels with opacity."""
    import psdtags

    source = psdtags.TiffImageSourceData.fromtiff(path)
    return {layer.name: {int(channel.channelid): channel.data for channel in layer.channels} for layer in source.layers}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", [b"II", b"MM"])
def test_layers_are_the_photograph_and_its_blurred_version_with_a_mask(tmp_path, half, dtype, order):
    photograph, found = half
    pixels = np.asarray(photograph.pixels).astype(dtype) * (257 if dtype == np.uint16 else 1)
    exif = Image.Exif()
    exif.endian = "<" if order == b"II" else ">"
    exif[0x010F] = "Maker"
    photograph = replace(photograph, pixels=pixels, exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    blurred = defocus.magnify(photograph, found, amount=3)
    mask = blur_mask(photograph, found, threshold=2)
    made_from = Provenance("layers", "abc")
    (tmp_path / "a.tif").write_bytes(layered_tiff(photograph, blurred, mask, made_from=made_from))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        together = tiff.asarray()
        assert tiff.byteorder == ("<" if order == b"II" else ">")
        assert tiff.pages.first.tags["Make"].value == "Maker"
    layers = read_layers(tmp_path / "a.tif")
    assert list(layers) == ["Photograph", "Blurred"]
    for name, wanted in (("Photograph", pixels), ("Blurred", blurred)):
        assert np.array_equal(np.stack([layers[name][k] for k in range(3)], axis=2), wanted)
        assert (layers[name][-1] == np.iinfo(dtype).max).all()
    full = np.iinfo(dtype).max
    assert np.allclose(layers["Blurred"][-2] / full, mask, atol=1 / 255)
    assert np.allclose(together, pixels + mask[..., None] * (blurred.astype(float) - pixels), atol=0.51)
    assert read_provenance(tmp_path / "a.tif") == made_from


@pytest.mark.skipif(shutil.which("convert-im6") is None, reason="ImageMagick is not installed")
def test_imagemagick_reads_the_layers(tmp_path, half):
    photograph, found = half
    blurred = defocus.magnify(photograph, found, amount=3)
    mask = blur_mask(photograph, found, threshold=2)
    (tmp_path / "a.tif").write_bytes(layered_tiff(photograph, blurred, mask))
    subprocess.run(["convert-im6", "a.tif", "a-%d.png"], cwd=tmp_path, check=True, capture_output=True)
    below, above = (np.asarray(Image.open(tmp_path / f"a-{number}.png").convert("RGBA")) for number in (1, 2))
    assert np.array_equal(below[..., :3], photograph.pixels)
    shown = above[..., 3] > 0
    assert np.array_equal(above[shown][:, :3], blurred[shown])
    assert np.abs(above[..., 3] / 255 - mask).max() < 0.01


def test_layers_that_do_not_fit_together_are_refused(half):
    photograph, _ = half
    with pytest.raises(ParameterError, match="size and type"):
        layered_tiff(photograph, photograph.pixels[:-1], np.ones((120, 160), np.float32))
    with pytest.raises(ParameterError, match="size and type"):
        layered_tiff(photograph, photograph.pixels.astype(np.uint16), np.ones((120, 160), np.float32))


def test_layers_of_a_photograph_with_transparency_keep_it(tmp_path, half):
    photograph, _ = half
    alpha = np.arange(160, dtype=np.uint8)[None].repeat(120, axis=0)
    photograph = replace(photograph, alpha=alpha)
    (tmp_path / "a.tif").write_bytes(layered_tiff(photograph, photograph.pixels, np.ones((120, 160), np.float32)))
    assert np.array_equal(read_layers(tmp_path / "a.tif")["Photograph"][-1], alpha)


def test_moved_focus_shows_the_blurred_layer_everywhere(half):
    assert (blur_mask(*half, moved=True) == 1).all()
    assert not (blur_mask(*half, threshold=2) == 1).all()


def test_the_command_writes_layers(tmp_path, run):
    Image.fromarray(data.astronaut()[:120, :160]).save(tmp_path / "a.jpg", quality=95)
    assert run("magnify", tmp_path / "a.jpg", "--layers", "--method", "zhuo2011")[0] == 0
    layers = read_layers(tmp_path / "a.defocus.layers.tif")
    pixels = read_photograph(tmp_path / "a.jpg").pixels
    assert np.array_equal(np.stack([layers["Photograph"][k] for k in range(3)], axis=2), pixels)
    assert read_provenance(tmp_path / "a.defocus.layers.tif").kind == "layers"


# ---- portraits ----


def xmp_of(contents):
    """The standard XMP of a JPEG, and the extended one put together as Adobe describes it."""
    place, standard, parts = 2, b"", {}
    while contents[place] == 0xFF and contents[place + 1] != 0xDA:
        length = struct.unpack_from(">H", contents, place + 2)[0]
        body = contents[place + 4 : place + 2 + length]
        if contents[place + 1] == 0xE1 and body.startswith(NAME):
            standard = body[len(NAME) :]
        if contents[place + 1] == 0xE1 and body.startswith(EXTENSION):
            rest = body[len(EXTENSION) :]
            total, offset = struct.unpack_from(">II", rest, 32)
            parts[offset] = (rest[:32], total, rest[40:])
        place += 2 + length
    whole = b"".join(part for _, (_, _, part) in sorted(parts.items()))
    assert {(name, total) for name, total, _ in parts.values()} == {(next(iter(parts.values()))[0], len(whole))}
    return standard, whole, next(iter(parts.values()))[0]


def depth_in(contents):
    """Depth as a program reads it from a JPEG with GDepth, by the formula of its description."""
    import base64

    standard, extended, name = xmp_of(contents)
    assert f'HasExtendedXMP="{name.decode()}"'.encode() in standard
    near, far = (float(re.search(rb'GDepth:%s="([^"]*)"' % end, standard)[1]) for end in (b"Near", b"Far"))
    picture = base64.b64decode(re.search(rb'GDepth:Data="([^"]*)"', extended)[1])
    coded = np.asarray(Image.open(io.BytesIO(picture))) / 255
    return near * far / (far - coded * (far - near)), re.search(rb'GDepth:Units="([^"]*)"', standard)[1]


def test_a_portrait_holds_the_depth_in_metres(half):
    photograph, found = half
    lens = defocus.Lens(focal_length=50, f_number=2, focus_distance=2, sensor_width=36)
    told = defocus.depth(photograph, found, lens=lens, side="behind")
    z, unit = depth_in(portrait_jpeg(photograph, told))
    assert unit == b"m"
    assert np.abs(z / told.depth - 1).max() < 0.02


def test_relative_depth_does_not_claim_to_be_metres(half):
    photograph, found = half
    z, unit = depth_in(portrait_jpeg(photograph, defocus.depth(photograph, found)))
    assert unit == b"relative"
    assert 1 <= z.min() < z.max() <= 2.51


def test_a_large_depth_goes_into_several_segments_and_the_photograph_stays(half):
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    told = defocus.Depth(
        np.random.default_rng(1).random((1500, 1500), np.float32), None, None, np.ones((1500, 1500), np.float32),
        "relative", "behind", None,
    )  # fmt: skip
    contents = portrait_jpeg(photograph_from_array(pixels), told)
    assert contents.count(EXTENSION) > 5
    z, _ = depth_in(contents)
    assert z.shape == (1500, 1500)
    assert np.abs(z - (1 + 1.5 * told.depth)).max() < 0.02
    assert Image.open(io.BytesIO(contents)).size == (1500, 1500)


def test_ratings_stay_and_an_older_depth_goes(half):
    photograph, found = half
    first = read_photograph(portrait_jpeg(replace(photograph, xmp=XMP), defocus.depth(photograph, found)))
    assert b'xmp:Rating="4"' in first.xmp
    again = portrait_jpeg(first, defocus.depth(photograph, found))
    standard, _, _ = xmp_of(again)
    assert standard.count(b"GDepth:Near") == 1
    assert standard.count(b"HasExtendedXMP=") == 1
    assert b'xmp:Rating="4"' in standard


@pytest.mark.parametrize("xmp", [b"no XMP", b"\xff\xfe", XMP.replace(b"4", b"4" * 65_000)])
def test_xmp_that_cannot_be_kept_is_left_out(half, xmp):
    photograph, found = half
    standard, _, _ = xmp_of(portrait_jpeg(replace(photograph, xmp=xmp), defocus.depth(photograph, found)))
    assert b"GDepth:Near" in standard
    assert xmp[:60] not in standard or xmp.startswith(b"<x:xmpmeta")


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_the_depth(tmp_path, half):
    photograph, found = half
    told = defocus.depth(photograph, found)
    (tmp_path / "a.jpg").write_bytes(portrait_jpeg(replace(photograph, xmp=XMP), told))

    def ask(*arguments):
        return subprocess.run(["exiftool", *arguments, "a.jpg"], cwd=tmp_path, check=True, capture_output=True).stdout

    assert ask("-s3", "-XMP-GDepth:Format").strip() == b"RangeInverse"
    assert ask("-s3", "-XMP-xmp:Rating").strip() == b"4"
    assert ask("-s3", "-warning") == b""
    with Image.open(io.BytesIO(ask("-b", "-XMP-GDepth:DepthImage"))) as picture:
        assert picture.size == (160, 120)


def test_the_command_writes_a_portrait(tmp_path, run):
    Image.fromarray(data.astronaut()[:120, :160]).save(tmp_path / "a.png")
    assert run("depth", tmp_path / "a.png", "--portrait", "--no-mesh", "--method", "zhuo2011")[0] == 0
    z, unit = depth_in((tmp_path / "a.defocus.portrait.jpg").read_bytes())
    assert z.shape == (120, 160)
    assert unit == b"relative"
    assert read_provenance(tmp_path / "a.defocus.portrait.jpg").kind == "portrait"


def test_a_portrait_of_another_photograph_is_refused(half):
    photograph, found = half
    other = Photograph(np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(ParameterError, match="another photograph"):
        portrait_jpeg(other, defocus.depth(photograph, found))
