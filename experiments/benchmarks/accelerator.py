"""Tests and measures this package on an accelerator, in less than ten minutes.

python -m experiments.benchmarks.accelerator --workdir /tmp/accelerator
python -m experiments.benchmarks.accelerator --workdir /tmp/small --platform cpu --small

The parts are: the device, the core tests, the parity of all encoders, the speed of
encoders and of probes beside PyTorch, and the quickstart. Each is a command of its own
with a limit of time, and one that fails takes nothing from the others. The folder gets
`accelerator.json` with everything that was found, the same as tables in
`accelerator.md`, and the log of each part. The same command goes on with the parts that
are not done.

It needs a checkout with what the tests need (`pip install -e '.[cuda12,test]'`). Beside
PyTorch, the speeds need a PyTorch for the device, and transformers.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import sys
from typing import Any

from absl import flags

from experiments.benchmarks import side_by_side
from experiments.benchmarks.accelerator_parts import make_parts
from experiments.benchmarks.limited_parts import DONE, run_part
from unmute_jax.cli import program
from unmute_jax.console import size_text
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import write_atomically

PLATFORM = flags.DEFINE_enum(
    "platform", "cuda", ["cpu", "cuda", "tpu"], "What JAX is to run on."
)
PARTS = flags.DEFINE_list(
    "parts", None, "The parts to run, separated by commas; all by default."
)
PATIENCE = flags.DEFINE_float(
    "patience", 1.0, "A factor of all limits of time, for a slow machine.", 0.1
)
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny sizes, to see that the program runs."
)

# Facts that must not change between the parts of one table.
SAME = ("device", "devices", "jax", "jaxlib", "torch")


def main(arguments: list[str]) -> None:
    """Runs the parts that are not done; exits with code 1 if any has failed."""
    program.only_options(arguments)
    folder = pathlib.Path(program.required(program.WORKDIR)).expanduser().absolute()
    parts = make_parts(folder, PLATFORM.value, small=SMALL.value)
    names = [part.name for part in parts]
    for name in PARTS.value or ():
        if name not in names:
            raise unknown_name("part", name, names)
    # The first part tells whether the others can run, and is always run again.
    chosen = [p for p in parts if p.name in {*(PARTS.value or names), names[0]}]
    folder.mkdir(parents=True, exist_ok=True)
    state = _state(folder)
    todo = [p for p in chosen if p is parts[0] or not _is_done(state, p.name)]
    for number, part in enumerate(todo, start=1):
        limit = part.seconds * PATIENCE.value
        print(f"[{number}/{len(todo)}] {part.name}: at most {limit:.0f} s", flush=True)
        outcome = run_part(part, folder, patience=PATIENCE.value)
        if part is parts[0]:
            _check_device(state, outcome, folder)
        state["parts"][part.name] = outcome
        write_atomically(folder / "accelerator.json", json.dumps(state, indent=1))
        write_atomically(folder / "accelerator.md", report(state, folder))
        print(f"{part.name}: {outcome['outcome']}", flush=True)
        if part is parts[0] and outcome["outcome"] != DONE:
            sys.exit(1)
    print(f"\n{report(state, folder)}\n{folder / 'accelerator.md'}")
    if not all(_is_done(state, part.name) for part in chosen):
        sys.exit(1)


def report(state: dict[str, Any], folder: pathlib.Path) -> str:
    """Everything that was found as Markdown.

    Args:
        state: The content of `accelerator.json`.
        folder: The folder with the logs, whose tables are taken over.
    """
    parts = state["parts"]
    known = parts["device"]["found"].items()
    facts = ", ".join(f"{k} {v}" for k, v in known if v is not None)
    rows = [
        [name, o["outcome"], in_words(name, o["found"]), f"{o['seconds']:.0f}"]
        for name, o in parts.items()
    ]
    what = f"{state['platform']}{', tiny sizes' if state['small'] else ''}"
    header = ["part", "outcome", "found", "seconds"]
    lines = [f"# {what}", "", facts, "", side_by_side.table(header, rows)]
    for name in parts:
        if printed := tables_in((folder / f"{name}.log").read_text(errors="replace")):
            lines += ["", f"## {name}", *printed]
    return "\n".join(lines) + "\n"


def tables_in(text: str) -> list[str]:
    """The lines of all Markdown tables in a text, with an empty one before each."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    lines: list[str] = []
    for row, following in itertools.pairwise([*rows, ""]):
        is_header = following and not following.strip("| -:")
        lines += ["", row] if is_header else [row]
    return lines


def in_words(name: str, found: dict[str, Any]) -> str:
    """What a part has found, where it is not in a table of its own."""
    if name in ("tests", "parity") and "failed" in found:
        counts = f"{found['passed']} passed, {found['skipped']} skipped"
        failed = "".join(f", {test}" for test in found["failed"])
        return f"{counts}, {len(found['failed'])} failed{failed}"
    if name == "probes" and found.get("protobin"):
        steps = 1000 / found["protobin"][0]["bfloat16 ms"]
        used = found["device peak bytes"]
        most = f", {size_text(used)} of memory at most" if used else ""
        return f"protobin on bfloat16 tokens: {steps:.3g} steps/s{most}"
    if name == "quickstart" and found.get("test"):
        scores = (f"{k} {100 * v:.2f}" for k, v in found["test"].items())
        return f"test mAP: {', '.join(scores)}"
    return found.get("error", "")


def _state(folder: pathlib.Path) -> dict[str, Any]:
    """What earlier calls have found in this folder.

    Raises:
        InputError: They ran on another platform or with other sizes.
    """
    mine = {"platform": PLATFORM.value, "small": SMALL.value}
    path = folder / "accelerator.json"
    if not path.exists():
        return {**mine, "parts": {}}
    state = json.loads(path.read_text())
    if {key: state.get(key) for key in mine} != mine:
        raise InputError(
            f"{path}: has the results of --platform={state.get('platform')} "
            f"--small={state.get('small')}; give another --workdir"
        )
    return state


def _check_device(
    state: dict[str, Any], outcome: dict[str, Any], folder: pathlib.Path
) -> None:
    """Refuses to go on where the earlier parts ran on another device.

    Raises:
        InputError: The device or a version is another one.
    """
    before = state["parts"].get("device", {}).get("found", {})
    now = outcome["found"]
    for key in SAME:
        if before.get(key, now.get(key)) != now.get(key) and outcome["outcome"] == DONE:
            raise InputError(
                f"{folder / 'accelerator.json'}: has the results of {key} "
                f"{before[key]}, here it is {now.get(key)}; give another --workdir"
            )


def _is_done(state: dict[str, Any], name: str) -> bool:
    return state["parts"].get(name, {}).get("outcome") == DONE


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
