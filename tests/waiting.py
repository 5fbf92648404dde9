"""Waiting for another process, for the tests that start one."""

import time


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"the command did not get there in {seconds} s")
