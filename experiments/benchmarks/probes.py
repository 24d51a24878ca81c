"""Times training steps of probes beside the same steps in PyTorch.

python -m experiments.benchmarks.probes --output probes.json

Our step is the one of training: forward and backward pass, asymmetric loss and AdamW,
on float32 tokens and on bfloat16 tokens, as they are stored by default. PyTorch's step
does the same in the usual way on float32 tokens. "unit" is PyTorch on tokens that were
normalised beforehand, and "GEMM" is the bare float32 product of all tokens and
prototypes. The contestants of a row take turns in one process. Times are medians in ms,
and "x" is the median of the ratios within a turn. "MB" is the memory that a step needs
beside its inputs and state: what XLA plans, and for PyTorch the growth of a separate
process. On a GPU both sides run there, PyTorch without TF32, and JAX has to leave
memory to it: XLA_PYTHON_CLIENT_PREALLOCATE=false. Run the benchmark on a machine that
does nothing else.

The tables are "protobin" (each of --sizes), "others" (each of --probes) and "trials"
(many trials at once against one after the other). PyTorch is optional:
pip install -e '.[bench]'.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax import lax

from experiments.benchmarks import torch_setup
from experiments.benchmarks.probe_steps import (
    Data,
    Ours,
    Theirs,
    in_torch,
    torch_device,
)
from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import write_atomically
from unmute_jax.training.data import unpack

COMPARED = ("mhca", "ep", "simpool", "abmilp")

TABLES = flags.DEFINE_list("tables", "protobin,others,trials", "The tables to make.")
SIZES = flags.DEFINE_list(
    "sizes",
    "10x20,50x20,527x10",
    "The sizes of protobin: classes x prototypes per class.",
)
PROBES = flags.DEFINE_list(
    "probes", ",".join(COMPARED), "The probes of the other two tables."
)
CLASSES = flags.DEFINE_integer("classes", 50, "The classes of the other two tables.")
TRIALS = flags.DEFINE_integer(
    "trials", 8, "The number of trials that are trained at once."
)
SHAPE = flags.DEFINE_string(
    "shape", "128x64x8x768", "Clips x time steps x frequency patches x features."
)
REPEATS = flags.DEFINE_integer("repeats", 7, "The number of turns that are measured.")
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny sizes, to see that the program runs."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A JSON file for everything that is measured."
)

Row = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Measures row by row, and prints and saves each row at once."""
    program.only_options(arguments)
    for name in PROBES.value:
        if name not in COMPARED:
            raise unknown_name("probe", name, COMPARED)
    makers = {"protobin": protobin_rows, "others": other_rows, "trials": trial_rows}
    for name in TABLES.value:
        if name not in makers:
            raise unknown_name("table", name, makers)
    shape, torch = _shape(), _torch()
    record: Row = {"machine": _machine(torch), "shape": shape, "repeats": _repeats()}
    print(", ".join(f"{k} {v}" for k, v in record["machine"].items()))
    print(f"{shape[0]} clips of {shape[1]} x {shape[2]} tokens of {shape[3]} features")
    for table in TABLES.value:
        rows = record[table] = []
        for row in makers[table](shape, torch):
            rows.append(row)
            _print_last(rows)
            if OUTPUT.value:
                _write(OUTPUT.value, record)


def _write(path: str, record: Row) -> None:
    """Writes all rows so far, and the most memory that the device had in use."""
    stats = jax.devices()[0].memory_stats() or {}
    record["device peak bytes"] = stats.get("peak_bytes_in_use")
    write_atomically(path, json.dumps(record, indent=1) + "\n")


def protobin_rows(shape: tuple[int, ...], torch: Any) -> Iterator[Row]:
    """Yields a row per size: the step, and the bare product in it."""
    for c, j in _sizes():
        data, p = Data.draw(shape, c), c * j
        ours = {
            kind: Ours("protobin", data, dtype, prototypes_per_class=j)
            for kind, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16))
        }
        products = {f"XLA GEMM {k}": _gemm(o, p) for k, o in ours.items()}
        theirs: dict[str, Theirs] = {}
        if torch is not None:
            for label, name in (("PyTorch", "protobin"), ("unit", "protobin_unit")):
                theirs[label] = Theirs(torch, name, data, ours["float32"], p)
            products["PyTorch GEMM"] = _torch_gemm(torch, data, p)
        agree = _agreement(ours["float32"], theirs.get("PyTorch"))
        ms = _take_turns(f"protobin {c} x {j}", {**ours, **products, **theirs})
        for label, step in theirs.items():
            ms[label] /= step.share
        flops = 2 * np.prod(shape) * p
        row: Row = {"classes": c, "prototypes": p}
        row |= {f"{k} ms": float(np.median(v)) for k, v in ms.items()}
        row |= {f"{k} GF/s": float(flops / np.median(ms[k]) / 1e6) for k in products}
        row |= {f"{k} MB": o.megabytes for k, o in ours.items()}
        if torch is not None:
            row |= _against(ms)
            row["float32 / PyTorch GEMM"] = _ratio(ms, "float32", "PyTorch GEMM")
            row["PyTorch MB"] = theirs["PyTorch"].megabytes()
            row["PyTorch clips"] = theirs["PyTorch"].clips
            row["losses differ by"] = agree
        yield row


def other_rows(shape: tuple[int, ...], torch: Any) -> Iterator[Row]:
    """Yields a row per probe that pools by attention."""
    for name in PROBES.value:
        data = Data.draw(shape, CLASSES.value)
        ours = {
            kind: Ours(name, data, dtype)
            for kind, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16))
        }
        theirs: dict[str, Theirs] = {}
        if torch is not None:
            # Keys, values or a hidden layer are as wide as the tokens.
            wide = 2 * shape[-1]
            theirs["PyTorch"] = Theirs(torch, name, data, ours["float32"], wide)
        agree = _agreement(ours["float32"], theirs.get("PyTorch"))
        ms = _take_turns(name, {**ours, **theirs})
        row: Row = {"probe": name}
        row |= {f"{k} ms": float(np.median(v)) for k, v in ms.items()}
        row |= {f"{k} MB": o.megabytes for k, o in ours.items()}
        if torch is not None:
            row |= _against(ms)
            row["PyTorch MB"] = theirs["PyTorch"].megabytes()
            row["losses differ by"] = agree
        yield row


def trial_rows(shape: tuple[int, ...], torch: Any) -> Iterator[Row]:
    """Yields a row per probe: many trials in one step, and as many single steps."""
    del torch
    count = TRIALS.value
    for name in ("linear", "protobin", *PROBES.value):
        data = Data.draw(shape, CLASSES.value)
        one = Ours(name, data, jnp.bfloat16)
        many = Ours(name, data, jnp.bfloat16, count=count)

        def in_turn(one: Ours = one) -> None:
            for _ in range(count):
                one()

        ms = _take_turns(f"{name} x{count}", {"in turn": in_turn, "at once": many})
        yield {
            "probe": name,
            "trials": count,
            "in turn ms": float(np.median(ms["in turn"])),
            "at once ms": float(np.median(ms["at once"])),
            "x": _ratio(ms, "in turn", "at once"),
            "at once MB": many.megabytes,
        }


def _take_turns(
    label: str, contestants: dict[str, Callable[[], Any]]
) -> dict[str, np.ndarray]:
    """Milliseconds of each contestant in each turn, after a turn that warms up."""
    turns = _repeats()
    ms = {name: np.zeros(turns) for name in contestants}
    with progress(label, turns + 1, unit="turns") as advance:
        for turn in range(-1, turns):
            for name, call in contestants.items():
                started = time.perf_counter()
                call()
                passed = 1e3 * (time.perf_counter() - started)
                if turn >= 0:
                    ms[name][turn] = passed
            advance(1)
    return ms


def _ratio(ms: dict[str, np.ndarray], slow: str, fast: str) -> float:
    return float(np.median(ms[slow] / ms[fast]))


def _against(ms: dict[str, np.ndarray]) -> Row:
    kinds = ("float32", "bfloat16")
    return {f"{kind} x": _ratio(ms, "PyTorch", kind) for kind in kinds}


def _agreement(ours: Ours, theirs: Theirs | None) -> float | None:
    """The largest relative difference between the losses of the first three steps.

    From the second step on, the losses also test the backward pass and AdamW.
    """
    if theirs is None or theirs.share < 1:
        return None
    pairs = [(ours(), theirs()) for _ in range(3)]
    return max(abs(a - b) / b for a, b in pairs)


def _gemm(ours: Ours, p: int) -> Callable[[], Any]:
    """XLA's product for all scores `[P, B * N]`, accumulated in float32."""
    tokens: Any = unpack(ours.batch.packed)
    rows = tokens.patches.reshape(-1, tokens.patches.shape[-1])
    bank = jnp.ones((p, rows.shape[1]), rows.dtype)

    @jax.jit
    def product(bank: jax.Array, rows: jax.Array) -> jax.Array:
        return jnp.einsum(
            "pd,nd->pn",
            bank,
            rows,
            precision=lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )

    return lambda: product(bank, rows).block_until_ready()


def _torch_gemm(torch: Any, data: Data, p: int) -> Callable[[], Any]:
    """PyTorch's product for all scores."""
    d = data.patches.shape[-1]
    rows, device = in_torch(torch, data.patches).reshape(-1, d), torch_device(torch)
    bank = torch.ones(p, d, device=device)
    scores = torch.empty(len(rows), p, device=device)
    return torch_setup.waited_for(
        lambda: torch.mm(rows, bank.T, out=scores), torch, device
    )


def _torch() -> Any:
    """The module torch, or None with a message if it is not installed."""
    try:
        torch = importlib.import_module("torch")
        return torch_setup.start(torch_device(torch))
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install -e '.[bench]'", file=sys.stderr)
        return None


def _machine(torch: Any) -> Row:
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "torch": torch and torch.__version__,
    }


def _repeats() -> int:
    return 2 if SMALL.value else REPEATS.value


def _shape() -> tuple[int, ...]:
    return _numbers("--shape", "4x4x2x96" if SMALL.value else SHAPE.value, 4)


def _sizes() -> list[tuple[int, ...]]:
    sizes = ("3x2",) if SMALL.value else SIZES.value
    return [_numbers("--sizes", size, 2) for size in sizes]


def _numbers(flag: str, text: str, count: int) -> tuple[int, ...]:
    """Parses a text such as 10x20.

    Raises:
        InputError: The text does not have `count` positive numbers.
    """
    parts = text.split("x")
    if len(parts) != count or not all(p.isdecimal() and int(p) for p in parts):
        wanted = "x".join("2" * count)
        raise InputError(f"{flag}: {text!r} is not {count} numbers like {wanted}")
    return tuple(map(int, parts))


def _print_last(rows: list[Row]) -> None:
    """Prints the last row as Markdown, after the header if it is the first."""
    if len(rows) == 1:
        print("\n| " + " | ".join(rows[0]) + " |")
        print("|" + " --- |" * len(rows[0]))
    cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in rows[-1].values())
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
