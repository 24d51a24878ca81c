"""Tries damaged inputs of one kind: each must be read, or refused with one clear line.

python -m experiments.checks.fuzz --kind audio --count 3000 --seed 1 --output failures

    weights   files of encoders: PyTorch, safetensors, CTranslate2, converted ones
    audio     sound files
    store     token stores: the manifest, the shards, their checksums, the summaries
    probe     trained probes, one-bit files, exported tokens
    record    records, trials, predictions, settings and journals of runs
    config    settings as dictionaries, and as values on the command line
    archive   tar and zip archives, and tar archives of WebDataset

The inputs are read in a process of its own with limits of time and memory. A failure is
any exception but an `InputError` of one short line; anything that is printed; a crash;
a limit that is passed; a file written elsewhere; and, where a digest or a checksum
protects an input, values other than before that are read without a word. The program
prints a table of what happened after each mutation, writes the inputs that failed to
--output, and exits with code 1 if there are any. `--only=INDEX` tries one input again.

Hypothesis is not used: it runs its examples in the process that it is in, which a crash
or a limit of memory would end, and finds no headers of files with digests by itself.
Here every input follows from --seed and its number.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from absl import flags

from experiments.checks import (
    fuzz_archive,
    fuzz_audio,
    fuzz_config,
    fuzz_probe,
    fuzz_record,
    fuzz_store,
    fuzz_weights,
)
from experiments.checks.fuzz_cases import Case
from experiments.checks.fuzz_worker import FAILED, Check, Prepare, Worker
from unmute_jax.cli import program
from unmute_jax.io import CACHE_VARIABLE


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of inputs that can be tried.

    Attributes:
        make: Makes a damaged input.
        check: Reads one; see `Check`.
        prepare: Imports and computes what all inputs need.
    """

    make: Callable[[np.random.Generator], Case]
    check: Check
    prepare: Prepare | None = None


KINDS = {
    name: Kind(make=module.make, check=module.check, prepare=module.prepare)
    for name, module in {
        "weights": fuzz_weights,
        "audio": fuzz_audio,
        "store": fuzz_store,
        "probe": fuzz_probe,
        "record": fuzz_record,
        "config": fuzz_config,
        "archive": fuzz_archive,
    }.items()
}

KIND = flags.DEFINE_enum("kind", "audio", list(KINDS), "Kind of the inputs.")
COUNT = flags.DEFINE_integer("count", 3000, "Number of inputs.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of all choices.")
ONLY = flags.DEFINE_integer("only", None, "Number of the only input that is tried.", 0)
SECONDS = flags.DEFINE_float("seconds", 20.0, "Time limit for one input in seconds.")
MEGABYTES = flags.DEFINE_integer(
    "megabytes", 2000, "Memory that one input may take beyond that of the program."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the inputs that failed.")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What happened with one input.

    Attributes:
        index: The number of the input, which makes it again together with the seed.
        kind: What the input was before it was damaged.
        mutation: How it was damaged.
        outcome: The outcome in words; "failed" if it is a failure.
        seconds: How long it took.
        megabytes: The memory that it took beyond that of the program.
        reason: What is wrong.
    """

    index: int
    kind: str
    mutation: str
    outcome: str
    seconds: float
    megabytes: float = 0.0
    reason: str = ""


def try_inputs(
    kind: Kind,
    indices: Iterable[int],
    *,
    seed: int,
    seconds: float,
    megabytes: int,
    output: pathlib.Path | None = None,
) -> list[Trial]:
    """Tries damaged inputs.

    Args:
        kind: The kind of inputs.
        indices: The numbers of the inputs.
        seed: The seed of all choices.
        seconds: The time limit for one input.
        megabytes: The memory limit for one input.
        output: A folder for the inputs that failed.
    """
    worker = Worker(kind.check, seconds, megabytes, kind.prepare)
    trials = list[Trial]()
    with tempfile.TemporaryDirectory() as outside:
        # Folders around the inputs, in which names that climb would be found.
        place = pathlib.Path(outside, "a", "b", "c")
        (place / "cache").mkdir(parents=True)
        os.environ[CACHE_VARIABLE] = str(place / "cache")
        for index in indices:
            case = kind.make(np.random.default_rng([seed, index]))
            # Each has a place of its own, as readers keep what they know of a path.
            folder = place / str(index)
            case.write(folder)
            answer = worker.run(folder, case.kind, case.may_differ)
            shutil.rmtree(folder)
            if written := _written_elsewhere(pathlib.Path(outside), place):
                answer = answer._replace(outcome=FAILED, reason=f"writes {written}")
            trial = Trial(
                index=index,
                kind=case.kind,
                mutation=case.mutation,
                **answer._asdict(),
            )
            trials.append(trial)
            if trial.outcome == FAILED:
                what = f"{index}: {case.kind}, {case.mutation}"
                print(f"{what}: {trial.reason}", flush=True)
                if output is not None:
                    _keep(case, trial, output / f"{seed}_{index}")
    worker.stop()
    return trials


def _written_elsewhere(outside: pathlib.Path, place: pathlib.Path) -> list[str]:
    """Returns what lies beside the cache, and takes it away."""
    allowed = {place, place / "cache", *place.parents}
    found = [
        path
        for folder in (outside, *outside.glob("a"), *outside.glob("a/b"), place)
        for path in folder.iterdir()
        if path not in allowed
    ]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return [str(path) for path in found]


def _keep(case: Case, trial: Trial, folder: pathlib.Path) -> None:
    """Writes an input that failed, and what happened with it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    case.write(folder)
    record = json.dumps(vars(trial), indent=1)
    folder.with_suffix(".json").write_text(record, "utf-8")


def table(trials: list[Trial]) -> str:
    """Returns a Markdown table of the outcomes after each mutation."""
    counts = collections.Counter((t.mutation, t.outcome) for t in trials)
    outcomes = [*sorted({t.outcome for t in trials} - {FAILED}), FAILED]
    lines = [
        f"| mutation | inputs | {' | '.join(outcomes)} |",
        f"|---|{'---:|' * (len(outcomes) + 1)}",
    ]
    for mutation in sorted({t.mutation for t in trials}):
        cells = [counts[mutation, outcome] for outcome in outcomes]
        row = [mutation, str(sum(cells)), *map(str, cells)]
        lines.append(f"| {' | '.join(row)} |")
    totals = [sum(t.outcome == outcome for t in trials) for outcome in outcomes]
    lines.append(f"| all | {len(trials)} | {' | '.join(map(str, totals))} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Tries the inputs, prints the table, and exits with code 1 if one fails."""
    program.only_options(arguments)
    trials = try_inputs(
        KINDS[KIND.value],
        range(COUNT.value) if ONLY.value is None else [ONLY.value],
        seed=SEED.value,
        seconds=SECONDS.value,
        megabytes=MEGABYTES.value,
        output=None if OUTPUT.value is None else pathlib.Path(OUTPUT.value),
    )
    print(table(trials))
    slowest = max(trials, key=lambda trial: trial.seconds)
    largest = max(trials, key=lambda trial: trial.megabytes)
    print(
        f"\nThe slowest took {slowest.seconds:.2f} s (number {slowest.index}: "
        f"{slowest.kind}, {slowest.mutation}); the largest took "
        f"{largest.megabytes:.0f} MB (number {largest.index}: {largest.kind}, "
        f"{largest.mutation})."
    )
    sys.exit(any(trial.outcome == FAILED for trial in trials))


if __name__ == "__main__":
    with program.command(__doc__) as given:
        main(given)
