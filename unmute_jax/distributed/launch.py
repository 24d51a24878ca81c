"""Runs of many processes: they start together and end together.

On a pod or a cluster the same program runs in every process. If one of them fails or
is asked to stop, all end, and one of them says why. If one is lost without a word
(killed, or its machine is gone), the others notice within `PATIENCE`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Generator
from typing import Any, NoReturn

import jax

from unmute_jax import distributed
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError

# Seconds without a sign of life after which a process counts as lost, and between two
# looks at what the others say.
PATIENCE = 30
BEAT = 0.5
# Exit code where a process was lost: sysexits.h calls it a failure that may pass.
LOST = 75
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"


@contextlib.contextmanager
def joined(spec: str) -> Generator[None]:
    """Inside, this process is one of those that were launched together.

    The first of them writes and speaks; what the others print is dropped. Where there
    is nothing to join, nothing changes.

    Args:
        spec: "auto", as the launcher says (Slurm, Open MPI 4, Cloud TPU); "off"; or
            "HOST:PORT,COUNT,INDEX" where the first process listens, how many there
            are, and which this is.

    Raises:
        InputError: `spec` is none of these, or the others cannot be reached.
    """
    chosen = _arguments(spec)
    if chosen is None:
        yield
        return
    group = _Group()
    try:
        group.meet(chosen)
    except (RuntimeError, ValueError) as error:
        group.close()
        why = str(error).splitlines()[0]
        raise InputError(f"the processes of this run did not meet: {why}") from error
    try:
        distributed.meet()
        yield
    except BaseException as error:
        group.fail(error)
    group.finish()


def _arguments(spec: str) -> dict[str, Any] | None:
    """What to tell `jax.distributed.initialize`; None where there is but one process.

    Without a launcher it must not be called: it would wait for others, or fail.
    """
    if spec == "off" or (spec == "auto" and not _is_launched()):
        return None
    if spec == "auto":
        return {}
    found = re.fullmatch(r"(.+:\d+),(\d+),(\d+)", spec)
    if found is None or int(found[3]) >= int(found[2]):
        raise InputError(
            f"--distributed={spec}: must be auto, off or HOST:PORT,COUNT,INDEX with an "
            "INDEX below COUNT"
        )
    address, count, index = found[1], int(found[2]), int(found[3])
    if count == 1:
        return None
    return {
        "coordinator_address": address,
        "num_processes": count,
        "process_id": index,
    }


def _is_launched() -> bool:
    """Whether a launcher has started more processes than this."""
    # The script of a batch job sees the tasks of the whole job, but is one process:
    # steps (srun) alone have this variable.
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return True
    if int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        if "OMPI_MCA_orte_hnp_uri" in os.environ:
            return True
        raise InputError(
            "this Open MPI does not tell where its first process is: add --distributed="
            "HOST:PORT,$OMPI_COMM_WORLD_SIZE,$OMPI_COMM_WORLD_RANK"
        )
    hosts = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get(
        "TPU_WORKER_HOSTNAMES"
    )
    if hosts is None:
        hosts = _tpu_workers()
    return "," in hosts


def _tpu_workers() -> str:
    """The machines of this Cloud TPU slice; empty where this is none."""
    chips = ("/dev/accel0", "/dev/vfio/0")
    if not any(pathlib.Path(chip).exists() for chip in chips):
        return ""
    request = urllib.request.Request(
        _METADATA + "worker-network-endpoints", headers={"Metadata-Flavor": "Google"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, TimeoutError):
        return ""


class _Group:
    """This process among the others, from their meeting to their end.

    A process that fails leaves a note, its exit code and a line for people. The writer
    says the first such line, leaves a note itself and waits a moment; whoever finds
    the note of the writer ends silently. At no moment is more lost by this than by
    SIGKILL, and that is nothing but the steps since the last checkpoint.
    """

    def __init__(self) -> None:
        self._is_writer = self._met = False
        self._code = LOST
        self._errors = _ErrorOutput()
        self._ending, self._done = threading.Lock(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        # JAX ends the process by abort() once it knows that another did not come or
        # is lost, and has no setting against it.
        self._on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        ctypes.CDLL(None).signal(int(signal.SIGABRT), self._on_abort)

    def meet(self, chosen: dict[str, Any]) -> None:
        """Returns when all processes have come; from now on they end together."""
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(**chosen, heartbeat_timeout_seconds=PATIENCE)
        # JAX has just put its own handler for SIGTERM in the place of ours.
        signals.at_once()
        self._is_writer, self._met = distributed.is_writer(), True
        if not self._is_writer:
            # Whatever prints writes to these: Python, and the libraries in C++.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            sys.stderr = open(nowhere, "w", closefd=False)
        self._watcher.start()

    def fail(self, error: BaseException) -> NoReturn:
        """Ends all processes because of `error` in this one."""
        for signum in signals.SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        if isinstance(error, jax.errors.JaxRuntimeError):
            # Most often because another process is gone: then `_aborted` comes.
            time.sleep(PATIENCE + 10)
        code, line = self._told(error)
        if self._is_writer:
            self._end(code, line)
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            distributed.post("end", json.dumps([code, line]))
            time.sleep(PATIENCE)
        self._end(code, line)

    def finish(self) -> None:
        """Returns when every process is done."""
        distributed.wait_for_all("end")
        self._done.set()
        self._watcher.join()
        self.close()
        jax.distributed.shutdown()

    def close(self) -> None:
        """Leaves abort() and the error output as they were."""
        ctypes.CDLL(None).signal(int(signal.SIGABRT), None)
        self._errors.close()

    def _told(self, error: BaseException) -> tuple[int, str]:
        """Exit code and line."""
        if isinstance(error, signals.Stopped):
            return error.code, str(error)
        where = "" if self._is_writer else f"{distributed.name_of()}: "
        if isinstance(error, InputError):
            return 2, f"error: {where}{error}"
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
            return code, "" if self._is_writer else f"{where}ended with code {code}"
        traceback.print_exception(error, file=self._errors.console)
        return 1, f"error: {where}{type(error).__name__}: {error}".splitlines()[0]

    def _watch(self) -> None:
        """Shows what C++ writes, and looks whether another process has failed."""
        while not self._done.wait(BEAT):
            self._errors.show()
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                notes = distributed.posted("end")
                if self._is_writer and notes:
                    self._end(*json.loads(min(notes.items())[1]))
                if 0 in notes:
                    self._end(json.loads(notes[0])[0], "")

    def _aborted(self, signum: int) -> None:
        """Called in whatever thread calls abort(), from where JAX does not answer."""
        if not self._ending.acquire(blocking=False):
            time.sleep(BEAT)
            os._exit(self._code)
        held = self._errors.held()
        if b"coordination" not in held:
            self._errors.show()
            os._exit(128 + signum)
        if not self._met:
            self._say(
                "error: not all processes of this run have come: start as many as "
                "--distributed or the launcher says, within five minutes"
            )
            os._exit(LOST)
        lost = re.search(rb"unhealthy \(stopped sending heartbeats\):\s+(\d+)", held)
        if self._is_writer or not lost:
            who = distributed.name_of(int(lost[1]) if lost else 0)
            self._say(
                f"error: {who} was lost (killed, or its machine or network failed); "
                "start the same command again, with any number of processes: it goes "
                "on from its last checkpoint",
            )
        time.sleep(4 * BEAT if self._is_writer else 0)
        os._exit(LOST)

    def _end(self, code: int, line: str) -> NoReturn:
        """Ends this process; the writer goes last, for it holds the notes of all."""
        self._ending.acquire()  # For good: somebody else may be about it.
        self._code = code
        self._say(line)
        if self._is_writer:
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                distributed.post("end", json.dumps([code, line]))
                time.sleep(4 * BEAT)
        os._exit(code)

    def _say(self, line: str) -> None:
        sys.stdout.flush()
        if line:
            print(line, file=self._errors.console, flush=True)


class _ErrorOutput:
    """Holds back for a moment what C++ writes to the error output.

    Where another process was lost these are dumps of the stack that help nobody: the
    process has ended before they are shown.

    Attributes:
        console: The error output that people see.
    """

    def __init__(self) -> None:
        self._file, self._shown = tempfile.TemporaryFile(), 0
        self._before, self.console = sys.stderr, os.fdopen(os.dup(2), "w", buffering=1)
        os.dup2(self._file.fileno(), 2)
        sys.stderr = self.console

    def held(self) -> bytes:
        """What was not shown yet."""
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size - self._shown, self._shown)

    def show(self) -> None:
        """Shows it, but for news of processes that are lost: `_aborted` tells them."""
        held = self.held()
        if held and b"coordination" not in held:
            self._shown += len(held)
            self.console.flush()
            os.write(self.console.fileno(), held)

    def close(self) -> None:
        """Shows all of it, and leaves the error output as it was."""
        self.show()
        self.console.flush()
        os.dup2(self.console.fileno(), 2)
        sys.stderr = self._before
        self.console.close()
        self._file.close()
