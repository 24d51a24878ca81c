"""Writes a trained protobin as a small file with one bit per prototype weight.

unmute export --workdir RUN --output urban.safetensors

`unmute_jax/inference/one_bit.py` reads the file with NumPy alone. Copy that module to
the device.
"""

from __future__ import annotations

import pathlib

from absl import flags

from unmute_jax.cli import program
from unmute_jax.errors import InputError

USAGE = "--workdir=RUN --output=FILE [--OPTION=VALUE ...]"
OUTPUT = flags.DEFINE_string("output", None, "The file to write.")
SEED = flags.DEFINE_integer(
    "seed",
    None,
    "The seed of the training. By default the one with the best validation score.",
)
PROTOCOL = flags.DEFINE_string(
    "protocol",
    None,
    "The protocol (fold), where the run has several. By default the one with the best "
    "validation score.",
)
DENSE = flags.DEFINE_string(
    "dense", "float16", "The type of the dense layer: float16 or int8."
)


def main(arguments: list[str]) -> None:
    """Exports the probe and prints the sizes of its parts."""
    program.only_options(arguments)
    workdir = program.required(program.WORKDIR)
    output = pathlib.Path(program.required(OUTPUT)).expanduser()
    if output.exists():
        raise InputError(f"{output} already exists: name another file")
    with program.importing():
        import jax

        from unmute_jax.inference.export import export_probe
        from unmute_jax.results.trained import load_trained

    trained = load_trained(
        workdir, probe="protobin", seed=SEED.value, protocol=PROTOCOL.value
    )
    sizes = export_probe(trained, output, dense=str(DENSE.value))
    count, width = trained.params["prototypes"].shape
    float32 = sum(x.nbytes for x in jax.tree.leaves(trained.params))
    print(
        f"protobin, {trained.dataset}, {trained.protocol}, seed {trained.seed}, "
        f"validation {100 * trained.validation:.2f}\n"
        f"prototypes  {sizes['prototypes']:>10,} bytes, {count} x {width} bits\n"
        f"dense layer {sizes['dense']:>10,} bytes, {DENSE.value}\n"
        f"whole file  {sizes['file']:>10,} bytes; {float32:,} in float32\n"
        f"written to {output}"
    )


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, usage=USAGE) as arguments:
        main(arguments)
