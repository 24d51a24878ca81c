"""Every test runs strict: two fake devices, no silent promotion, full precision."""

import os
import tempfile

# Caches of tests must never meet those of the person who runs them.
os.environ["UNMUTE_CACHE"] = tempfile.mkdtemp(prefix="unmute_jax_tests_")

import jax
import pytest
from absl import flags

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

# grain reads absl flags when its workers start; pytest never parses them.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


@pytest.fixture
def key():
    """A typed PRNG key, the same for every test."""
    return jax.random.key(0)
