"""Where things are kept between runs."""

import os
import pathlib

VARIABLE = "UNMUTE_CACHE"


def cache_dir(room: str) -> pathlib.Path:
    """The folder of one kind of cache; made by whoever first writes to it.

    Args:
        room: "datasets", "tokens", "weights" or "compiled".

    The environment variable `UNMUTE_CACHE` moves all of them; without it they are in
    `unmute_jax` under `XDG_CACHE_HOME` or `~/.cache`.
    """
    base = os.environ.get(VARIABLE)
    if base:
        return pathlib.Path(base).expanduser() / room
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return pathlib.Path(home).expanduser() / "unmute_jax" / room
