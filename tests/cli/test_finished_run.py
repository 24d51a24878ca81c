"""A trained probe is chosen by options; what is missing is named in one line."""

from tests.cli.commands import start_forked


def test_the_options_choose_among_the_probes_of_the_run(
    tiny_run, shared_cache, tmp_path
):
    folder, _ = tiny_run
    run, out = f"--workdir={folder}", f"--output={tmp_path / 'out'}"
    several, unknown, seed, nothing = start_forked(
        [
            ["diagnose", run, out],
            ["diagnose", run, out, "--probe=protobim"],
            ["diagnose", run, out, "--probe=protobin", "--seed=7"],
            ["diagnose", f"--workdir={tmp_path}", out],
        ],
        cache=shared_cache,
    )
    for done in (several, unknown, seed, nothing):
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert "linear, protobin, stats" in several.stderr
    assert "did you mean 'protobin'" in unknown.stderr
    assert "known: 0, 1" in seed.stderr
    assert str(tmp_path) in nothing.stderr
