"""The search of the paper is a command of its own."""

from tests.cli.commands import TINY, start_forked


def test_the_plan_names_the_trials_of_the_search(tiny_run, shared_cache, tmp_path):
    arguments = [*TINY, "--config.probes=linear", f"--workdir={tmp_path / 'run'}"]
    search, rates = start_forked(
        [[name, *arguments, "--dry_run"] for name in ("sweep", "train")],
        cache=shared_cache,
    )
    assert search.returncode == 0, search.stderr
    assert "25 trials of a Sobol sequence and 25 of TPE" in search.stdout
    assert "2 learning rates" in rates.stdout
    assert not any(tmp_path.iterdir())
