"""An estimate writes nothing into the home folder and looks up no host."""

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = (
    "import warnings, numpy as np, defocus\n"
    "warnings.simplefilter('ignore')\n"
    "photo = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)\n"
    "for method in ('pyramid', 'dhde'):\n"
    "    defocus.estimate(photo, method=method)\n"
)
SWITCHES = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")


@pytest.fixture
def stranger(tmp_path):
    """The environment of somebody who has just installed the package: an empty home folder, no switch set."""
    home = tmp_path / "home"
    home.mkdir()
    return {name: value for name, value in os.environ.items() if name not in SWITCHES} | {
        "HOME": str(home),
        "USERPROFILE": str(home),  # its name on Windows
    }


def test_the_home_folder_stays_empty(stranger, tmp_path):
    # Not a cache of ours: Python's own files of compiled modules go beside the modules.
    subprocess.run([sys.executable, "-c", PROGRAM], env=stranger, check=True, timeout=120)
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_host_is_looked_up(stranger, tmp_path):
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto", "-o", str(trace)]
    if subprocess.run([*strace, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("strace may not trace on this system")
    subprocess.run([*strace, sys.executable, "-c", PROGRAM], env=stranger, check=True, timeout=240)
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line or "resolv" in line] == []
