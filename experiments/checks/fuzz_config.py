"""Odd settings for `fuzz`: as dictionaries, and as values on the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import pathlib
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments.checks import mutated_json
from experiments.checks.fuzz_cases import (
    AS_BEFORE,
    OTHER_VALUES,
    REFUSED,
    Case,
    check_line,
    first_difference,
)
from unmute_jax.cli import program
from unmute_jax.config import Experiment, default_config, what_counts
from unmute_jax.errors import InputError
from unmute_jax.training.setup import check_probes

_DICTIONARY, _COMMAND_LINE = "dictionary", "command line"
# Values as they are typed, besides all numbers and texts of `mutated_json`.
_TYPED = (
    *("None", "none", "True", "yes", "1e3", "1.0", "0x10", "1_000", "1,2", "(1,2)"),
    *(
        "[1]",
        "0.1,",
        ",",
        "{}",
        "inf",
        "-inf",
        "nan",
        "1e-400",
        "9" * 5000,
        "-1",
        "--x",
    ),
    *("١", "½", "1 000", "'a'", '"a"', "linear,linear", "linear,mhca", "=", "a=b"),
)


@functools.cache
def _settings() -> dict[str, Any]:
    return Experiment().to_dict()


@functools.cache
def _keys() -> tuple[str, ...]:
    def names(values: dict[str, Any], before: str) -> list[str]:
        found = []
        for key, value in values.items():
            inside = isinstance(value, dict)
            found += names(value, f"{before}{key}.") if inside else [before + key]
        return found

    return tuple(names(_settings(), ""))


def prepare() -> None:
    """Imports what all inputs need."""
    check_probes(Experiment())


def make(rng: np.random.Generator) -> Case:
    """Makes odd settings.

    Args:
        rng: The source of all choices.
    """
    if rng.random() < 0.5:
        mutation, values = mutated_json.change(_settings(), rng)
        content = mutated_json.encode(values)
        return Case(kind=_DICTIONARY, mutation=mutation, files={"input": content})
    arguments = [
        f"--config.{_odd_key(rng)}={_odd_value(rng)}"
        for _ in range(int(rng.integers(1, 3)))
    ]
    return Case(
        kind=_COMMAND_LINE,
        mutation="an odd value on the command line",
        files={"input": json.dumps(arguments).encode()},
    )


def _odd_key(rng: np.random.Generator) -> str:
    key = _keys()[int(rng.integers(len(_keys())))]
    if rng.random() < 0.9:
        return key
    return str(
        rng.choice([key[:-1], f"{key}.x", "", ".", "é", key.upper(), "x" * 5000])
    )


def _odd_value(rng: np.random.Generator) -> str:
    texts = [t for t in mutated_json.TEXTS if "\ud800" not in t and "\0" not in t]
    numbers = [str(x) for x in mutated_json.NUMBERS if not isinstance(x, str)]
    values = [*_TYPED, *texts, *numbers]
    return values[int(rng.integers(len(values)))]


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Makes an experiment of settings, and opens its probes.

    Args:
        folder: Folder of the case.
        kind: The field of `Case`.
        may_differ: Not used.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: A setting is not what was given, or the message is not one
            short line.
    """
    text = (folder / "input").read_text("utf-8")
    try:
        made = _of_dictionary(text) if kind == _DICTIONARY else _of_arguments(text)
        check_probes(made)
    except InputError as error:
        check_line(str(error))
        return REFUSED
    # What was accepted can be written, read again, and named.
    again = Experiment.from_dict(
        json.loads(json.dumps(made.to_dict(), allow_nan=False))
    )
    assert first_difference(again.to_dict(), made.to_dict()) is None
    assert made.digest() == again.digest()
    assert made.default_workdir() == again.default_workdir()
    is_usual = what_counts(made.to_dict()) == what_counts(_settings())
    return AS_BEFORE if is_usual else OTHER_VALUES


def _of_dictionary(text: str) -> Experiment:
    try:
        values = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise InputError("such settings do not come from JSON") from error
    made = Experiment.from_dict(values)
    return _as_given(made, values)


def _as_given(made: Experiment, values: dict[str, Any]) -> Experiment:
    """Makes sure that the experiment has the values that were given."""
    for name, value in values.items():
        there = getattr(made, name)
        if dataclasses.is_dataclass(there):
            for inner, wanted in value.items():
                _assert_same(f"{name}.{inner}", getattr(there, inner), wanted)
        else:
            _assert_same(name, there, value)
    return made


def _assert_same(name: str, there: Any, wanted: Any) -> None:
    there = list(there) if isinstance(there, tuple) else there
    assert there == wanted, f"{name} is {there!r:.80}, and {wanted!r:.80} was given"


def _of_arguments(text: str) -> Experiment:
    """Parses a command line, as all commands do."""
    arguments = json.loads(text)
    for name in [n for n in flags.FLAGS if n.startswith("config.")]:
        delattr(flags.FLAGS, name)
    flags.FLAGS["config"].present = 0
    said = io.StringIO()
    # Libraries look there for options of the config.
    sys.argv = ["train", "--config=quickstart", *arguments]
    with contextlib.redirect_stderr(said):
        program.parse(sys.argv, "", None)
    assert not said.getvalue(), f"prints {said.getvalue()!r:.300}"
    made = program.experiment()
    for argument in arguments:
        name, _, typed = argument.removeprefix("--config.").partition("=")
        section, _, field = name.rpartition(".")
        there = getattr(getattr(made, section) if section else made, field)
        # The last one holds where a name is given twice.
        if sum(a.startswith(f"--config.{name}=") for a in arguments) == 1:
            _assert_as_typed(name, there, typed)
    return made


def _assert_as_typed(name: str, there: Any, typed: str) -> None:
    """Makes sure that a setting is what was typed."""
    if typed == "None":
        default = functools.reduce(getattr, name.split("."), default_config())
        assert there == default, f"{name}={typed} becomes {there!r:.80}"
    elif isinstance(there, bool):
        assert typed.lower() in ("true", "false", "t", "f", "1", "0", "yes", "no"), (
            f"{name}={typed!r:.40} becomes {there}"
        )
    elif isinstance(there, int | float):
        given = int(typed, 16) if typed.startswith("0x") else float(typed)
        assert given == there, f"{name}={typed!r:.40} becomes {there!r}"
    elif isinstance(there, str):
        assert typed.strip("'\"") == there.strip("'\""), (
            f"{name}={typed!r} is {there!r}"
        )
