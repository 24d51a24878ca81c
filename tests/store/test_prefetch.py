"""Results come in order, are computed ahead, and errors reach the caller."""

import threading
import time

import pytest

from unmute_jax.store.prefetch import map_ahead


def test_results_come_in_the_order_of_the_items():
    def slower_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return -i

    results = map_ahead(slower_first, range(20), threads=4, ahead=8)
    assert list(results) == [-i for i in range(20)]
    assert list(map_ahead(slower_first, [], threads=1, ahead=1)) == []


def test_calls_run_ahead_of_the_caller_but_not_farther():
    drawn, called = [], threading.Semaphore(0)

    def items():
        for i in range(100):
            drawn.append(i)
            yield i

    results = map_ahead(lambda i: called.release(), items(), threads=2, ahead=3)
    next(results)
    for _ in range(4):  # The first one and three ahead of it.
        assert called.acquire(timeout=10)
    assert drawn == [0, 1, 2, 3]
    results.close()
    assert not called.acquire(timeout=0.01)


def test_an_error_is_raised_in_the_place_of_the_result():
    def fails(i):
        if i == 2:
            raise KeyError("two")
        return i

    results = map_ahead(fails, range(9), threads=2, ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(results)
