"""Waiting for another process, for the tests that start one."""

import time


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("the command did not get there in 20 s")
