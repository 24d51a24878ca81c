"""Reads and writes the files of a token store, on a local disk or in a bucket.

A store lies in a local folder or at a URL that tensorstore knows
("gs://bucket/folder"). Files are written whole or not at all. Everything that a store
reads or writes passes through this module, or through arrays that `layout` opens with
the same `CONTEXT`.
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

from unmute_jax.errors import InputError, one_line
from unmute_jax.io import parse_json

PathOrUrl = pathlib.Path | str
# How tensorstore's message begins where a bucket refused a request or did not answer.
_REFUSED = re.compile(
    r"((?:PERMISSION_DENIED|UNAUTHENTICATED|ABORTED|UNAVAILABLE|DEADLINE_EXCEEDED|"
    r"RESOURCE_EXHAUSTED|CANCELLED): [^\[\n]*[^\[\n ]|"
    r"NOT_FOUND: [^\[\n]*[^\[\n ](?= \[http_response_code))"
)
# A bucket that does not answer is given up after two minutes instead of fifteen.
_RETRIES = {"max_retries": 8}
# Shared, so that "memory://" is the same memory for everything that opens it.
CONTEXT = ts.Context({"gcs_request_retries": _RETRIES, "s3_request_retries": _RETRIES})


class DamagedStoreError(InputError):
    """Raised when the bytes of a store are not those that were written.

    Attributes:
        why: The fault, without the name of the store.
    """

    def __init__(self, store: PathOrUrl, why: object):
        """Creates the error.

        Args:
            store: The damaged store.
            why: The fault: a text, or an error of tensorstore, of which the first
                line is used.
        """
        # Behind the reason, tensorstore repeats how the array was opened.
        first = str(why).partition("\n")[0].partition(" [tensorstore_spec=")[0]
        self.why = one_line(first, 200)
        super().__init__(
            f"token store {store} is damaged ({self.why}): embed again, and the "
            "damaged part will be recomputed"
        )


def path_or_url(root: str | pathlib.Path) -> PathOrUrl:
    """Returns a URL without the slash at its end, and anything else as a path."""
    text = str(root)
    return text.rstrip("/") if "://" in text else pathlib.Path(root)


def subfolder(root: PathOrUrl, name: str) -> PathOrUrl:
    """Returns the folder `name` in `root`."""
    return f"{root}/{name}" if isinstance(root, str) else root / name


def parent_folder(folder: PathOrUrl) -> PathOrUrl:
    """Returns the folder that contains `folder`."""
    return folder.rpartition("/")[0] if isinstance(folder, str) else folder.parent


def kvstore_spec(folder: PathOrUrl, name: str = "") -> str | dict[str, Any]:
    """Returns tensorstore's specification of `folder`, or of a folder in it."""
    if isinstance(folder, str):
        return f"{folder}/{name}/" if name else f"{folder}/"
    return {"driver": "file", "path": f"{folder.absolute() / name}/"}


def open_kvstore(folder: PathOrUrl) -> ts.KvStore:
    """Opens a folder as a key-value store of files, which are written atomically."""
    return ts.KvStore.open(kvstore_spec(folder), context=CONTEXT).result()


def list_files(folder: PathOrUrl, prefix: str = "") -> list[str]:
    """Returns the names of the files in `folder` that begin with `prefix`."""
    # The smallest string behind all with this prefix. An empty one is no bound.
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else ""
    with translate_errors(folder):
        names = open_kvstore(folder).list(ts.KvStore.KeyRange(prefix, end)).result()
    return [name.decode() for name in names]


def read_file(folder: PathOrUrl, name: str) -> bytes | None:
    """Returns the content of a file, or None if there is no such file."""
    with translate_errors(folder):
        result = open_kvstore(folder).read(name).result()
    return result.value if result.state == "value" else None


def write_file(folder: PathOrUrl, name: str, content: bytes | None) -> None:
    """Writes a file and returns when it is on disk; None deletes the file."""
    with translate_errors(folder):
        open_kvstore(folder).write(name, content).result()


def to_checked_json(value: dict[str, Any], *, indent: int | None = None) -> bytes:
    """Encodes `value` as JSON whose last member is a checksum of the rest."""
    body = json.dumps(value, indent=indent).encode()
    return body[:-1] + _checksum_member(body)


def from_checked_json(data: bytes) -> dict[str, Any]:
    """Decodes the result of `to_checked_json`.

    Raises:
        ValueError: If the bytes are not those that were written.
    """
    length = len(_checksum_member(b""))
    body = data[:-length] + b"}"
    if data[-length:] != _checksum_member(body):
        raise ValueError("its checksum does not match")
    value = parse_json(body)
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _checksum_member(body: bytes) -> bytes:
    return b', "checksum": "%s"}' % hashlib.sha256(body).hexdigest()[:16].encode()


@contextlib.contextmanager
def translate_errors(store: PathOrUrl) -> Generator[None, None, None]:
    """Turns errors of tensorstore and of JSON into errors of one line.

    Raises:
        InputError: If the disk or the bucket refused, with its reason.
        DamagedStoreError: On any other `ValueError`.
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        refusal = re.search(r": ([^:]+) \[os_error_code", str(error))
        refusal = refusal or _REFUSED.match(str(error))
        if refusal is not None:
            raise InputError(f"token store {store}: {refusal[1]}") from error
        raise DamagedStoreError(store, error) from error
