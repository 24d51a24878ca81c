"""Kills a run at random moments and shows that it ends like an undisturbed run.

python -m experiments.checks.resume --config configs/quickstart.py --kills=10

The command runs once without any disturbance and once with SIGKILLs, each time with
caches of its own, so that kills happen during preparation, embedding and training.
All files must be the same, bit for bit, except for times and for the internal files of
checkpoints. Options of the experiment are passed on. `failpoints` kills at chosen
moments: before and after every rename.
"""

from __future__ import annotations

import pathlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable

from experiments.checks import killable
from experiments.checks.comparison import compare
from experiments.checks.killable import KILLS, RANDOM_SEED, Killable
from unmute_jax.cli import program
from unmute_jax.config import Experiment, default_config


def main(settings: Experiment) -> None:
    """Runs and kills the command, and exits with code 1 if anything differs."""
    passed_on = [
        a for a in sys.argv[1:] if not a.startswith(("--kills", "--random_seed"))
    ]
    draw = random.Random(RANDOM_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        calm, harried = pathlib.Path(folder, "calm"), pathlib.Path(folder, "harried")
        _, whole = _run(passed_on, calm)
        print(f"undisturbed: {whole:.0f} s", flush=True)
        kills = 0
        while (left := KILLS.value - kills) > 0:
            # Long enough to start, and short enough to be stopped several times.
            begin = min(2.0, whole / 4)
            lives = [draw.uniform(0.02, 0.4) * whole + begin for _ in range(left)]
            shutil.rmtree(harried, ignore_errors=True)
            # Compiling again each time would be slow.
            killable.share_caches(calm / "cache", harried / "cache", ("compiled",))
            more, _ = _run(
                passed_on, harried, lives, lambda: print("killed", flush=True)
            )
            kills += more
            _, differing = compare(calm, harried)
            print(f"{kills} kills so far; differing: {differing or 'nothing'}")
            if differing:
                sys.exit(1)


def _run(
    arguments: list[str],
    folder: pathlib.Path,
    lives: Iterable[float] = (),
    killed: Callable[[], None] = lambda: None,
) -> tuple[int, float]:
    """Runs the command to its end with `killable.run`."""
    own = f"--workdir={folder / 'run'}"

    def start() -> Killable:
        return Killable("train", [*arguments, own], folder / "cache")

    return killable.run(start, 1, lives, killed)


if __name__ == "__main__":
    with program.command(__doc__, default_config()) as arguments:
        program.only_options(arguments)
        main(program.experiment())
