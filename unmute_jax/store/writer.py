"""Token maps kept on disk: made once, read at random, checked on every read.

`embedding.embed` fills a store; `token_format` says how it lies on disk, `token_key`
what it is found by.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from unmute_jax.store.clip_reads import checks_of
from unmute_jax.store.files import (
    DamagedStore,
    clear_errors,
    folder,
    place_of,
    sealed,
    write_file,
)
from unmute_jax.store.key import MANIFEST
from unmute_jax.store.layout import (
    CHECKS,
    MARKS,
    Layout,
    check_same,
    descriptions,
    read_manifest,
    shard_file,
    unsound_shards,
)
from unmute_jax.store.reader import TokenStore


class TokenWriter:
    """Fills a store shard by shard; an interrupted one goes on where it stopped.

    Any number of processes may write to one store.
    """

    def __init__(self, path: str | pathlib.Path, manifest: dict[str, Any]):
        """Makes the store, or opens what earlier passes left of it.

        Args:
            path: The folder, or the URL of one.
            manifest: Of `new_manifest`.

        Raises:
            InputError: The folder holds something else, or cannot be written.
        """
        self.path, self.manifest = place_of(path), manifest
        self.layout = Layout.of(manifest)
        try:
            found = read_manifest(self.path)
        except DamagedStore:
            found = None
        if found is None:
            self._put_manifest(manifest)
        else:
            check_same(self.path, found, manifest)
        for name, data in descriptions(self.layout).items():
            write_file(self.path, name, data)

    def pending(self) -> list[int]:
        """The shards that are to be made, in order."""
        return list(unsound_shards(self.path, self.layout))

    def write(
        self, shard: int, rows: dict[str, np.ndarray], clips: list[dict[str, Any]]
    ) -> None:
        """Writes one shard and returns when it is on disk.

        Args:
            shard: Its index.
            rows: Per array of the store but the checks, the rows of all its clips.
            clips: Per clip: "id" and "events".

        Raises:
            InputError: The disk does not take it.
        """
        layout, files = self.layout, folder(self.path)
        large = [name for name in CHECKS if name in rows]
        rows = rows | {CHECKS[name]: checks_of(rows[name]) for name in large}
        with clear_errors(self.path):
            writes = [files.write(f"clips/{shard}", sealed({"clips": clips}))]
            for name in rows.keys() - {"patches"}:
                data = shard_file(layout, name, shard, rows[name])
                writes.append(files.write(layout.file(name, shard), data))
            for write in writes:
                write.result()
            # Last, for they say that the shard is finished; then it is sound again.
            data = shard_file(layout, "patches", shard, rows["patches"])
            files.write(layout.file("patches", shard), data).result()
            files.write(f"{MARKS}{shard}", None).result()

    def finish(self) -> TokenStore:
        """Marks the store as complete.

        Raises:
            RuntimeError: Some shards have not been written.
        """
        if pending := self.pending():
            raise RuntimeError(f"shards {pending} of {self.path} are not written")
        self._put_manifest({**self.manifest, "complete": True})
        return TokenStore.open(self.path)

    def _put_manifest(self, manifest: dict[str, Any]) -> None:
        write_file(self.path, MANIFEST, sealed(manifest, indent=1))
