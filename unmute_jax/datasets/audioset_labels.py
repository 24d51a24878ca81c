"""The 527 classes of AudioSet, and the class names of fine-tuned encoders.

The list is `class_labels_indices.csv` of AudioSet (Gemmeke et al. 2017), CC BY 4.0, by
Google Inc.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any

from unmute_jax.errors import InputError


@functools.cache
def classes() -> dict[str, str]:
    """Returns the name of each identifier ("/m/09x0r": "Speech"), in official order."""
    folder = importlib.resources.files("unmute_jax") / "assets" / "audioset"
    text = (folder / "class_labels_indices.csv").read_text("utf-8")
    return {
        row["mid"]: row["display_name"] for row in csv.DictReader(text.splitlines())
    }


def head_names(outputs: int | None, identifiers: Any, source: str) -> tuple[str, ...]:
    """Returns the class names of a head that was loaded with the weights.

    Args:
        outputs: Number of outputs; None without a head.
        identifiers: Identifier of each output, if the file lists them, as that of BEATs
            does, which has its own order; otherwise the order is AudioSet's.
        source: Name of the weights, for the message.

    Returns:
        The names. Identifiers that AudioSet does not have stay as they are. Nothing if
        the classes are neither listed nor AudioSet's.

    Raises:
        InputError: The list does not name every output.
    """
    names = classes()
    if outputs is None:
        return ()
    if isinstance(identifiers, Mapping):
        if {str(key) for key in identifiers} != {str(i) for i in range(outputs)}:
            raise InputError(
                f"{source}: its list of {len(identifiers)} labels does not name the "
                f"{outputs} outputs of its head"
            )
        if not all(isinstance(value, str) for value in identifiers.values()):
            raise InputError(f"{source}: its labels are not all words")
        listed = {int(key): str(value) for key, value in identifiers.items()}
        return tuple(names.get(listed[i], listed[i]) for i in range(outputs))
    return tuple(names.values()) if outputs == len(names) else ()
