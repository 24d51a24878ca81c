"""Finds the sites of recordings in the names of their folders and files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from unmute_jax.datasets.own_clips import OwnEntry, with_groups


def sites_of(names: Sequence[str], pattern: str, where: str) -> dict[str, str]:
    """Returns the site of each recording.

    Without a pattern it is the first folder that not all recordings have in common; a
    recording outside such a folder is a site of its own.

    Args:
        names: The paths of the recordings, with forward slashes.
        pattern: A regular expression that finds the site in the name of every
            recording, see `own_clips.with_groups`; empty for the rule above.
        where: The place of the data set, for messages.

    Raises:
        InputError: The pattern is no regular expression, or finds nothing.
    """
    if pattern:
        entries = [OwnEntry(file=name, labels=()) for name in names]
        return {e.file: e.group for e in with_groups(entries, pattern, where)}
    folders = [name.split("/")[:-1] for name in names]
    # Folders, outermost first, as long as all recordings are in the same one.
    levels = zip(*folders, strict=False)
    shared = len(list(itertools.takewhile(lambda level: len(set(level)) == 1, levels)))
    return {
        name: folder[shared] if len(folder) > shared else name
        for name, folder in zip(names, folders, strict=True)
    }
