"""A trained probe is exported once, and what is missing is named."""

from tests.cli.commands import start, start_forked
from unmute_jax.inference import one_bit


def test_a_trained_probe_is_exported_once(tiny_run, shared_cache, tmp_path):
    folder, _ = tiny_run
    file = tmp_path / "one_bit.safetensors"
    arguments = (f"--workdir={folder}", f"--output={file}", "--dense=int8")
    done = start(*arguments, cache=shared_cache, program="export")
    assert done.returncode == 0, done.stderr
    assert "640 bytes, 20 x 256 bits" in done.stdout
    assert one_bit.load(file).features == 256
    again, missing = start_forked(
        [["export", *arguments], ["export"]], cache=shared_cache
    )
    assert (again.returncode, again.stdout) == (2, "")
    assert "already exists: name another file" in again.stderr
    assert missing.stderr == "error: --workdir is missing; --help describes it\n"
