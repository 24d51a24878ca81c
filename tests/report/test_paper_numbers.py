import collections
import pathlib

import pytest

from unmute_jax.report import paper_numbers


def test_the_tables_have_all_their_numbers_once():
    found = paper_numbers.paper_numbers()
    counts = collections.Counter(n.table for n in found)
    assert counts == {"T2": 120, "T3": 15, "T7": 6, "FT": 7}
    keys = {
        (n.table, n.dataset, n.encoder, n.probe, n.prototypes_per_class) for n in found
    }
    assert len(keys) == len(found)
    assert {n.mark for n in found} == {"D"}
    assert all(n.source for n in found)
    # Five data sets, six encoders, the three probes that are known of all.
    general = [n for n in found if n.probe in ("linear", "mhca", "protobin")]
    assert sum(n.table == "T2" for n in general) == 90


@pytest.mark.parametrize(
    ("dataset", "metric", "encoder", "probe", "j", "value", "table"),
    [
        ("as20k", "mAP", "EAT", "protobin", 10, 31.67, "T2"),
        ("urban", "mAP", "SSLAM", "mhca", None, 86.45, "T2"),
        ("sc2", "accuracy", "SSLAM", "linear", None, 64.8, "T3"),
        # 75.3 in a rounded copy of the same table, which is left out.
        ("esc50", "accuracy", "EAT", "linear", None, 75.33, "T3"),
        ("urban", "mAP", "EAT", "protofloat", 20, 89.14, "T7"),
    ],
)
def test_numbers_read_back(dataset, metric, encoder, probe, j, value, table):
    found = paper_numbers.of_probe(dataset, metric, encoder, probe, j)
    assert found is not None
    assert (found.value, found.table) == (value, table)


def test_fine_tuned_scores_are_apart():
    found = paper_numbers.fine_tuned("as20k", "mAP", "EAT")
    assert found is not None
    assert found.value == 40.2
    assert paper_numbers.fine_tuned("urban", "mAP", "EAT") is None


def test_what_is_not_the_papers_is_absent():
    found = paper_numbers.paper_numbers()
    assert not any("estimated" in n.encoder or n.encoder == "unknown" for n in found)
    # Of the table of estimated averages, and of the list of best scores.
    assert not {17.62, 36.11, 34.63, 97.17} & {n.value for n in found}
    of = paper_numbers.of_probe
    assert of("urban", "mAP", "EAT", "protobin", 40) is None
    assert of("urban", "accuracy", "EAT", "protobin", 20) is None
    assert of("urban", "mAP", "EAT", "stats", None) is None


def test_the_numbers_come_with_the_package():
    folder = pathlib.Path(paper_numbers.__file__).parent
    assert (folder / "paper_results.csv").is_file()
