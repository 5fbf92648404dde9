"""Marks for tests of what only some systems have."""

import os
from pathlib import Path

import pytest

needs_signals = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals, which Windows does not have")
needs_links = pytest.mark.skipif(os.name != "posix", reason="makes symbolic links, which Windows allows few users")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
