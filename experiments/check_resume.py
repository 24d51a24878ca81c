"""Kills a run at random moments and shows that it ends like an undisturbed one.

python -m experiments.check_resume --config configs/quickstart.py --kills=10

The command is run once in peace and once with SIGKILLs, each in caches of its own, so
that the kills fall into preparation, embedding and training alike. Every result and
every token must be the same, bit for bit. Options of the experiment are passed on.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from absl import flags

from experiments import cli
from unmute_jax import caches
from unmute_jax.config import Experiment
from unmute_jax.token_store import TokenStore

KILLS = flags.DEFINE_integer("kills", 10, "Least number of kills.", lower_bound=1)
RANDOM_SEED = flags.DEFINE_integer("random_seed", 0, "Of the moments of the kills.")

# What a record says about time and not about the outcome.
TIMES = ("seconds",)


def main(settings: Experiment) -> None:
    """Runs, kills, compares; exits with 1 where anything differs."""
    passed_on = [
        a for a in sys.argv[1:] if not a.startswith(("--kills", "--random_seed"))
    ]
    draw = random.Random(RANDOM_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        calm, harried = pathlib.Path(folder, "calm"), pathlib.Path(folder, "harried")
        start = time.monotonic()
        if code := _start(passed_on, calm).wait():
            sys.exit(code)
        whole = time.monotonic() - start
        print(f"undisturbed: {whole:.0f} s", flush=True)
        kills = 0
        while kills < KILLS.value:
            shutil.rmtree(harried, ignore_errors=True)
            kills += _harry(passed_on, harried, whole, draw)
            differing = _differences(calm, harried)
            print(f"{kills} kills so far; differing: {differing or 'nothing'}")
            if differing:
                sys.exit(1)


def _harry(
    arguments: list[str], folder: pathlib.Path, whole: float, draw: random.Random
) -> int:
    """Runs to the end through kills at random moments; returns how many there were."""
    kills = 0
    while True:
        process = _start(arguments, folder)
        try:
            # Long enough to begin, short enough to be stopped several times.
            if code := process.wait(draw.uniform(0.02, 0.4) * whole + 2.0):
                sys.exit(code)
            return kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            print(f"kill {kills}", flush=True)


def _start(arguments: list[str], folder: pathlib.Path) -> subprocess.Popen[bytes]:
    # Compiled programs are no part of the question, and slow to make every time.
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    shared = folder.parent / "compiled"
    shared.mkdir(exist_ok=True)
    if not (cache / "compiled").exists():
        (cache / "compiled").symlink_to(shared)
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "experiments.train",
            *arguments,
            f"--workdir={folder / 'run'}",
        ],
        env={**os.environ, caches.VARIABLE: str(cache), caches.TOKENS: ""},
        stdout=subprocess.DEVNULL,
    )


def _differences(calm: pathlib.Path, harried: pathlib.Path) -> list[str]:
    """Names of results and token arrays that are not the same."""
    ours, theirs = _results(harried), _results(calm)
    found = [n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n)]
    stores = sorted(p.name for p in (calm / "cache/tokens").iterdir())
    for name in stores:
        a, b = (
            TokenStore.open(f / "cache/tokens" / name).load() for f in (calm, harried)
        )
        if not np.array_equal(np.asarray(a.patches), np.asarray(b.patches)):
            found.append(name)
    return found


def _results(folder: pathlib.Path) -> dict[str, Any]:
    records = {}
    for path in (folder / "run/results").glob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        records[path.name] = {k: v for k, v in values.items() if k not in TIMES}
    lines = (folder / "run/metrics.jsonl").read_text(encoding="utf-8")
    return {**records, "metrics.jsonl": lines}


if __name__ == "__main__":
    cli.launch(main, __doc__)
