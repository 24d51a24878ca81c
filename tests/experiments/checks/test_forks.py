"""Modules run in forks, each with an environment and a folder of its own."""

import contextlib
import os

from experiments.checks.forks import ForkServer


def test_exit_codes_and_output_come_back(tmp_path):
    (tmp_path / "told.py").write_text(
        "import os, sys\n"
        "print(sys.argv[1:], os.environ['WORD'])\n"
        "print('wrong', file=sys.stderr)\n"
        "os.kill(os.getpid(), 9) if 'die' in sys.argv else sys.exit(3)\n"
    )
    with contextlib.closing(ForkServer(os.environ, ())) as server:
        done = server.run("told", ["a", 1], {**os.environ, "WORD": "so"}, tmp_path)
        assert done == (3, "['a', '1'] so\n", "wrong\n")
        killed = server.run("told", ["die"], {**os.environ, "WORD": ""}, tmp_path)
        assert killed.returncode == -9
