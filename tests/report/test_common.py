import pytest

from unmute_jax.report.common import common_items


@pytest.mark.parametrize(
    ("items_of", "expected"),
    [
        (["abc", "abc"], "abc"),
        # One entry lacks one item: it is left out, and the others keep all of theirs.
        (["abc"] * 5 + ["ab"], "abc"),
        # Most entries lack it: it is no item of the average.
        (["abc"] + ["ab"] * 3, "ab"),
        # Nobody has all, and all have one in common.
        (["ab", "bc"], "b"),
        (["a", "b", "b"], "b"),
        # A tie keeps both entries.
        (["ab", "a"], "a"),
        ([""], ""),
        ([], ""),
    ],
)
def test_averages_are_over_what_most_entries_have(items_of, expected):
    found = common_items(dict(enumerate(map(set, items_of))), "abc")
    assert "".join(found) == expected
