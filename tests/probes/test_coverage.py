"""Every reference file is read by a test."""

import fnmatch
import pathlib
import re

from tests.golden import FOLDER

TESTS = pathlib.Path(__file__).parents[1]


def test_every_reference_file_of_the_probes_is_read_by_a_test():
    patterns = set()
    for path in TESTS.rglob("test_*.py"):
        patterns |= set(re.findall(r'"([^"\s]+\.npz)"', path.read_text()))
    unread = [
        path.name
        for path in (FOLDER / "probes").glob("*.npz")
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert not unread
