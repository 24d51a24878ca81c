"""Errors whose messages tell the user what to do."""

import difflib
import itertools
import os
from collections.abc import Iterable

# The most characters of a name, and of a list of names, in a message.
_LONG_NAME, _LONG_LISTING = 80, 250


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
    # The time that a comparison takes grows with the square of the length.
    near = near or difflib.get_close_matches(name[:_LONG_NAME], options, 3, 0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    place = f"{os.fspath(where)}: " if where else ""
    shown = repr(one_line(name, _LONG_NAME))
    return InputError(f"{place}unknown {kind} {shown}: {hint or _listing(options)}")


def _listing(options: list[str]) -> str:
    """Lists as many of the known names as are read in a message."""
    lengths = itertools.accumulate(len(option) + 2 for option in options)
    count = sum(length <= _LONG_LISTING for length in lengths)
    more = f" and {len(options) - count} more" if count < len(options) else ""
    return f"known: {', '.join(options[:count])}{more}"


def one_line(text: str, limit: int = 1000) -> str:
    """Returns `text` as one printable line, as a foreign file may contain anything.

    Args:
        text: Any text.
        limit: Number of characters after which the line is cut off.
    """
    shown = "".join(c if _is_shown(c) else " " for c in text[: 4 * limit])
    line = " ".join(shown.split())
    return line if len(line) <= limit else f"{line[:limit]} ..."


def printable(text: str) -> str:
    """Returns a message for a terminal, which would obey some of its characters.

    Line breaks stay. Other characters that are not printed, such as the one that begins
    a command to the terminal, are written as escapes of Python.

    Args:
        text: Any text.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c == "\n" or _is_shown(c) else c.encode("unicode_escape").decode()
        for c in text
    )


def _is_shown(character: str) -> bool:
    # The joiners are letters of some scripts, and parts of emoji.
    return character.isprintable() or character in "\u200c\u200d"
