"""Kills every command at its atomic steps and shows that nothing is lost.

python -m experiments.checks.failpoints
python -m experiments.checks.failpoints --stages=training --share=0.1

Atomic steps are new files, renames, deletions, locks, and writes to files that are
appended to, by Python or by a library (see `failpoints.c`, which needs Linux and a C
compiler). A small data set is prepared, embedded, trained on, searched, reported and
used for predictions, and a cell of a grid is run. Each command runs once undisturbed.
Then it runs again, is killed with SIGKILL before and after the first step of each kind,
and in the middle of an append, and is started again until it reaches its end. All files
must then be the same, bit for bit, except for times and for the internal files of
checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile
from absl import flags

from experiments.checks.comparison import compare
from experiments.checks.forks import MODULES, ForkServer
from experiments.checks.killable import RANDOM_SEED
from unmute_jax.cli import program
from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE, TOKENS_VARIABLE

_TINY = (
    "--config.batch_size=16",
    "--config.epochs=2",
    "--config.eval_every=1",
    "--config.optimizer.learning_rates=0.01,0.1",
)
_EXPERIMENT = (
    "--config=quickstart",
    "--config.dataset=folder:sounds",
    "--config.probes=protobin",
    "--config.probe_options.prototypes_per_class=2",
    "--config.seeds=2",
    *_TINY,
)
_SEARCH = ("--config.sweep.sobol=3", "--config.sweep.tpe=2", "--config.sweep.top=2")
_GRID = (
    "--config=example_grid",
    "--config.encoders=logmel",
    "--config.datasets=folder:sounds",
    "--config.probes=linear",
    "--config.seeds=1",
    *_TINY,
)
# The commands in their order. Each finds what the undisturbed ones before it made.
COMMANDS = {
    "preparation": ("datasets", "folder:sounds"),
    "embedding": ("embed", *_EXPERIMENT),
    "training": ("train", *_EXPERIMENT, "--workdir=run"),
    "sweep": ("sweep", *_EXPERIMENT, *_SEARCH, "--workdir=sweep"),
    "report": ("report", "run", "--output=report"),
    "grid": ("grid", *_GRID, "--workdir=grid"),
    "prediction": ("predict", "--workdir=run", "sounds", "--output=predictions"),
}

SHARE = flags.DEFINE_float(
    "share", 1.0, "The share of the kinds of steps at which to kill.", 0.0, 1.0
)
STAGES = flags.DEFINE_multi_enum(
    "stages", list(COMMANDS), list(COMMANDS), "The commands to kill."
)

# What differs between the names of files of one kind: random parts, digests, numbers,
# splits, and the dimensions of arrays.
_VARIABLE_PARTS = (
    (r"incomplete\.\w{6}_", "incomplete."),
    (r"[0-9a-f]{8,}|\d+", "#"),
    (r"-(train|validation|test)\b", "-*"),
    (r"(/c)?(/#)+$", "/#"),
)
# Variable that holds the name of the referee's socket, for `failpoints.c`.
FAILPOINTS = "FAILPOINTS"


class Row(NamedTuple):
    """What became of one command.

    Attributes:
        stage: Name of the stage.
        kinds: Number of kinds of atomic steps that were seen.
        kills: Number of kills.
        left: Temporary files that are still there at the end.
        different: What differs from the undisturbed command.
    """

    stage: str
    kinds: int
    kills: int
    left: list[str]
    different: list[str]


def main(rest: list[str]) -> None:
    """Runs all stages and prints a table; exits with code 1 if anything differs."""
    program.only_options(rest)
    with tempfile.TemporaryDirectory() as name:
        rows = list(_run_stages(pathlib.Path(name), STAGES.value))
    print("| stage | kinds of steps | kills | left behind | different |")
    print("|---|---|---|---|---|")
    for row in rows:
        counts = (row.kinds, row.kills, len(row.left), len(row.different))
        print(f"| {row.stage} | {' | '.join(map(str, counts))} |")
    print(f"{sum(row.kills for row in rows)} kills")
    for row in rows:
        for line in row.left:
            print(f"{row.stage} left behind: {line}")
        for line in row.different:
            print(f"{row.stage} differs: {line}")
    if any(row.different for row in rows):
        sys.exit(1)


def write_sounds(folder: pathlib.Path) -> None:
    """Writes ten tones of half a second for each of three classes."""
    times = np.arange(4000) / 8000
    for k, name in enumerate(("bell", "dog", "rain")):
        (folder / name).mkdir(parents=True)
        for i in range(10):
            noise = np.random.default_rng([k, i]).standard_normal(len(times))
            tone = 0.3 * np.sin(2 * np.pi * (400 + 300 * k) * times)
            soundfile.write(folder / name / f"{i}.wav", tone + 0.05 * noise, 8000)


def _run_stages(root: pathlib.Path, chosen: Sequence[str]) -> Iterator[Row]:
    """Yields the outcome of each chosen stage.

    Args:
        root: Empty folder for everything.
        chosen: Names of the stages whose commands are killed.
    """
    base, place, calm = root / "base", root / "place", root / "calm"
    write_sounds(base / "sounds")
    # Compiling again each time would be slow.
    (root / "compiled").mkdir()
    (base / "cache").mkdir()
    (base / "cache/compiled").symlink_to(root / "compiled")
    variables = {
        **os.environ,
        CACHE_VARIABLE: str(place / "cache"),
        TOKENS_VARIABLE: "",
        "JAX_PLATFORMS": "cpu",
    }
    last = [stage for stage in COMMANDS if stage in chosen][-1]
    with watching(root, place, MODULES) as (server, referee):
        for stage, command in COMMANDS.items():
            shutil.copytree(base, place, symlinks=True)
            run(server, "unmute_jax.cli.main", command, variables, place)
            place.rename(calm)
            if stage in chosen:
                shutil.copytree(base, place, symlinks=True)
                referee.begin()
                watched = {**variables, FAILPOINTS: referee.address}
                run(server, "unmute_jax.cli.main", command, watched, place)
                left, different = compare(calm, place)
                kinds, kills = len(referee.kinds), referee.kills
                yield Row(stage, kinds, kills, left, different)
                shutil.rmtree(place)
            if stage == last:
                return
            shutil.rmtree(base)
            calm.rename(base)


@contextlib.contextmanager
def watching(
    root: pathlib.Path, place: pathlib.Path, modules: Sequence[str]
) -> Generator[tuple[ForkServer, Referee]]:
    """Provides a server whose runs announce their steps, and who decides on them.

    Args:
        root: Folder for the socket and for the library that announces the steps.
        place: Folder of the files that count.
        modules: Names of the modules that the server imports.

    Raises:
        InputError: There is no C compiler, or this is not Linux.
    """
    library = _build(root)
    with (
        Referee(root / "socket", place) as referee,
        contextlib.closing(
            ForkServer({**os.environ, "LD_PRELOAD": str(library)}, modules)
        ) as server,
    ):
        yield server, referee


def _build(folder: pathlib.Path) -> pathlib.Path:
    """Compiles the library that announces atomic steps."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise InputError("this check needs Linux and a C compiler (cc)")
    source = pathlib.Path(__file__).with_suffix(".c")
    library = folder / "failpoints.so"
    options = ("-O1", "-shared", "-fPIC", "-ldl", "-lpthread")
    subprocess.run([compiler, "-o", library, source, *options], check=True)
    return library


def run(
    server: ForkServer,
    module: str,
    arguments: Sequence[str],
    variables: dict[str, str],
    folder: pathlib.Path,
) -> None:
    """Runs a module again and again until it is not killed.

    Args:
        server: Server that runs it.
        module: Name of the module.
        arguments: Arguments of its command line.
        variables: Its environment variables.
        folder: Its working directory.

    Raises:
        InputError: It ended with an error; the message holds its output.
    """
    while True:
        done = server.run(module, arguments, variables, folder)
        if done.returncode == 0:
            return
        if done.returncode != -signal.SIGKILL:
            command = f"{module} {' '.join(arguments)}"
            text = f"{done.stdout}\n{done.stderr}"
            raise InputError(f"{command} ended with {done.returncode}: {text}")


# Kills


class Referee(socketserver.ThreadingUnixStreamServer):
    """Decides at which atomic steps processes are killed: the first of each kind.

    Attributes:
        address: Name of its socket.
        kinds: The kinds of steps that were seen.
        kills: Number of kills.
    """

    daemon_threads = True

    def __init__(self, address: pathlib.Path, place: pathlib.Path):
        """Begins to answer.

        Args:
            address: Name of the socket.
            place: Folder of the files that count.
        """
        self.address = str(address)
        super().__init__(self.address, _Questions)
        self._place = place
        self._mutex = threading.Lock()
        self.begin()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def begin(self) -> None:
        """Forgets what was seen."""
        self.kinds: set[str] = set()
        self.kills = 0

    def kills_at(self, step: str) -> bool:
        """Whether the process that announces this step is killed."""
        kind = kind_of(step, self._place)
        with self._mutex:
            if kind is None or kind in self.kinds:
                return False
            self.kinds.add(kind)
            draw = zlib.crc32(f"{RANDOM_SEED.value} {kind}".encode()) / 2**32
            if draw < SHARE.value:
                self.kills += 1
                print(f"killed {kind}", flush=True)
                return True
        return False

    def server_close(self) -> None:
        """Stops answering."""
        self.shutdown()
        super().server_close()


class _Questions(socketserver.StreamRequestHandler):
    """Answers the questions of one process."""

    def handle(self) -> None:
        referee: Any = self.server
        for line in self.rfile:
            kill = referee.kills_at(line.decode(errors="replace").rstrip("\n"))
            with contextlib.suppress(OSError):
                self.wfile.write(b"k" if kill else b".")


def kind_of(step: str, place: pathlib.Path) -> str | None:
    """Returns the kind of a step: its moment, what it does, and to what kind of file.

    Args:
        step: A line of `failpoints.c`.
        place: Folder of the files that count; of other files, None is returned.
    """
    moment, what, path = step.split(" ", 2)
    if path.startswith("/"):
        if not path.startswith(f"{place}/"):
            return None
        path = path.removeprefix(f"{place}/")
    # What is created for a rename is killed before the rename.
    if what == "create" and re.search(r"\.(tmp|__lock)$", path):
        return None
    for pattern, name in _VARIABLE_PARTS:
        path = re.sub(pattern, name, path)
    return f"{moment} {what} {path}"


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
