"""Two runs may differ in times, and in nothing else."""

import json

import pytest

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


@pytest.mark.parametrize(
    ("metadata", "numbers", "differing"),
    [
        ({"a": "1", "b": "2"}, b"same", []),
        ({"b": "2", "a": "1"}, b"same", []),
        ({"b": "3", "a": "1"}, b"same", ["probe.safetensors"]),
        ({"b": "2", "a": "1"}, b"some", ["probe.safetensors"]),
    ],
)
def test_the_metadata_of_probes_have_no_order(tmp_path, metadata, numbers, differing):
    wanted = {"a": "1", "b": "2"}, b"same"
    for folder, (facts, data) in (("a", wanted), ("b", (metadata, numbers))):
        head = json.dumps({"__metadata__": facts}).encode()
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "probe.safetensors").write_bytes(
            len(head).to_bytes(8, "little") + head + data
        )
    assert compare(tmp_path / "a", tmp_path / "b") == ([], differing)
