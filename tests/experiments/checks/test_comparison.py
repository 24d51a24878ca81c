"""Two runs may differ in times, and in nothing else."""

from experiments.checks.comparison import compare


def test_times_may_differ_and_nothing_else(tmp_path):
    for folder, seconds, score in (("a", 1, 2), ("b", 2, 2), ("c", 1, 3)):
        (tmp_path / folder).mkdir()
        text = f'{{"seconds": {seconds}, "trials": [{{"score": {score}}}]}}'
        (tmp_path / folder / "record.json").write_text(text)
    assert compare(tmp_path / "a", tmp_path / "b") == ([], [])
    (tmp_path / "c/.record.json.12345678.tmp").write_text("")
    left, different = compare(tmp_path / "a", tmp_path / "c")
    assert left == [".record.json.12345678.tmp"]
    assert different == ["record.json"]
