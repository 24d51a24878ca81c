"""Runs every test on two virtual devices, with strict dtypes and full precision.

`UNMUTE_TEST_PLATFORM=cuda` (or `tpu`) runs them on an accelerator instead.
"""

import gc
import importlib.metadata
import os
import pathlib
import re
import shutil
import tempfile

# The tests have caches of their own, apart from those of the person who runs them.
os.environ.pop("UNMUTE_TOKENS", None)
os.environ["UNMUTE_CACHE"] = tempfile.mkdtemp(prefix="unmute_jax_tests_")
# Without the variable a GPU is not used, because most tests need two devices. With it,
# the devices are taken as they are, and "cpu" is one device, as an accelerator is.
os.environ["JAX_PLATFORMS"] = os.environ.get("UNMUTE_TEST_PLATFORM") or "cpu"
# Several processes share an accelerator: none may reserve most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# Test processes share what they compile, which saves a third of the time.
if "PYTEST_XDIST_WORKER" not in os.environ:
    if not os.environ.get("UNMUTE_TEST_PLATFORM"):
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR", f"{os.environ['UNMUTE_CACHE']}/compiled"
    )
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if not os.environ.get("UNMUTE_TEST_PLATFORM"):
        # Most of the time is compiling. The programs of XLA are those of users; only
        # the machine code is less optimised, and made without MLIR and without threads.
        # An XLA_FLAGS of the caller, also an empty one, replaces these flags.
        quick_compilation = [
            "--xla_backend_optimization_level=0",
            "--xla_cpu_parallel_codegen_split_count=1",
        ]
        # XLA ends the process at a flag that it does not know: later versions dropped
        # this one.
        if importlib.metadata.version("jaxlib").startswith("0.10."):
            quick_compilation.append("--xla_cpu_use_fusion_emitters=false")
        os.environ.setdefault("XLA_FLAGS", " ".join(quick_compilation))

import jax
import pytest
from absl import flags

from tests import golden
from unmute_jax import console, distributed

jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
if not os.environ.get("UNMUTE_TEST_PLATFORM"):
    jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

# Commands and checks read absl flags, which pytest never parses.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


@pytest.fixture
def key():
    """A typed PRNG key, the same for every test."""
    return jax.random.key(0)


@pytest.fixture
def verbose():
    """Lets the library print what it is doing, as it does in commands."""
    console.set_verbose()
    yield
    console.set_verbose(False)


@pytest.fixture
def two_devices():
    """A mesh of two devices. Where there is only one, the test is skipped."""
    if jax.device_count() < 2:
        pytest.skip("needs two devices")
    return distributed.make_mesh(2)


def pytest_collection_finish(session):
    # What is imported stays: the garbage collector need not look at it again and again.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


# The parity table: each test notes what it compared and which golden arrays it read, in
# whichever process it ran.


def pytest_addoption(parser):
    parser.addoption("--parity-table", help="write golden errors to this Markdown file")
    parser.addoption(
        "--all-arrays",
        action="store_true",
        help="fail if the tests have left out any golden array of an encoder",
    )


@pytest.fixture(autouse=True)
def _golden_errors(request):
    golden.compared.clear()
    yield
    request.node.user_properties += [("golden", row) for row in golden.compared]
    request.node.user_properties.append(("read", sorted(golden.looked_up)))
    golden.looked_up.clear()


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        for key, value in report.user_properties:
            if key == "golden":
                _golden_rows.append((report.nodeid, *value))
            elif key == "read":
                _golden_reads.update(map(tuple, value))


def pytest_sessionfinish(session):
    # Only the controlling process has the reports of all others.
    if hasattr(session.config, "workerinput"):
        return
    if target := session.config.getoption("--parity-table"):
        pathlib.Path(target).write_text(_parity_table(sorted(_golden_rows)))
    if session.config.getoption("--all-arrays") and golden.unread(_golden_reads):
        session.exitstatus = session.exitstatus or 1
    shutil.rmtree(os.environ["UNMUTE_CACHE"], ignore_errors=True)


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--all-arrays"):
        for array in golden.unread(_golden_reads):
            terminalreporter.write_line(f"no test reads {array}", red=True)


_golden_rows: list[tuple[str, str, float, float, float, float]] = []
_golden_reads: set[tuple[str, str]] = set()


def _parity_table(rows) -> str:
    lines = [
        "| encoder | cases | arrays compared | largest error, of the allowed |",
        "|---|---:|---:|---:|",
    ]
    by_encoder = {}
    for node, *row in rows:
        by_encoder.setdefault(_encoder_of(node), []).append((node, *row))
    for name, found in sorted(by_encoder.items()):
        cases = len({node for node, *_ in found})
        share = max(row[-1] for row in found)
        lines.append(f"| {name} | {cases} | {len(found)} | {share:.0%} |")
    lines += [
        "",
        "| file | test | case | array | max abs error | atol | rtol | of the allowed |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for node, what, error, atol, rtol, share in rows:
        file, test, case = _parts(node)
        lines.append(
            f"| {file} | {test.replace('_', ' ')} | {case or ''} | {what} "
            f"| {error:.1e} | {atol:.0e} | {rtol:.0e} | {share:.0%} |"
        )
    return "\n".join(lines) + "\n"


def _parts(node) -> tuple[str, str, str | None]:
    return re.fullmatch(r"tests/(.*)\.py::test_(\w+)(?:\[(.*)\])?", node).groups()


def _encoder_of(node) -> str:
    """The encoder that a test is of, by its case or by its file."""
    # Imported here: beartype has to see the package before anything imports it.
    from unmute_jax.encoders import list_encoders

    file, _, case = _parts(node)
    names = sorted((n for n in list_encoders() if n[-1] != "+"), key=len, reverse=True)
    for text in (case or "", file.rpartition("test_")[2]):
        if name := next((n for n in names if text.startswith(n)), None):
            return name
    return "shared parts, probes"
