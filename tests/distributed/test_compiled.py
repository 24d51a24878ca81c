"""Compiled programs are kept between processes, as every command asks for it."""

import os
import subprocess
import sys

from tests.cli.commands import environment
from unmute_jax.distributed.compiled import COMPILED_BYTES


def test_compiled_programs_are_kept_up_to_a_limit(tmp_path):
    code = (
        "import jax\n"
        "from unmute_jax.cli import program\n"
        "with program.command('test'):\n"
        "    jax.jit(lambda x: x + 1)(1.0)\n"
        "    print(jax.config.jax_compilation_cache_max_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            k: v
            for k, v in environment(tmp_path).items()
            if k != "JAX_COMPILATION_CACHE_DIR"
        },
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == COMPILED_BYTES
    assert any((tmp_path / "compiled").rglob("*-cache"))
