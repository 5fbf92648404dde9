from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defocus.errors import DefocusError
from defocus.evaluation import datasets
from defocus.evaluation.layouts import open_data
from systems import needs_links

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "dev"


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    image = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    truth = np.zeros((4, 6))
    truth[:, 3:] = 255
    write(tmp_path / "masks/image/b.png", image)
    write(tmp_path / "masks/truth/b.png", truth)
    write(tmp_path / "masks/image/a.png", image)
    write(tmp_path / "masks/truth/a.png", 255 - truth)
    truth[0] = 128
    write(tmp_path / "multifocus/image/m.png", image)
    write(tmp_path / "multifocus/truth/m.png", truth)
    write(tmp_path / "pixel4/image/p.png", image[..., 0])
    write(tmp_path / "pixel4/truth/p.png", np.arange(24).reshape(4, 6))
    for number in range(9):
        write(tmp_path / f"camera/image/{number}.png", image + number)
        sigma = np.full((4, 6), 1 + 1500 + number, np.uint16)
        sigma[0] = 0
        (tmp_path / "camera/truth").mkdir(exist_ok=True)
        Image.fromarray(sigma).save(tmp_path / f"camera/truth/{number}.png")
    write(tmp_path / "depth/s.png", image)
    write(tmp_path / "depth/s_disparity.png", 3 * np.arange(24).reshape(4, 6))
    return tmp_path


def test_masks(root):
    first, second = datasets.read_masks(root)
    assert (first.name, second.name) == ("a", "b")
    assert second.truth.dtype == bool
    assert second.truth[:, 3:].all() and not second.truth[:, :3].any()
    assert (second.image == np.arange(72).reshape(4, 6, 3)).all()


def test_multifocus_ignores_the_undecided(root):
    (example,) = datasets.read_multifocus(root)
    assert not example.valid[0].any() and example.valid[1:].all()
    assert example.truth[1].tolist() == [False] * 3 + [True] * 3


def test_pixel4_is_grey_with_gaps(root):
    (example,) = datasets.read_pixel4(root)
    assert example.image.shape == (4, 6, 3)
    assert example.valid.sum() == 23
    assert example.truth[0, 5] == 5


def test_camera_is_in_px_and_its_parts_share_no_photograph(root):
    parts = {part: list(datasets.read_camera(root, part)) for part in ("reported", "choosing", "training")}
    assert [e.name for e in parts["reported"]] == ["0", "4", "8"]
    assert [e.name for e in parts["choosing"]] == ["1", "5"]
    assert [e.name for e in parts["training"]] == ["2", "3", "6", "7"]
    example = parts["choosing"][1]
    assert example.truth[1, 0] == np.float32(1.505) and example.truth.dtype == np.float32
    assert not example.valid[0].any() and example.valid[1:].all()
    assert {d.name for d in open_data(root)} >= {"camera", "camera-choosing"}
    (root / "camera/truth/4.png").unlink()
    with pytest.raises(DefocusError, match=r"4\.png is missing"):
        list(datasets.read_camera(root))


def test_depth_is_in_px(root):
    (example,) = datasets.read_depth(root)
    assert example.name == "s"
    assert example.truth[1, 0] == 6
    assert not example.valid[0, 0] and example.valid.sum() == 23


def test_sharp_folder(root):
    (example,) = datasets.read_sharp(root / "masks" / "truth" / ".." / ".." / "multifocus" / "image")
    assert example.name == "m" and not example.truth.any()


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(DefocusError, match="no folder"):
        list(datasets.read_masks(tmp_path / "elsewhere"))
    (root / "masks/truth/b.png").unlink()
    with pytest.raises(DefocusError, match=r"b\.png is missing"):
        list(datasets.read_masks(root))
    write(root / "masks/truth/b.png", np.full((4, 6), 77))
    with pytest.raises(DefocusError, match="values other than"):
        list(datasets.read_masks(root))
    write(root / "masks/truth/b.png", np.zeros((4, 5)))
    with pytest.raises(DefocusError, match="must agree"):
        list(datasets.read_masks(root))
    (root / "masks/truth/b.png").write_bytes(b"no image")
    with pytest.raises(DefocusError, match="cannot be read"):
        list(datasets.read_masks(root))
    (root / "empty").mkdir()
    with pytest.raises(DefocusError, match="no photograph"):
        list(datasets.read_sharp(root / "empty"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="development sets (../shared/data/dev) are not here")
def test_development_sets_are_complete():
    masks = list(datasets.read_masks(SHARED))
    assert len(masks) == 12
    # Every mask shows both classes, or ranking metrics would be undefined.
    assert all(0 < e.truth.mean() < 1 for e in masks)
    multifocus = list(datasets.read_multifocus(SHARED))
    assert len(multifocus) == 32
    # The two photographs of a pair are sharp in turn.
    a, b = multifocus[0], multifocus[1]
    both = a.valid & b.valid
    assert (a.truth[both] != b.truth[both]).mean() > 0.95
    camera = list(datasets.read_camera(SHARED))
    assert len(camera) == 21
    # A lens of 35 mm at f/2.8 indoors: between its sharpest, 0.37 px, and the nearest things in a room.
    assert all(e.truth[e.valid].min() > 0.36 and e.truth[e.valid].max() < 8 for e in camera)
    depth = list(datasets.read_depth(SHARED))
    assert len(depth) == 11
    # Middlebury 2006 at a third of full size: disparities of about 10 to 80 px.
    assert all(5 < e.truth[e.valid].mean() < 80 for e in depth)


@needs_links
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('images = "../elsewhere"', "leads out of the folder"),
        ('truths = "/etc"', "leads out of the folder"),
        ('images = "link"', "leads out of the folder"),
        ('pattern = "../*"', "without folders"),
        ('truth_suffix = "/../../x"', "without folders"),
    ],
)
def test_a_declaration_never_leads_out_of_its_folder(tmp_path, line, words):
    from defocus.evaluation.layouts import read_declaration

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "dataset.toml").write_text(line)
    with pytest.raises(DefocusError, match=words):
        read_declaration(tmp_path / "set" / "dataset.toml")
