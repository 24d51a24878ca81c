"""Errors that a person can act on."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What the user gave is wrong; the message says what, where, and what is right.

    The programs print the message alone, as one line or a short list, and stop.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a mistyped name, with the nearest right ones.

    Args:
        kind: What was to be named ("encoder", "probe", "config key").
        name: What was given.
        known: All right names.
    """
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listing = f"known: {', '.join(options)}"
    return InputError(f"unknown {kind} {name!r}: {hint or listing}")


def one_line(text: str, limit: int = 1000) -> str:
    """`text` fit to be printed: names in a file of others may hold anything."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[:limit]} ..."
