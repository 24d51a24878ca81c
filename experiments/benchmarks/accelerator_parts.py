"""The parts of `accelerator`: their commands, their limits, and what they found."""

from __future__ import annotations

import json
import pathlib
import xml.etree.ElementTree
from typing import Any

from experiments.benchmarks.limited_parts import Part
from unmute_jax.results import tables
from unmute_jax.results.record import read_record

# What must compute the same on every device. The tests of files, commands and tables,
# and those of several devices, are left to the CPU.
CORE_TESTS = (
    "tests/ops",
    "tests/probes",
    "tests/audio/test_kaldi.py",
    "tests/audio/test_mel.py",
    "tests/encoders/test_attention.py",
    "tests/encoders/test_blocks.py",
    "tests/encoders/test_conformance.py",
    "tests/training/test_losses.py",
    "tests/training/test_optimizer.py",
    "tests/training/test_step.py",
)
PARITY_TESTS = "tests/encoders/test_parity.py"
# One encoder of each network: the others compute the same with other weights.
ENCODERS = "audiomae,beats,dasheng,bat,bird_mae,ast,whisper"
# A quickstart of a few seconds.
TINY_QUICKSTART = (
    "--config.dataset_options.train_clips=24",
    "--config.dataset_options.validation_clips=12",
    "--config.dataset_options.test_clips=12",
    "--config.batch_size=16",
    "--config.epochs=2",
    "--config.seeds=2",
    "--config.optimizer.learning_rates=0.01,0.1",
    "--config.probe_options.prototypes_per_class=2",
)


def make_parts(folder: pathlib.Path, platform: str, *, small: bool) -> list[Part]:
    """Returns all parts in their order.

    Args:
        folder: The folder in which the parts leave their files.
        platform: "cpu", "cuda" or "tpu".
        small: Whether everything is tiny, to see that the program runs.
    """

    def run(name: str, seconds: float, module: str, *arguments: str) -> Part:
        """A module of this project that writes what it finds to a JSON file."""
        output = folder / f"{name}.json"
        command = ("-m", module, *arguments, f"--output={output}")
        return Part(name, seconds, command, output, _json, environment)

    def test(name: str, seconds: float, *arguments: str) -> Part:
        """A part that runs tests, in a few processes that share the device."""
        output = folder / f"{name}.xml"
        # Each process has half a gigabyte of a GPU for itself. A TPU has one process.
        several = platform == "cuda" and not small
        processes = ("-n", "logical", "--maxprocesses=6") if several else ("-n0",)
        options = ("-p", "no:cacheprovider", f"--junitxml={output}")
        command = ("-m", "pytest", *options, *processes, *arguments)
        return Part(name, seconds, command, output, _outcomes, environment)

    environment = {
        "JAX_PLATFORMS": platform,
        "UNMUTE_TEST_PLATFORM": platform,
        # What was compiled before a part ran out of time is not compiled again.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        # JAX would take most of the memory of a GPU, and leave too little for PyTorch.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    sizes = ("--small", "--repeats=2") if small else ("--repeats=20",)
    quickstart = folder / "quickstart"
    return [
        run("device", 30, "experiments.benchmarks.device_facts"),
        test("tests", 130, *(["tests/ops/test_exact.py"] if small else CORE_TESTS)),
        test(
            "parity",
            110,
            PARITY_TESTS,
            f"--parity-table={folder / 'parity.md'}",
            *(["-k", "dasheng"] if small else []),
        ),
        run(
            "encoders",
            140,
            "experiments.benchmarks.encoders",
            f"--platform={platform}",
            f"--encoders={'audiomae' if small else ENCODERS}",
            f"--batch={2 if small else 32}",
            *sizes,
        ),
        run(
            "probes",
            70,
            "experiments.benchmarks.probes",
            "--tables=protobin,others",
            "--sizes=50x20",
            f"--probes={'mhca' if small else 'mhca,ep,simpool'}",
            *sizes,
        ),
        Part(
            "quickstart",
            100,
            (
                *("-m", "unmute_jax.cli.main", "train", "--config=quickstart"),
                f"--workdir={quickstart}",
                *(TINY_QUICKSTART if small else ()),
            ),
            quickstart,
            _scores,
            # As on a fresh machine: data and tokens are made, programs are compiled.
            {"JAX_PLATFORMS": platform, "UNMUTE_CACHE": str(folder / "cache")},
        ),
    ]


def _json(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _outcomes(path: pathlib.Path) -> dict[str, Any]:
    """The numbers of tests, and the names of those that failed."""
    outcomes: dict[str, Any] = {"passed": 0, "skipped": 0, "failed": []}
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcomes["failed"].append(f"{case.get('classname')}::{case.get('name')}")
        else:
            outcomes["skipped" if "skipped" in kinds else "passed"] += 1
    return outcomes


def _scores(folder: pathlib.Path) -> dict[str, Any]:
    """The mean test score of each probe, and its standard deviation over seeds."""
    records = [read_record(path) for path in sorted(folder.glob("results/*.json"))]
    found = tables.rows(records, sorted({record.probe for record in records}))
    return {
        "test": {row.probe: row.test for row in found},
        "sd over seeds": {row.probe: row.test_sd for row in found},
    }
