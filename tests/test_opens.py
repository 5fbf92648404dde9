"""A photograph on its way through a command is opened once and decoded once, its folder is listed once, and the weights
are read once: counted by what the interpreter itself reports of every file that is opened (PEP 578)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COUNTING = """
import json, os, sys
from collections import Counter

opened, listed, decoded = Counter(), Counter(), Counter()

def count(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        # `open` with an opener of its own reports twice: once with a mode, once, by the opener, without.
        opened[os.path.basename(os.fsdecode(arguments[0])), arguments[1] is not None] += 1
    if event in ("os.listdir", "os.scandir") and arguments[0] is not None:
        listed[os.path.basename(os.fspath(arguments[0]))] += 1

from defocus.cli.app import main
from defocus.photograph import formats

def counting(reader):
    def read(source):
        decoded[os.path.basename(source.name)] += 1
        return reader(source)
    return read

for row in formats.FORMATS:
    object.__setattr__(row, "read", counting(row.read))
sys.addaudithook(count)
code = 0
try:
    main()
except SystemExit as left:
    code = left.code
files = {}
for (name, by_mode), times in opened.items():
    files[name] = max(files.get(name, 0), times)
print(json.dumps({"code": code, "opened": files, "listed": listed, "decoded": decoded}), file=sys.stderr)
"""


def run_counting(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    counts = json.loads(done.stderr.splitlines()[-1])
    assert not counts["code"], done.stderr
    return counts


@pytest.fixture
def shoot(tmp_path):
    folder = tmp_path / "shoot"
    folder.mkdir()
    random = np.random.default_rng(3)
    for name in ("a.jpg", "b.png"):
        picture = Image.fromarray(random.integers(0, 255, (64, 80, 3), np.uint8))
        exif = Image.Exif()
        exif[0x010F] = "A camera"
        picture.save(folder / name, exif=exif)
    return folder


@pytest.mark.parametrize("command", ["estimate", "magnify", "sharpen", "depth", "segment", "rank"])
def test_one_open_one_decode_one_walk_and_weights_read_once(shoot, tmp_path, command):
    output = [] if command == "rank" else ["-o", tmp_path / "out"]
    counts = run_counting(command, shoot, *output, "--quiet")
    assert {name: counts["opened"].get(name) for name in ("a.jpg", "b.png")} == {"a.jpg": 1, "b.png": 1}
    assert counts["decoded"] == {"a.jpg": 1, "b.png": 1}
    assert counts["listed"].get("shoot") == 1
    assert {name: times for name, times in counts["opened"].items() if Path(name).suffix == ".onnx"} == {
        "pyramid.onnx": 1
    }
