import threading

import pytest

from defocus import cores
from defocus.cores import at_once


@pytest.fixture(params=[1, 2])
def available(request, monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: request.param)


def test_tasks_give_their_results_in_order(available):
    assert at_once(lambda: 1, lambda: "two", lambda: None) == [1, "two", None]


def test_the_first_task_stays_in_this_thread(available):
    assert at_once(threading.current_thread, lambda: None)[0] is threading.current_thread()


def test_tasks_overlap_where_there_are_cores(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    both = threading.Barrier(2, timeout=20)  # is passed only by two at a time
    at_once(both.wait, both.wait)


@pytest.mark.parametrize("faulty", [0, 1])
def test_a_failure_is_raised(available, faulty):
    def fail():
        raise ValueError("a fault")

    tasks = [lambda: None, lambda: None]
    tasks[faulty] = fail
    with pytest.raises(ValueError, match="a fault"):
        at_once(*tasks)
