"""What a file was made from is kept inside it, and does not change what other programs read."""

import io
import os
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defocus.provenance import TIFF_TAG, Provenance, read_provenance, stamp

MADE = Provenance("mask", "ab" * 32, {"method": "pyramid", "parameters": {"a": 1.5}}, {"name": "Größe", "size": [3, 4]})


def encoded(kind, **options):
    rng = np.random.default_rng(3)
    picture = Image.fromarray(rng.integers(0, 256, (24, 31, 3), np.uint8))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[271] = "maker"
PICTURES = {
    "png": encoded("PNG"),
    "jpeg": encoded("JPEG", exif=EXIF.tobytes(), quality=90),
    "jfif": encoded("JPEG"),
    "webp": encoded("WEBP"),
    "webp_lossless": encoded("WEBP", lossless=True),
    "webp_exif": encoded("WEBP", exif=EXIF.tobytes()),
    "gif": encoded("GIF", comment=b"something else"),
    "gif_animated": encoded("GIF", save_all=True, append_images=[Image.new("RGB", (31, 24))], loop=0),
    "avif": encoded("AVIF"),
    "jp2": encoded("JPEG2000"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_keep_their_pixels_and_carry_what_they_were_made_from(name, tmp_path):
    stamped = stamp(PICTURES[name], MADE)
    path = tmp_path / "picture"
    path.write_bytes(stamped)
    assert read_provenance(path) == MADE.as_stored()
    with Image.open(io.BytesIO(PICTURES[name])) as before, Image.open(path) as after:
        assert after.format == before.format
        assert dict(after.getexif()) == dict(before.getexif())
        assert np.array_equal(np.asarray(before.convert("RGB")), np.asarray(after.convert("RGB")))
    path.write_bytes(PICTURES[name])
    assert read_provenance(path) is None


def test_a_second_decoder_reads_stamped_pictures_too(tmp_path):
    # Pillow passes over what libraries of their own might stumble on.
    for name, decode in (
        ("png", imagecodecs.png_decode),
        ("jpeg", imagecodecs.jpeg8_decode),
        ("webp", imagecodecs.webp_decode),
        ("webp_exif", imagecodecs.webp_decode),
        ("avif", imagecodecs.avif_decode),
        ("jp2", imagecodecs.jpeg2k_decode),
    ):
        assert np.array_equal(decode(PICTURES[name]), decode(stamp(PICTURES[name], MADE))), name


def test_a_tiff_carries_it_in_a_private_tag(tmp_path):
    for big in (False, True):
        for order in "<>":
            path = tmp_path / f"{big}{ord(order)}.tif"
            tag = [(TIFF_TAG, "s", 0, MADE.to_json(), True)]
            with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as tiff:
                tiff.write(np.zeros((5, 6), np.uint16), extratags=tag)
            assert read_provenance(path) == MADE.as_stored()
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((5, 6), np.uint8))
    assert read_provenance(tmp_path / "plain.tif") is None


def test_pages_and_surfaces(tmp_path):
    scene = b'{"asset":{"version":"2.0"}}' + b" "
    glb = b"glTF" + struct.pack("<II", 2, 12 + 8 + len(scene)) + struct.pack("<I", len(scene)) + b"JSON" + scene
    ply = b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n"
    page = b'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"></head></html>'
    for name, contents in {"a.glb": glb, "a.ply": ply, "a.html": page}.items():
        (tmp_path / name).write_bytes(stamp(contents, MADE))
        assert read_provenance(tmp_path / name) == MADE.as_stored()
        (tmp_path / name).write_bytes(contents)
        assert read_provenance(tmp_path / name) is None
    with pytest.raises(ValueError, match="PNG"):
        stamp(b"anything else", MADE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")
    assert read_provenance(tmp_path / "photo.jpg") is None
    assert read_provenance(tmp_path / "missing.jpg") is None
    assert read_provenance(tmp_path) is None


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(PICTURES)),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4),
    length=st.floats(0, 1),
)
def test_damaged_files_have_none_or_that_one(tmp_path_factory, name, cuts, length):
    contents = bytearray(stamp(PICTURES[name], MADE))
    for place, put in cuts:
        at = int(place * (len(contents) - 1))
        contents[at : at + len(put)] = put
    path = tmp_path_factory.mktemp("damaged") / "picture"
    path.write_bytes(contents[: int(length * len(contents))])
    read_provenance(path)  # returns, and raises nothing
