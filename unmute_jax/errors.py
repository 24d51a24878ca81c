"""Errors whose messages tell the user what to do."""

import difflib
import os
from collections.abc import Iterable


class InputError(ValueError):
    """An error in the user's input: what is wrong, where, and what would be right.

    Programs print only the message, one line or a short list, and stop.
    """


def unknown_name(
    kind: str, name: str, known: Iterable[str], where: str | os.PathLike[str] = ""
) -> InputError:
    """Returns the error for an unknown name, with the most similar known ones.

    Args:
        kind: The kind of name ("encoder", "probe", "config key").
        name: The unknown name.
        known: All known names.
        where: Place of the name, such as "clips.csv, line 8", which begins the message.
    """
    options = sorted(set(known))
    near = [option for option in options if option.casefold() == name.casefold()]
    near = near or difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listing = f"known: {', '.join(options)}"
    place = f"{os.fspath(where)}: " if where else ""
    return InputError(f"{place}unknown {kind} {name!r}: {hint or listing}")


def one_line(text: str, limit: int = 1000) -> str:
    """Returns `text` as one printable line, as a foreign file may contain anything.

    Args:
        text: Any text.
        limit: Number of characters after which the line is cut off.
    """
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[:limit]} ..."
