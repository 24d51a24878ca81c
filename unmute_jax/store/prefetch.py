"""Maps a function over items in threads, a few items ahead of whoever uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[R]:
    """Yields `function(item)` for every item, in order, computed ahead in threads.

    An error is raised in the place of the result. When the caller closes the iterator,
    calls that have not begun are dropped.

    Args:
        function: Function to call; with more than one thread, from all of them at once.
        items: Arguments of the calls. They are drawn by the caller's thread.
        threads: Number of threads.
        ahead: Number of calls that are submitted before the first result is awaited.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        calls: deque[Future[R]] = deque()
        for item in items:
            calls.append(pool.submit(function, item))
            if len(calls) > ahead:
                yield calls.popleft().result()
        while calls:
            yield calls.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
