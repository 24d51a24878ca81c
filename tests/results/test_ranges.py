import pytest

from tests.results.records import record
from unmute_jax.results.ranges import at_edge, in_words, ranges_of


@pytest.mark.parametrize(
    ("value", "is_edge"),
    [(1e-5, True), (1.6e-5, True), (1.8e-5, False), (0.1, False), (0.19, True)],
)
def test_the_edge_is_the_outermost_share_of_the_range(value, is_edge):
    assert at_edge(value, (1e-5, 0.3)) == is_edge


def test_a_range_of_one_value_has_no_edge():
    assert not at_edge(0.1, (0.1, 0.1))


def trials(*rates):
    return tuple({"learning_rate": r, "validation": 0.5} for r in rates)


def test_an_older_record_has_the_range_of_its_settings():
    listed = record(search=trials(0.01, 0.001, 0.1))
    assert ranges_of(listed) == {"learning_rate": (0.001, 0.1)}
    swept = {**record().settings, "search": "sweep", "sweep": {"lowest_rate": None}}
    for probe, expected in (("linear", (1e-4, 7e-3)), ("proto", (2e-3, 8e-2))):
        made = record(probe=probe, settings=swept, search=trials(3e-3, 5e-3))
        assert ranges_of(made) == {"learning_rate": expected}
    swept["sweep"] = {"lowest_rate": 1e-3}
    made = record(settings=swept, search=trials(3e-3, 5e-3))
    assert ranges_of(made) == {"learning_rate": (1e-3, 7e-3)}
    assert ranges_of(record()) == {}


def test_ranges_are_listed_with_the_probes_that_have_them():
    same = {"learning_rate": (1e-5, 0.3)}
    both = [record(ranges=same), record(probe="mlp", ranges=same)]
    assert in_words(both) == "searched: learning rates 1e-05 to 0.3"
    other = record(probe="proto", ranges={"learning_rate": (0.002, 0.08)})
    assert in_words([*both, other]) == (
        "searched: learning rates 1e-05 to 0.3 (linear, mlp); learning rates 0.002 to "
        "0.08 (proto)"
    )
    assert in_words([record()]) == ""


def test_of_many_ranges_the_outermost_ends_are_listed():
    many = [record(ranges={"learning_rate": (1e-4 * k, 0.1 * k)}) for k in range(1, 9)]
    assert in_words(many) == (
        "searched: learning rates in 8 ranges between 0.0001 and 0.8"
    )
