"""Prints what JAX and PyTorch find on this machine, as JSON.

JAX_PLATFORMS=cuda python -m experiments.benchmarks.device_facts
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
from typing import Any

import jax
from absl import flags

from unmute_jax.cli import program
from unmute_jax.io import write_atomically

OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the facts.")


def main(arguments: list[str]) -> None:
    """Prints the facts, and writes them to the file."""
    program.only_options(arguments)
    text = json.dumps(facts(), indent=1) + "\n"
    print(text, end="")
    if OUTPUT.value:
        write_atomically(OUTPUT.value, text)


def facts() -> dict[str, Any]:
    """The devices of JAX, their memory in bytes, and versions."""
    devices = jax.devices()
    stats = devices[0].memory_stats() or {}
    return {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "bytes_limit": stats.get("bytes_limit"),
        "runtime": devices[0].client.platform_version,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        **_of_torch(),
    }


def _of_torch() -> dict[str, Any]:
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return {"torch": None}
    return {"torch": torch.__version__, "torch_finds_cuda": torch.cuda.is_available()}


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
