"""Checks within a minute whether the results of an encoder can be trusted.

unmute check-encoder my_module:MyEncoder
unmute check-encoder eat --weights=untrained
unmute check-encoder my_module:MyEncoder --option layer=9 --seconds=10

The command prints one line per check: PASS, NOTE for what is good to know, and FAIL for
what would spoil results. The exit code is 1 if any check fails. The docstring of
`unmute_jax/encoders/custom.py` describes how to write an encoder class.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

from absl import flags

from unmute_jax.cli import program
from unmute_jax.errors import InputError

USAGE = "ENCODER [--OPTION=VALUE ...]"
WEIGHTS = flags.DEFINE_string(
    "weights", None, 'The file of the weights, or "untrained".'
)
SECONDS = flags.DEFINE_float(
    "seconds", 5.0, "The length of the test clips in seconds.", lower_bound=0.1
)
OPTION = flags.DEFINE_multi_string(
    "option",
    [],
    "An option of the encoder as name=value. It may be given several times.",
)


def main(names: list[str]) -> None:
    """Loads the encoder, checks it and prints the findings."""
    with program.importing():
        from unmute_jax.encoders import list_encoders, load_encoder
        from unmute_jax.store.encoder_check import FAIL, check_encoder

    if len(names) != 1:
        known = ", ".join(list_encoders())
        raise InputError(f"name one encoder: my_module:MyEncoder, or one of {known}")
    untrained = WEIGHTS.value == "untrained"
    options = dict(map(_option, OPTION.value))
    failed = 0
    findings = check_encoder(
        lambda: load_encoder(
            names[0],
            None if untrained else WEIGHTS.value,
            weights="untrained" if untrained else None,
            **options,
        ),
        SECONDS.value,
    )
    for finding in findings:
        failed += finding.verdict == FAIL
        print(f"{finding.verdict}  {finding.check:18}  {finding.value}", flush=True)
    print(f"{failed} failed" if failed else "nothing failed")
    sys.exit(1 if failed else 0)


def _option(text: str) -> tuple[str, Any]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise InputError(f"--option={text}: must be name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, usage=USAGE) as arguments:
        main(arguments)
