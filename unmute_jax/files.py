"""Writing files so that a stop leaves the old one or the new, never a half."""

import os
import pathlib


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to a temporary neighbour and renames it to `path`."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
