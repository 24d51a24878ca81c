"""Runs tasks on the nodes of a Ray cluster, and again where they are lost.

A task is a call of a generator function; what it yields streams back to the driver.
Ray can start a lost task again by itself, but then expects the same items from it. Here
the driver does so, since a task that starts again goes on where the lost one was.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

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
        kind: "item": it yielded `value`; "end": it has ended; "lost": its process or
            node was lost, and it is started again; "gone": it was lost too often;
            "failed": it raised an exception. The last three have a `reason`.
        value: What it yielded.
        reason: What became of it, in one line.
        error: The exception that it raised.
    """

    task: Task
    kind: Literal["item", "end", "lost", "gone", "failed"]
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
        remote = ray.remote(**options)(lambda call, task: (yield from call(task)))
        self._ray, self._remote, self._function = ray, remote, function
        self._tasks: dict[Any, Task] = {}

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

        Args:
            timeout: Seconds to wait; None waits for any time.

        Returns:
            What happened; None if that was nothing.
        """
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
            event = Event(task, "item", self._ray.get(next(stream)))
        except StopIteration:
            return Event(task, "end")
        except errors.RayTaskError as error:
            return Event(task, "failed", reason=_reason(error.cause), error=error)
        except errors.RayError as error:
            return Event(task, "lost", reason=_reason(error))
        # At the end of all, so that each of them has its turn.
        self._tasks[stream] = task
        return event


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


def _reason(error: BaseException) -> str:
    """Returns the first sentence of an error's message, behind the name of its kind."""
    text = str(error).strip().partition("\n")[0]
    return one_line(f"{type(error).__name__}: {text}", 300)
