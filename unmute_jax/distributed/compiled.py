"""Keeps compiled programs between processes."""

import warnings

import jax

from unmute_jax.io import cache_dir

# The least recently used programs are deleted beyond this many bytes.
COMPILED_BYTES = 2 * 2**30


def keep_compiled_programs() -> None:
    """Makes JAX read compiled programs from the cache, and write new ones into it."""
    # Programs that cannot be kept are compiled again by the next run, that is all.
    about_the_cache = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", about_the_cache)
    # In a folder of its own: the limit counts files that JAX writes only with a limit.
    folder = cache_dir("compiled") / "limited"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # With JAX's minimum of one second the small programs of the probes are not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_compilation_cache_max_size", COMPILED_BYTES)
