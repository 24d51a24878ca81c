"""The options of `unmute embed`."""

from __future__ import annotations

from absl import flags

EXPORT = flags.DEFINE_enum(
    "export", None, ["npy", "parquet"], "Export the tokens as npy or as parquet."
)
WHAT = flags.DEFINE_enum(
    "what", "pooled", ["pooled", "tokens"], "Export pooled vectors or whole token maps."
)
OUTPUT = flags.DEFINE_string("output", None, "The folder to export to.")
INFO = flags.DEFINE_bool("info", False, "List all token stores, then stop.")
VERIFY = flags.DEFINE_bool(
    "verify", False, "Check the cached tokens for damage, then stop."
)
PRUNE = flags.DEFINE_bool(
    "prune", False, "List the token stores that nothing uses, then stop."
)
KEEP = flags.DEFINE_multi_string(
    "keep",
    [],
    "With --prune: another config whose stores are used; it may be given repeatedly.",
)
RUNS = flags.DEFINE_string(
    "runs",
    "runs",
    "With --prune: the folder of the runs whose stores are used; empty for no runs.",
)
YES = flags.DEFINE_bool("yes", False, "Delete the stores that --prune lists.")
