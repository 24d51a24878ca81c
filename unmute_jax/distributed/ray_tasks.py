"""Runs tasks on the nodes of a Ray cluster, and again where they are lost.

A task is a call of a generator function; what it yields streams back to the driver.
Ray can start a lost task again by itself, but then expects the same items from it. Here
the driver does so, since a task that starts again goes on where the lost one was.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import logging.handlers
import queue
import re
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from unmute_jax.distributed import signals
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.errors import one_line

# Seconds after which a signal to stop is noticed.
_PATIENCE = 0.5
Task = TypeVar("Task")


@dataclass(frozen=True)
class Event(Generic[Task]):
    """Something that happened to a task.

    Attributes:
        task: The task.
        kind: "item": it yielded `value`; "warning": it warned of what `reason` says;
            "end": it has ended; "lost": its process or node was lost, and it is started
            again; "gone": it was lost too often; "failed": it raised an exception. The
            last three have a `reason`, too.
        value: What it yielded.
        reason: What became of it, in one line, or the text of its warning.
        error: The exception that it raised.
    """

    task: Task
    kind: Literal["item", "warning", "end", "lost", "gone", "failed"]
    value: Any = None
    reason: str = ""
    error: Exception | None = None


class RunningTasks(Generic[Task]):
    """The tasks that were started and have not ended."""

    def __init__(
        self, ray: Any, function: Callable[[Task], Generator[Any]], needs: Needs
    ):
        """Prepares the function for the cluster.

        Args:
            ray: The module, connected to a cluster.
            function: A generator function that all nodes can import.
            needs: The resources of one call.
        """
        # A process that has used an accelerator keeps it, and must end with its task.
        calls = 1 if needs.gpus or needs.others else 0
        options = {"max_retries": 0, "max_calls": calls, **needs.options()}
        # The function itself goes along as an argument: as a decorated one, which is
        # what the check of types makes of it, Ray would not know it for a generator.
        remote = ray.remote(**options)(
            lambda call, task: (yield from _sent(call, task))
        )
        self._ray, self._remote, self._function = ray, remote, function
        self._tasks: dict[Any, Task] = {}
        # What has arrived and was not returned yet.
        self._events = collections.deque[Event[Task]]()
        self._warned = set[str]()

    def __len__(self) -> int:
        """The number of tasks."""
        return len(self._tasks)

    def start(self, task: Task, node: str = "") -> None:
        """Calls the function for a task.

        Args:
            task: The argument of the call.
            node: Identifier of the node that runs it, if that is still alive.
        """
        name = self._function.__name__
        options: dict[str, Any] = {"num_returns": "streaming", "name": name}
        if node:
            near = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            options["scheduling_strategy"] = near(node, soft=True)
        stream = self._remote.options(**options).remote(self._function, task)
        self._tasks[stream] = task

    def cancel(self) -> None:
        """Ends all tasks, without waiting for what they are doing."""
        for stream in self._tasks:
            self._ray.cancel(stream, force=True)
        self._tasks = {}

    def next_event(self, timeout: float | None = None) -> Event[Task] | None:
        """Waits until something happens to a task; the task is not started again.

        What tasks warn of is returned once, even if several of them warn of it.

        Args:
            timeout: Seconds to wait; None waits for any time.

        Returns:
            What happened; None if that was nothing.
        """
        if self._events:
            return self._events.popleft()
        errors, streams = self._ray.exceptions, list(self._tasks)
        if not streams:
            time.sleep(timeout or 0.0)
            return None
        ready, _ = self._ray.wait(
            streams, num_returns=1, timeout=timeout, fetch_local=False
        )
        if not ready:
            return None
        (stream,) = ready
        task = self._tasks.pop(stream)
        try:
            sent: _Sent = self._ray.get(next(stream))
        except StopIteration:
            return Event(task, "end")
        except errors.RayTaskError as error:
            return Event(task, "failed", reason=_reason(error.cause), error=error)
        except errors.RayError as error:
            # Only what it sent may be lost, while it still runs.
            self._ray.cancel(stream, force=True)
            return Event(task, "lost", reason=_reason(error))
        # At the end of all, so that each of them has its turn.
        self._tasks[stream] = task
        new = [text for text in sent.warnings if self._is_new(text)]
        self._events += [Event(task, "warning", reason=text) for text in new]
        self._events += [Event(task, "item", value) for value in sent.values]
        return self._events.popleft() if self._events else None

    def _is_new(self, warning: str) -> bool:
        """Whether no task has warned of this before; notes that one has."""
        # Tasks measure different clips, so the same warning has other numbers.
        kind = re.sub(r"\d+(\.\d+)?", "", warning)
        is_new = kind not in self._warned
        self._warned.add(kind)
        return is_new


def run_tasks(
    ray: Any,
    function: Callable[[Task], Generator[Any]],
    tasks: Iterable[Task],
    needs: Needs,
    max_retries: int,
) -> Generator[Event[Task]]:
    """Calls a generator function for every task, on any node, and yields what happens.

    Args:
        ray: The module, connected to a cluster.
        function: A function that all nodes can import, called with a task.
        tasks: The arguments of the calls.
        needs: The resources of one call.
        max_retries: How many times a call is repeated after it was lost.

    Raises:
        Stopped: A signal has stopped this process.
    """
    running = RunningTasks(ray, function, needs)
    losses: collections.Counter[Task] = collections.Counter()
    for task in tasks:
        running.start(task)
    try:
        # Ray would hide which signal has interrupted it.
        with signals.deferred() as received:
            while running:
                event = running.next_event(timeout=_PATIENCE)
                if signum := received():
                    raise signals.Stopped(signum)
                if event is None:
                    continue
                if event.kind == "lost":
                    losses[event.task] += 1
                    if losses[event.task] <= max_retries:
                        running.start(event.task)
                    else:
                        event = dataclasses.replace(event, kind="gone")
                yield event
    finally:
        running.cancel()


class _Sent(NamedTuple):
    """What a node sends of a task: at most one value, and the warnings before it."""

    values: tuple[Any, ...]
    warnings: tuple[str, ...]


def _sent(call: Callable[[Task], Generator[Any]], task: Task) -> Generator[_Sent]:
    """Calls a function on a node, and sends what it yields and what it warns of."""
    with _warnings() as take:
        for value in call(task):
            yield _Sent((value,), take())
        if left := take():
            yield _Sent((), left)


@contextlib.contextmanager
def _warnings() -> Generator[Callable[[], tuple[str, ...]]]:
    """Collects what this package warns of, which only the log of the node would have.

    Yields:
        A function that returns the warnings since its last call.
    """
    records = queue.SimpleQueue[logging.LogRecord]()
    handler = logging.handlers.QueueHandler(records)
    handler.setLevel(logging.WARNING)

    def take() -> tuple[str, ...]:
        return tuple(records.get().getMessage() for _ in range(records.qsize()))

    logger = logging.getLogger("unmute_jax")
    logger.addHandler(handler)
    try:
        yield take
    finally:
        logger.removeHandler(handler)


def _reason(error: BaseException) -> str:
    """Returns the first sentence of an error's message, behind the name of its kind."""
    text = str(error).strip().partition("\n")[0]
    return one_line(f"{type(error).__name__}: {text}", 300)
