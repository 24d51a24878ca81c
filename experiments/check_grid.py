"""Kills workers of a grid at random moments, and shows that nothing is lost by it.

python -m experiments.check_grid --config configs/paper.py --kills=10 \
    --config.encoders=logmel --config.datasets=esc_mix --config.probes=linear,protobin

The grid is run once in peace by one process and once by two at a time, which are killed
with SIGKILL and started again, each in caches of its own. Every cell must then have the
same records, but for times and for where it ran. All options of the grid are passed on.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags

from experiments import cli
from unmute_jax import caches
from unmute_jax.benchmark import grid

KILLS = flags.DEFINE_integer("kills", 10, "Number of kills.", lower_bound=1)
WORKERS = flags.DEFINE_integer("workers", 2, "Processes at a time.", lower_bound=1)
RANDOM_SEED = flags.DEFINE_integer("random_seed", 0, "Of the moments of the kills.")

# Long enough that no process at work is taken for dead on a busy machine.
EXPIRY = 60
# What records say of time and place, and not of the outcome.
ELSEWHERE = ("seconds", "versions", "devices")


def main(chosen: grid.Grid) -> None:
    """Runs, kills, compares; exits with 1 where anything differs."""
    own = ("--kills", "--random_seed", "--workers")
    passed_on = [a for a in sys.argv[1:] if not a.startswith(own)]
    draw = random.Random(RANDOM_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        calm, harried = pathlib.Path(folder, "calm"), pathlib.Path(folder, "harried")
        start = time.monotonic()
        if code := _start(passed_on, calm).wait():
            sys.exit(code)
        whole = time.monotonic() - start
        print(f"undisturbed: {whole:.0f} s, {len(records(calm))} records", flush=True)
        _harry(passed_on, harried, whole, draw)
        ours, theirs = records(harried), records(calm)
        names = sorted(ours.keys() | theirs.keys())
        differing = [name for name in names if ours.get(name) != theirs.get(name)]
        print(f"{KILLS.value} kills; differing: {', '.join(differing) or 'nothing'}")
        if differing or len(theirs) < len(chosen.cells()):
            sys.exit(1)


def _harry(
    arguments: list[str], folder: pathlib.Path, whole: float, draw: random.Random
) -> None:
    """Runs the grid to its end through all kills.

    A grid that ends before its last kill is begun again from nothing but its tokens.
    """
    workers: list[subprocess.Popen[bytes]] = []
    kills = rounds = 0
    while True:
        while len(workers) < WORKERS.value:
            workers.append(_start(arguments, folder))
        is_last = kills >= KILLS.value
        # Early enough to come before the end, late enough to have begun.
        pause = None if is_last else draw.uniform(2.0, 2.0 + 0.6 * whole)
        victim = draw.choice(workers)
        try:
            code = victim.wait(pause)
        except subprocess.TimeoutExpired:
            victim.kill()
            victim.wait()
            workers.remove(victim)
            kills += 1
            print(f"kill {kills}: {len(records(folder))} records", flush=True)
            continue
        for worker in workers:
            code = worker.wait() or code
        if code:
            sys.exit(code)
        if is_last:
            return
        workers, rounds = [], rounds + 1
        (folder / "run").rename(folder / f"run-{rounds}")


def _start(arguments: list[str], folder: pathlib.Path) -> subprocess.Popen[bytes]:
    # Compiled programs are no part of the question, and slow to make every time.
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    shared = folder.parent / "compiled"
    shared.mkdir(exist_ok=True)
    if not (cache / "compiled").exists():
        (cache / "compiled").symlink_to(shared)
    own = [f"--workdir={folder / 'run'}", f"--expiry={EXPIRY}"]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.benchmark", *arguments, *own],
        env={**os.environ, caches.VARIABLE: str(cache)},
        stdout=subprocess.DEVNULL,
    )


def records(folder: pathlib.Path) -> dict[str, Any]:
    """All that a grid has written of finished trials, by file."""
    root = folder / "run/cells"
    found = {}
    for room in ("results", "trials"):
        for path in sorted(root.glob(f"*/{room}/*.json")):
            values = json.loads(path.read_text(encoding="utf-8"))
            found[path.relative_to(root).as_posix()] = _outcome(values)
    return found


def _outcome(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _outcome(v) for k, v in value.items() if k not in ELSEWHERE}
    return [_outcome(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    cli.launch(main, __doc__, build=grid.Grid.from_dict, defaults=grid.default_grid)
