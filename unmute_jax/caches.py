"""Where things are kept between runs."""

import os
import pathlib

from unmute_jax.errors import InputError

VARIABLE = "UNMUTE_CACHE"
TOKENS = "UNMUTE_TOKENS"


def cache_dir(room: str) -> pathlib.Path:
    """The folder of one kind of cache; made by whoever first writes to it.

    Args:
        room: "datasets", "tokens", "weights" or "compiled".

    The environment variable `UNMUTE_CACHE` moves all of them; without it they are in
    `unmute_jax` under `XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        InputError: The variable holds a URL.
    """
    base = os.environ.get(VARIABLE)
    if base and "://" in base:
        raise InputError(f"{VARIABLE}={base}: must be a folder; {TOKENS} may be a URL")
    if base:
        return pathlib.Path(base).expanduser() / room
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return pathlib.Path(home).expanduser() / "unmute_jax" / room


def token_root() -> str | pathlib.Path:
    """The place of all token stores, which are by far the largest.

    The environment variable `UNMUTE_TOKENS`, a folder or a URL ("gs://bucket/folder"),
    moves them alone; without it they are in `cache_dir("tokens")`.
    """
    root = os.environ.get(TOKENS)
    if not root:
        return cache_dir("tokens")
    return root if "://" in root else pathlib.Path(root).expanduser()
