"""Converts the published weights of an encoder into one file of this library.

unmute convert --encoder eat --input EAT-base_epoch30_pt.pt --output eat.safetensors \
    --verify
unmute convert --info --input EAT-base_epoch30_pt.pt
unmute convert --list

The output is one self-describing safetensors file. `load_encoder("eat", FILE)` opens it
at once and computes the same tokens as from the input, bit for bit. Every tensor of the
input is either used or known to be unnecessary, and every parameter is filled once;
otherwise nothing is written. `--verify` reads the output again, compares it with the
input bit by bit, and prints statistics of the tokens of a built-in signal, which two
people can compare. Without `--output` it prints the statistics of the input.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from unmute_jax.cli.ending import explained
from unmute_jax.cli.parser import Parser


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command with these arguments, by default those of this process."""
    with explained():
        arguments = parser().parse_args(argv)
        from unmute_jax.cli import conversion

        conversion.main(arguments)


def parser() -> Parser:
    """The parser of the arguments."""
    made = Parser("convert", __doc__, "--encoder=ENCODER [--OPTION=VALUE ...]")
    add = made.add_argument
    add(
        "--encoder",
        metavar="ENCODER",
        help="The encoder whose weights they are; `unmute encoders` lists all.",
    )
    add(
        "--input",
        metavar="FILE",
        help="A file, or the name of published weights. By default the published ones.",
    )
    add(
        "--output",
        metavar="FILE",
        type=pathlib.Path,
        help="The file to write, which ends in .safetensors.",
    )
    add(
        "--num_heads",
        metavar="N",
        type=int,
        help="The number of attention heads, where the file lacks it.",
    )
    add("--overwrite", action="store_true", help="Replace an output that exists.")
    add(
        "--verify",
        action="store_true",
        help="Compare the files, and print statistics of tokens.",
    )
    add("--info", action="store_true", help="Describe the input, then stop.")
    add(
        "--list",
        action="store_true",
        help="List the published weights (of --encoder, if given), then stop.",
    )
    return made


def run() -> None:
    """Runs the command with the arguments of this process."""
    main()
