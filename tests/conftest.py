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
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{os.environ['UNMUTE_CACHE']}/compiled"
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


# The parity table: each test notes what it compared, in whichever process it ran.


def pytest_addoption(parser):
    parser.addoption("--parity-table", help="write golden errors to this Markdown file")


@pytest.fixture(autouse=True)
def _golden_errors(request):
    golden.compared.clear()
    yield
    request.node.user_properties += [("golden", row) for row in golden.compared]


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        rows = [row for key, row in report.user_properties if key == "golden"]
        _golden_rows.extend((report.nodeid, *row) for row in rows)


def pytest_sessionfinish(session):
    # Only the controlling process has the reports of all others.
    if hasattr(session.config, "workerinput"):
        return
    if target := session.config.getoption("--parity-table"):
        pathlib.Path(target).write_text(_parity_table(sorted(_golden_rows)))
    shutil.rmtree(os.environ["UNMUTE_CACHE"], ignore_errors=True)


_golden_rows: list[tuple[str, str, float, float, float]] = []


def _parity_table(rows) -> str:
    lines = [
        "| file | test | case | array | max abs error | atol | rtol |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    for node, what, error, atol, rtol in rows:
        file, test, case = re.fullmatch(
            r"tests/(.*)\.py::test_(\w+)(?:\[(.*)\])?", node
        ).groups()
        lines.append(
            f"| {file} | {test.replace('_', ' ')} | {case or ''} | {what} "
            f"| {error:.1e} | {atol:.0e} | {rtol:.0e} |"
        )
    return "\n".join(lines) + "\n"
