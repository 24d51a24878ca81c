"""Joins the processes that a launcher has started into one run.

On a TPU pod or a cluster the same program runs in every process: the first one writes
and prints, the others compute. If one fails, it exits, and JAX ends the others with a
message of its own within `PATIENCE` seconds; `srun --kill-on-bad-exit` does so at once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
import time
import urllib.request
from collections.abc import Generator
from typing import Any

import jax

from unmute_jax import distributed
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError

# Seconds without a sign of life after which a process counts as lost.
PATIENCE = 30
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes"


@contextlib.contextmanager
def joined(spec: str) -> Generator[None]:
    """Joins the other processes of this run for the duration of a `with` block.

    What processes other than the first print inside is dropped. Where there are no
    other processes, nothing changes.

    Args:
        spec: "auto", as the launcher says (Slurm, Open MPI 4, Cloud TPU); "off"; or
            "HOST:PORT,COUNT,INDEX": where the first process listens, how many
            processes there are, and which this is.

    Raises:
        InputError: `spec` is none of these, or the others cannot be reached.
    """
    if (chosen := _arguments(spec)) is None:
        yield
        return
    # JAX would handle SIGTERM in place of `signals`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**chosen, heartbeat_timeout_seconds=PATIENCE)
    except (RuntimeError, ValueError) as error:
        why = f"{str(error).splitlines()[0]}; see --distributed"
        raise InputError(f"the processes of this run did not meet: {why}") from error
    with contextlib.ExitStack() as silence:
        if not distributed.is_writer():
            nowhere = silence.enter_context(open(os.devnull, "w"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
            silence.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            distributed.connect_devices()
            yield
            distributed.wait_for_all("end")
        except BaseException as error:
            atexit.register(_leave, error)
            if isinstance(error, signals.Stopped) and not distributed.is_writer():
                # All of them stop, and the first one says so.
                raise SystemExit(error.code) from error
            raise
    jax.distributed.shutdown()


def _leave(error: BaseException) -> None:
    """Exits at once; JAX would first wait minutes for the other processes."""
    sys.stdout.flush()
    if distributed.is_writer():
        # JAX aborts the others when this one is gone; if they stop too, let them.
        time.sleep(2)
    code = getattr(error, "code", 2 if isinstance(error, InputError) else 1)
    os._exit(code if isinstance(code, int) else 1)


def _arguments(spec: str) -> dict[str, Any] | None:
    """Returns the arguments of `jax.distributed.initialize`; None for one process."""
    if spec in ("auto", "off"):
        return {} if spec == "auto" and _is_launched() else None
    parts = re.fullmatch(r"(.+:\d+),(\d+),(\d+)", spec)
    if parts is None or int(parts[3]) >= int(parts[2]):
        known = "auto, off or HOST:PORT,COUNT,INDEX with an INDEX below COUNT"
        raise InputError(f"--distributed={spec}: must be {known}")
    counts = {"num_processes": int(parts[2]), "process_id": int(parts[3])}
    return {"coordinator_address": parts[1], **counts} if int(parts[2]) > 1 else None


def _is_launched() -> bool:
    """Whether a launcher has started more processes than this."""
    # Not SLURM_NTASKS, which the script of a job has too: that is one process.
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        if int(os.environ.get(name, "1")) > 1:
            return True
    for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"):
        if name in os.environ:
            return "," in os.environ[name]
    return "," in _tpu_hosts()


def _tpu_hosts() -> str:
    """Returns the hosts of this Cloud TPU slice; empty where there is none."""
    if not any(map(os.path.exists, ("/dev/accel0", "/dev/vfio/0"))):
        return ""
    request = urllib.request.Request(
        f"{_METADATA}/worker-network-endpoints", headers={"Metadata-Flavor": "Google"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""
