"""Depth from defocus: the lens equation there and back, EXIF, and surfaces that other programs open."""

import json

import numpy as np
import pytest
import tifffile
import trimesh
from PIL import Image
from skimage import data
from skimage.io import imread

import defocus
from defocus.applications.surface import glb, ply, surface, turntable
from defocus.errors import ParameterError
from defocus.evaluation import render
from defocus.optics.lens import FARTHEST, lens_from_exif
from defocus.photograph import read_photograph

PHOTO = data.astronaut()[::2, ::2]
LENS = defocus.Lens(focal_length=50, f_number=2, focus_distance=2.0, sensor_width=36)


def test_the_lens_equation_by_hand():
    # 50 mm at f/2 focused at 2 m; a point at 4 m: c = 2500 / 2 * 2000 / (4000 * 1950) = 0.3205 mm.
    sigma = LENS.sigma(np.array([4.0]), width=6000)
    # The best-fitting Gaussian has 0.27142 of the diameter.
    assert sigma[0] == pytest.approx(0.32051 * 6000 / 36 * 0.27142, rel=1e-4)
    assert LENS.depth(sigma, "behind", 6000)[0] == pytest.approx(4.0)
    assert LENS.depth(LENS.sigma(np.array([1.2]), 6000), "front", 6000)[0] == pytest.approx(1.2)
    assert LENS.depth(np.array([1e4]), "behind", 6000)[0] == FARTHEST  # more blur than infinity has
    assert LENS.depth(np.array([0.0]), "behind", 6000)[0] == pytest.approx(2.0)


@pytest.mark.parametrize(("side", "distances"), [("behind", (2.0, 6.0)), ("front", (0.8, 2.0))])
def test_the_depth_of_a_known_map_comes_back(side, distances, map_of):
    truth = np.linspace(*distances, 256)[None].repeat(256, axis=0)
    blur = LENS.sigma(truth, width=256 * 4)
    found = map_of(np.hypot(blur, 0.5))  # a method reads half a pixel in focus
    lens = defocus.Lens(50, 2, 2.0, 36 / 4)  # a quarter of the frame, so the px are those of 1024 across
    d = defocus.depth(PHOTO, found, lens=lens, side=side)
    at = blur >= 1
    assert at.mean() > 0.3
    assert np.abs(d.depth[at] / truth[at] - 1).max() < 0.05
    assert (d.nearest <= d.depth + 1e-6).all()
    assert (d.depth <= d.farthest + 1e-6).all()
    assert (d.unit, d.side) == ("m", side)


def test_rendered_defocus_is_inverted_back_to_its_depth():
    """From pixels: sharp texture, rendered by the lens, estimated, inverted."""
    random = np.random.default_rng(4)
    texture = np.kron(random.random((9, 12, 3)), np.ones((32, 32, 1)))  # edges far enough apart for the method
    sharp = np.rint(255 * (0.2 + 0.6 * texture)).astype(np.uint8)
    lens = defocus.Lens(35, 2.8, 1.0, 2.0)
    for distance in (1.08, 1.15):
        sigma = float(lens.sigma(np.array([distance]), sharp.shape[1])[0])
        assert 1 < sigma < 4
        picture = render.gaussian_blur(sharp, sigma, linear_light=False)
        found = defocus.estimate(picture, method="zhuo2011")
        # This method reads edges themselves, 0 in focus.
        d = defocus.depth(picture, found, lens=lens, side="behind", floor=0.0)
        assert np.median(d.depth) == pytest.approx(distance, rel=0.05)


def test_relative_depth_says_so(map_of):
    sigma = np.full(PHOTO.shape[:2], 0.6, np.float32)
    sigma[:, 128:] = 2.0
    d = defocus.depth(PHOTO, map_of(sigma), side="behind")
    assert (d.unit, d.nearest, d.lens) == ("relative", None, None)
    assert d.depth[:, :100].mean() < 0.2
    assert d.depth[:, 156:].mean() > 0.8
    front = defocus.depth(PHOTO, map_of(sigma), side="front")
    assert front.depth[:, :100].mean() > 0.8


def exif(**tags):
    made = Image.Exif()
    numbers = {"focal_length": 0x920A, "f_number": 0x829D, "distance": 0x9206, "equivalent": 0xA405}
    numbers |= {"resolution": 0xA20E, "unit": 0xA210}
    for name, value in tags.items():
        made.get_ifd(0x8769)[numbers[name]] = value
    return made


@pytest.mark.parametrize(
    ("tags", "width"),
    [
        ({"equivalent": 75}, 43.2666 / 1.5 * 4 / 5),  # crop 1.5, photograph of 4:3
        ({"resolution": 3200 / 22.3 * 10, "unit": 3}, 22.3),
    ],
)
def test_the_lens_is_read_from_exif(tmp_path, tags, width):
    Image.fromarray(np.zeros((2400, 3200, 3), np.uint8)).save(
        tmp_path / "a.jpg", exif=exif(focal_length=50.0, f_number=2.8, distance=1.5, **tags).tobytes()
    )
    lens = lens_from_exif(read_photograph(tmp_path / "a.jpg"))
    assert (lens.focal_length, lens.f_number, lens.focus_distance) == pytest.approx((50, 2.8, 1.5))
    assert lens.sensor_width == pytest.approx(width, rel=1e-3)
    lens = lens_from_exif(read_photograph(tmp_path / "a.jpg"), {"focus_distance": 3.0, "f_number": None})
    assert (lens.focus_distance, lens.f_number) == pytest.approx((3.0, 2.8))


def test_what_the_exif_lacks_is_named(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=exif(focal_length=50.0).tobytes())
    assert lens_from_exif(read_photograph(tmp_path / "a.jpg")) == ["f_number", "focus_distance", "sensor_width"]


def test_surfaces_are_cut_where_depth_jumps(tmp_path, map_of):
    sigma = np.full((60, 80), 0.5, np.float32)
    sigma[:, 40:] = 2.5
    d = defocus.depth(PHOTO[:60, :80], map_of(sigma), lens=defocus.Lens(50, 1.4, 1.0, 36), side="behind")
    made = surface(PHOTO[:60, :80], d)
    assert len(made.vertices) == 60 * 80
    assert len(made.faces) == 2 * 59 * (79 - 1)  # one column of faces is missing
    normals = np.cross(
        made.vertices[made.faces[:, 1]] - made.vertices[made.faces[:, 0]],
        made.vertices[made.faces[:, 2]] - made.vertices[made.faces[:, 0]],
    )
    assert (normals[:, 2] > 0).all()  # they look at the camera
    for kind, contents in (("glb", glb(made)), ("ply", ply(made))):
        (tmp_path / f"a.{kind}").write_bytes(contents)
        again = trimesh.load(tmp_path / f"a.{kind}", force="mesh", process=False)
        assert len(again.faces) == len(made.faces)
        np.testing.assert_allclose(
            np.sort(again.vertices[:, 2])[[0, -1]], np.sort(made.vertices[:, 2])[[0, -1]], rtol=1e-4
        )
    assert np.asarray(again.visual.vertex_colors)[:, :3].std() > 10  # of the PLY: sRGB bytes
    scene = json.loads(glb(made)[20:].partition(b"\0")[0].rpartition(b"}")[0] + b"}")
    primitive = scene["meshes"][0]["primitives"][0]
    colours = scene["accessors"][primitive["attributes"]["COLOR_0"]]
    assert (colours["componentType"], colours["normalized"], colours["type"]) == (5123, True, "VEC4")
    material = scene["materials"][primitive["material"]]
    assert "KHR_materials_unlit" in material["extensions"]
    assert "KHR_materials_unlit" in scene["extensionsUsed"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    frames = turntable(made)
    assert len({frame.tobytes() for frame in frames}) > 10


def test_the_command_writes_what_it_says(tmp_path, run):
    def depth_of(*arguments):
        code, out, err = run("depth", tmp_path / "a.jpg", *arguments, "--json", "-q")
        return code, json.loads(out), err

    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=exif(focal_length=50.0, f_number=2.0, equivalent=50).tobytes())
    code, record, _ = depth_of("--no-mesh")
    assert (code, record["unit"]) == (0, "relative")
    assert "before or behind" in record["note"]
    assert imread(record["outputs"]["depth"]).dtype == np.uint16
    code, record, _ = depth_of("--focus-distance", "1.5")
    assert (code, record["unit"]) == (0, "m")
    assert set(record["outputs"]) == {"depth", "depth_tiff", "glb", "ply", "turntable", "page"}
    with tifffile.TiffFile(record["outputs"]["depth_tiff"]) as tiff:
        depth, nearest, farthest = (page.asarray() for page in tiff.pages)
    assert (nearest <= depth + 1e-6).all()
    assert (depth <= farthest + 1e-6).all()
    in_mm = np.minimum(depth * 1000, 65535)
    np.testing.assert_allclose(imread(record["outputs"]["depth"]), in_mm, atol=0.51)
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg")
    code, record, err = depth_of("--focus-distance", "1.5")
    assert code == 1
    assert "--focal-length, --f-number, --sensor-width" in record["error"]
    assert "Traceback" not in err


def test_wrong_input_is_one_sentence(map_of):
    for call, words in (
        (lambda: defocus.Lens(50, 0, 2, 36), "f_number"),
        (lambda: defocus.Lens(50, 2, 0.04, 36), "focal length"),
        (lambda: defocus.depth(PHOTO, map_of(np.ones((256, 256))), side="left"), "side"),
        (lambda: defocus.depth(PHOTO, map_of(np.ones((256, 256))), floor=-1), "floor"),
        (lambda: defocus.depth(PHOTO, map_of(np.ones((256, 256)), unit="score")), "without px"),
    ):
        with pytest.raises(ParameterError, match=words):
            call()
