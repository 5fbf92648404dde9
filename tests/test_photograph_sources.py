"""Where photographs come from: files, bytes, open files and other libraries' arrays; all else is refused."""

import io
import os
import socket
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from skimage import data

from defocus import PhotographError, estimate
from defocus.photograph import as_photograph, photograph_sha256, read_photograph

RGB = data.astronaut()[:48, :64].copy()


def encoded(kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, kind)
    return file.getvalue()


class OnlyDLPack:
    """An array of a library that knows nothing of NumPy."""

    def __dlpack__(self, **options):
        return RGB.__dlpack__(**options)

    def __dlpack_device__(self):
        return RGB.__dlpack_device__()


class Refusing:
    """An array that is elsewhere, as on a GPU."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert a cuda tensor.\nUse Tensor.cpu() first.")


def test_bytes_open_files_and_arrays_of_other_libraries_are_the_same_photograph(tmp_path):
    contents = encoded()
    (tmp_path / "a.bin").write_bytes(b"before" + contents)
    with (tmp_path / "a.bin").open("rb") as file:
        file.seek(6)
        found = [as_photograph(file)]
    found += [as_photograph(kind(contents)) for kind in (bytes, bytearray, memoryview, io.BytesIO)]
    found += [as_photograph(OnlyDLPack())]
    for photograph in found:
        np.testing.assert_array_equal(photograph.pixels, RGB)
    (tmp_path / "a.png").write_bytes(contents)
    assert found[1].sha256 == photograph_sha256(tmp_path / "a.png") == read_photograph(tmp_path / "a.png").sha256


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(as_photograph(torch.from_numpy(RGB)).pixels, RGB)
    with pytest.raises(PhotographError, match="channels come first"):
        as_photograph(torch.from_numpy(RGB).permute(2, 0, 1))
    with pytest.raises(PhotographError, match=r"Tensor cannot be made a NumPy array: .*grad"):
        as_photograph(torch.rand(9, 9, 3, requires_grad=True))


def test_a_list_gives_a_list_of_maps(fake_method):
    maps = estimate([RGB, encoded(), Image.fromarray(RGB)], method=fake_method)
    assert len(maps) == 3
    for found in maps:
        np.testing.assert_array_equal(found.sigma, estimate(RGB, method=fake_method).sigma)
    assert estimate([], method=fake_method) == []


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path):
    closed = (tmp_path / "a").open("wb")
    closed.close()
    with (tmp_path / "a").open("wb") as writing:
        for thing, words in (
            (Refusing(), "This Refusing cannot be made a NumPy array: can't convert a cuda tensor. Use"),
            (closed, "cannot be read: give it before it is closed"),
            (writing, "cannot be read: give it before it is closed, opened with mode"),
            (io.StringIO("text"), "open as text"),
        ):
            with pytest.raises(PhotographError, match=words) as raised:
                as_photograph(thing)
            assert "\n" not in str(raised.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX files")
def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "one.jpg").symlink_to(tmp_path / "two.jpg")
    (tmp_path / "two.jpg").symlink_to(tmp_path / "one.jpg")
    (tmp_path / "folder.jpg").mkdir()
    here = Path.cwd()
    os.chdir(tmp_path)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.jpg")
    finally:
        os.chdir(here)
    for name, words in (
        ("pipe", "is a pipe, a device or a socket"),
        ("device", "is a pipe, a device or a socket"),
        ("socket", "is a pipe, a device or a socket"),
        ("one", "links lead in a circle"),
        ("folder", "is a folder: give a photograph"),
    ):
        for read in (read_photograph, photograph_sha256):
            with pytest.raises(PhotographError, match=words) as raised:
                read(tmp_path / f"{name}.jpg")
            assert str(raised.value).count(f"{name}.jpg") == 1
            assert str(raised.value).count(".jpg") == 1


def test_eight_threads_leave_the_process_as_it_was(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    before = list(warnings.filters), warnings.showwarning, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    photographs = [encoded("JPEG"), encoded("WEBP"), encoded("TIFF")]
    failed = []

    def read():
        try:
            for _ in range(40):
                for each in photographs:
                    read_photograph(each)
        except Exception as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failed
    after = list(warnings.filters), warnings.showwarning, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    assert after == before
