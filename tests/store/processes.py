"""Runs one of several processes that embed a data set together.

python -m tests.store.processes ROOT PORT PROCESS COUNT
"""

import sys

import jax

from tests.store.fakes import fake_dataset, fake_encoder, unhashed_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed


def refuse_together(root, process):
    """Tokens that are stale for the first process are refused by all of them."""
    few = fake_dataset(5)
    embed(unhashed_encoder(0), few, "train", root=root)
    try:
        embed(unhashed_encoder(1 - process), few, "train", root=root)
    except InputError as error:
        print("refused", error)


if __name__ == "__main__":
    root, port, process, count = sys.argv[1], *map(int, sys.argv[2:])
    jax.distributed.initialize(f"localhost:{port}", count, process)
    dataset = fake_dataset()
    store = embed(fake_encoder(), dataset, "train", root=root, batch_size=7)
    assert store.n == len(dataset.source_of("train"))
    print("read", *sorted(dataset.opened))
    refuse_together(f"{root}/stale", process)
