"""The files of a token store: on a local disk or in a bucket, whole or not at all.

A place is a folder or a URL that tensorstore knows ("gs://bucket/folder"). Everything
that a store reads or writes goes through here or through arrays that `token_format`
opens with the same `CONTEXT`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import re
from collections.abc import Generator
from typing import Any

import tensorstore as ts

from unmute_jax.errors import InputError

Place = pathlib.Path | str
# How tensorstore begins where a bucket did not give or take what there may well be.
_NO_ANSWER = re.compile(
    r"((?:PERMISSION_DENIED|UNAUTHENTICATED|ABORTED|UNAVAILABLE|DEADLINE_EXCEEDED|"
    r"RESOURCE_EXHAUSTED|CANCELLED): [^\[\n]*[^\[\n ]|"
    r"NOT_FOUND: [^\[\n]*[^\[\n ](?= \[http_response_code))"
)
# Shared, so that "memory://" is the same memory for all who open it.
CONTEXT = ts.Context()


class DamagedStore(InputError):
    """The bytes of a store are not those that were written.

    Attributes:
        why: What is wrong, without the name of the store.
    """

    def __init__(self, place: Place, why: object):
        """`why` may be an error of tensorstore; its first line is kept."""
        self.why = str(why).splitlines()[0][:300]
        super().__init__(
            f"token store {place} is damaged ({self.why}): embed again, what is "
            "damaged is made again"
        )


def place_of(root: str | pathlib.Path) -> Place:
    """A URL as it is, without a slash at its end; anything else as a path."""
    text = str(root)
    return text.rstrip("/") if "://" in text else pathlib.Path(root)


def inside(root: Place, name: str) -> Place:
    """The folder `name` in `root`."""
    return f"{root}/{name}" if isinstance(root, str) else root / name


def parent_of(place: Place) -> Place:
    """The place that holds this one."""
    return place.rpartition("/")[0] if isinstance(place, str) else place.parent


def key_value_store(place: Place, name: str = "") -> str | dict[str, Any]:
    """What tensorstore calls the folder `name` of `place`."""
    if isinstance(place, str):
        return f"{place}/{name}/" if name else f"{place}/"
    return {"driver": "file", "path": f"{place.absolute() / name}/"}


def folder(place: Place) -> ts.KvStore:
    """The files at `place`. Each is put in its place whole or not at all."""
    return ts.KvStore.open(key_value_store(place), context=CONTEXT).result()


def list_files(place: Place, prefix: str = "") -> list[str]:
    """Names of the files at `place` that begin with `prefix`."""
    # The least string after all that begin with it; the empty one is no bound.
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else ""
    with clear_errors(place):
        names = folder(place).list(ts.KvStore.KeyRange(prefix, end)).result()
    return [name.decode() for name in names]


def read_file(place: Place, name: str) -> bytes | None:
    """What a file holds; None where there is none."""
    with clear_errors(place):
        found = folder(place).read(name).result()
    return found.value if found.state == "value" else None


def write_file(place: Place, name: str, content: bytes | None) -> None:
    """Writes a file and returns when it is on disk; None takes it away."""
    with clear_errors(place):
        folder(place).write(name, content).result()


def sealed(value: dict[str, Any], *, indent: int | None = None) -> bytes:
    """`value` as JSON, with a last member that tells whether a byte was altered."""
    body = json.dumps(value, indent=indent).encode()
    return body[:-1] + _seal(body)


def unsealed(data: bytes) -> dict[str, Any]:
    """The way back from `sealed`.

    Raises:
        ValueError: The bytes are not those that were written.
    """
    seal = len(_seal(b""))
    body = data[:-seal] + b"}"
    if data[-seal:] != _seal(body):
        raise ValueError("its checksum does not match")
    return json.loads(body)


def _seal(body: bytes) -> bytes:
    return b', "checksum": "%s"}' % hashlib.sha256(body).hexdigest()[:16].encode()


@contextlib.contextmanager
def clear_errors(place: Place) -> Generator[None, None, None]:
    """Turns what tensorstore and JSON raise into one line for a person."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        refusal = re.search(r": ([^:]+) \[os_error_code", str(error))
        refusal = refusal or _NO_ANSWER.match(str(error))
        if refusal is not None:
            raise InputError(f"token store {place}: {refusal[1]}") from error
        raise DamagedStore(place, error) from error
