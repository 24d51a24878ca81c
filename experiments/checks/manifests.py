"""Converts a random file of every published layout at full size.

python -m experiments.checks.manifests --only dasheng

A manifest lists the names and shapes of the tensors in published files. For each layout
in it, the program writes a file of random numbers and converts it with `unmute convert`
in a process of its own: no tensor may be left over or missing. It prints a Markdown
table. "Anonymous" memory excludes the pages of the mapped file, which the system can
reclaim.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import safetensors.numpy
from absl import flags

from experiments.benchmarks.torch_writer import random_or_own, write_torch_zip
from experiments.checks.published_layouts import Layout, layouts
from unmute_jax.cli import program

MANIFESTS = flags.DEFINE_list(
    "manifests",
    "tests/data/encoders,tests/data/encoders_more",
    "The folders of the files *manifest*.json.",
)
ONLY = flags.DEFINE_string(
    "only", "", "Convert only layouts whose name contains this text."
)
VERIFY = flags.DEFINE_bool("verify", False, "Let the converter verify its output.")

_COLUMNS = (
    "layout",
    "entries in the file",
    "not used",
    "parameters",
    "file, MB",
    "seconds",
    "peak memory, MB",
    "of that anonymous, MB",
)


def main(_: list[str]) -> None:
    """Converts one layout after the other, and exits with code 1 if one fails."""
    print(f"| {' | '.join(_COLUMNS)} |\n|---|{'---:|' * (len(_COLUMNS) - 1)}")
    failed = False
    for layout in layouts(*map(pathlib.Path, MANIFESTS.value)):
        if ONLY.value in layout.name:
            with tempfile.TemporaryDirectory() as folder:
                failed |= not _check(layout, pathlib.Path(folder))
    sys.exit(int(failed))


def _check(layout: Layout, folder: pathlib.Path) -> bool:
    expected = layout.load()
    source, output = _write(layout, folder), folder / "converted.safetensors"
    command = [sys.executable, "-m", "unmute_jax.convert"]
    command += ["--encoder", layout.encoder, "--input", str(source)]
    command += ["--output", str(output), *(["--verify"] if VERIFY.value else [])]
    begin = time.monotonic()
    code, peak, anonymous = _run(command)
    seconds = time.monotonic() - begin
    if code:
        print(f"{layout.name}: the converter exited with code {code}", file=sys.stderr)
        return False
    row = (
        layout.name,
        f"{expected.used + len(expected.ignored):,}",
        f"{len(expected.ignored)}",
        f"{sum(array.size for _, array in expected.leaves()):,}",
        f"{source.stat().st_size / 1e6:,.0f}",
        f"{seconds:.1f}",
        f"{peak:,.0f}",
        f"{anonymous:,.0f}",
    )
    print(f"| {' | '.join(row)} |", flush=True)
    return True


def _write(layout: Layout, folder: pathlib.Path) -> pathlib.Path:
    if not layout.is_hub:
        path = folder / "weights.pt"
        write_torch_zip(path, layout.content)
        return path
    rng = np.random.default_rng(0)
    tensors = {
        name: np.concatenate(
            [chunk.reshape(-1) for chunk in random_or_own(array, rng)]
        ).reshape(array.shape)
        for name, array in layout.content["model"].items()
    }
    path = folder / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    config = json.dumps(layout.content["config"])
    (folder / "config.json").write_text(config, "utf-8")
    return path


def _run(command: list[str]) -> tuple[int, float, float]:
    """The exit code, the peak memory and the peak anonymous memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # The usage of a child that has ended includes memory of its parent.
    peaks = {"VmHWM": 0, "RssAnon": 0}
    while (code := process.poll()) is None:
        for field in peaks:
            peaks[field] = max(peaks[field], _memory(process.pid, field))
        time.sleep(0.02)
    return code, 1024 * peaks["VmHWM"] / 1e6, 1024 * peaks["RssAnon"] / 1e6


def _memory(pid: int, field: str) -> int:
    """A memory field of a process in KiB; 0 for a process that has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
