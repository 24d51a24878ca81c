"""Kills the workers of a grid at random moments and shows that nothing is lost.

python -m experiments.checks.grid --config configs/paper.py --kills=10 \
    --config.encoders=logmel --config.datasets=esc_mix --config.probes=linear,protobin

One process runs the grid once without any disturbance. Then two processes at a time run
it in rounds, each from the clips to the end; they are killed with SIGKILL and started
again until there were enough kills. Every round must leave the same records, except for
times and for where they were made. All options of the grid are passed on.
"""

from __future__ import annotations

import json
import pathlib
import random
import sys
import tempfile
from typing import Any

from absl import flags

from experiments.checks import killable
from experiments.checks.killable import KILLS, RANDOM_SEED, Killable
from unmute_jax.cli import program
from unmute_jax.errors import InputError
from unmute_jax.grid.cells import Grid, default_grid
from unmute_jax.results.record import DIGEST, MEASURED

WORKERS = flags.DEFINE_integer(
    "workers", 2, "The number of processes at a time.", lower_bound=1
)

# Long enough that a working process never counts as dead on a busy machine. A process
# that waits for a cell of another looks again after a tenth of it.
EXPIRY = 20
# What a worker prints when it has taken a cell.
BEGINS = b"cell "
# Fields of records that describe time and place and not the outcome.
ELSEWHERE = (*MEASURED, DIGEST, "versions", "devices")
# The number of kills and of records, and the records that differ.
Row = tuple[int, int, list[str]]


def main(chosen: Grid) -> None:
    """Runs the rounds, prints a table, and exits with code 1 if anything differs."""
    own = ("--kills", "--random_seed", "--workers", "--workdir")
    passed_on = [a for a in sys.argv[1:] if not a.startswith(own)]
    draw = random.Random(RANDOM_SEED.value)
    with tempfile.TemporaryDirectory() as name:
        calm = pathlib.Path(name, "calm")
        _, length = run(passed_on, calm, 1, [])
        wanted = records(calm)
        if len(wanted) < len(chosen.cells()):
            raise InputError(f"the undisturbed grid left {len(wanted)} records")
        print(f"undisturbed: {length:.0f} s, {len(wanted)} records", flush=True)
        rows: list[Row] = []
        while (left := KILLS.value - sum(kills for kills, *_ in rows)) > 0:
            folder = pathlib.Path(name, f"round {len(rows) + 1}")
            killable.share_caches(
                calm / "cache", folder / "cache", ("datasets", "compiled")
            )
            # The last round predicts this one best: the first run compiled everything,
            # and the machine may have been slower.
            lives = [draw.uniform(0, length / 2) for _ in range(left)]
            kills, length = run(passed_on, folder, WORKERS.value, lives)
            print(f"{folder.name}: {kills} kills, {length:.0f} s", flush=True)
            found = records(folder)
            rows.append((kills, len(found), differing(wanted, found)))
    _report(rows)


def _report(rows: list[Row]) -> None:
    names = [f"round {i}: {name}" for i, row in enumerate(rows, 1) for name in row[2]]
    print("| round | kills | records | different |\n|---|---|---|---|")
    for i, (kills, count, different) in enumerate(rows, 1):
        print(f"| {i} | {kills} | {count} | {len(different)} |")
    kills, count = sum(row[0] for row in rows), sum(row[1] for row in rows)
    print(f"| all {len(rows)} | {kills} | {count} | {len(names)} |")
    for name in names:
        print(f"different in {name}")
    if names:
        sys.exit(1)


def run(
    arguments: list[str], folder: pathlib.Path, count: int, lives: list[float]
) -> tuple[int, float]:
    """Runs the grid to its end, through kills.

    Args:
        arguments: Options of the grid.
        folder: The folder of the grid and of all caches.
        count: Number of workers at a time.
        lives: Seconds that workers live after their first cell.

    Returns:
        The number of kills, and the seconds from the first cell to the end.
    """
    own = [f"--workdir={folder / 'run'}", f"--expiry={EXPIRY}"]

    def start() -> Killable:
        return Killable(
            "grid", [*arguments, *own], folder / "cache", start_marker=BEGINS
        )

    return killable.run(start, count, lives)


def records(folder: pathlib.Path) -> dict[str, Any]:
    """The outcomes that a grid has written, by the name of the file."""
    root = folder / "run/cells"
    found = {}
    for room in ("results", "trials"):
        for path in sorted(root.glob(f"*/{room}/*.json")):
            values = json.loads(path.read_text(encoding="utf-8"))
            found[path.relative_to(root).as_posix()] = _outcome(values)
    return found


def differing(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Names of the records that differ or are missing on one side."""
    names = sorted(wanted.keys() | found.keys())
    return [name for name in names if wanted.get(name) != found.get(name)]


def _outcome(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _outcome(v) for k, v in value.items() if k not in ELSEWHERE}
    return [_outcome(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    with program.command(__doc__, default_grid()) as arguments:
        program.only_options(arguments)
        main(Grid.from_dict(program.config_values()))
