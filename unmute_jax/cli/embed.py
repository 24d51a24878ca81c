"""Computes, exports, lists, verifies and prunes cached tokens.

unmute embed --config bpp_esc50
unmute embed --config bpp_esc50 --export npy --output DIR
unmute embed --config bpp_esc50 --export parquet --what tokens --output DIR

The tokens of all splits are cached where training finds them. The same command
continues a pass that was stopped. `--what pooled` exports the mean token and the class
token of every clip, `--what tokens` exports whole token maps, which
`--config.encoder=tokens:DIR` reads again if they were exported as npy. The docstring of
`unmute_jax/store/export.py` lists the files.

unmute embed --config bpp_fsd50k --engine=ray --address=auto

`--engine=ray` computes the shards of the stores on the nodes of a Ray cluster, which
must all see the folder of the stores, or the bucket, that UNMUTE_TOKENS names.

unmute embed --info
unmute embed --verify
unmute embed --prune --config bpp_esc50 --runs=runs

`--info` lists all token stores. `--verify` reads every byte of all stores, or of those
that a configuration uses, and exits with code 1 if any of them is damaged; the next
pass computes the damaged parts again. `--prune` lists the stores that are used by no
configuration (`--config`, and `--keep` as often as needed) and by no run in the folder
`--runs`. It deletes them only with `--yes`, and never a store that another process may
still be writing.
"""

from __future__ import annotations

# These three define options.
from unmute_jax.cli import embed_options as embed_options
from unmute_jax.cli import engine as engine
from unmute_jax.cli import processes as processes
from unmute_jax.cli import program
from unmute_jax.config import default_config

USAGE = "--config=CONFIG [--config.KEY=VALUE ...] [--OPTION=VALUE ...]"


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, default_config(), USAGE) as arguments:
        with program.importing():
            from unmute_jax.cli import embedding

        embedding.main(arguments)
