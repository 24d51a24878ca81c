"""Runs one of several processes that embed a data set together.

python -m tests.store.processes ROOT PORT PROCESS COUNT
"""

import sys

import jax

from tests.store.fakes import fake_dataset, fake_encoder
from unmute_jax.store.embed import embed

if __name__ == "__main__":
    root, port, process, count = sys.argv[1], *map(int, sys.argv[2:])
    jax.distributed.initialize(f"localhost:{port}", count, process)
    dataset = fake_dataset()
    store = embed(fake_encoder(), dataset, "train", root=root, batch_size=7)
    assert store.n == len(dataset.source_of("train"))
    print("read", *sorted(dataset.opened))
