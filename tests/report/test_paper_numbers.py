import collections
import dataclasses
import pathlib

import pytest

from tests.report.made_up import record
from unmute_jax.report import names, paper_numbers


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


def test_encoders_are_spelt_as_in_the_paper():
    titles = {e: names.encoder_title(record(encoder=e)) for e in ("audiomae", "eat+")}
    assert titles == {"audiomae": "A-MAE", "eat+": "EAT+"}
    untrained = record(encoder="eat", weights="untrained")
    assert names.encoder_title(untrained) == "EAT (untrained)"


@pytest.mark.parametrize(
    ("weights", "description", "expected"),
    [
        ("", "EAT-base, pre-trained, model.safetensors", True),
        ("EAT-base_epoch30_pretrain", "EAT-base, pre-trained, model.safetensors", True),
        ("/w/my.pt", "EAT-base, pre-trained, EAT-base_epoch30_pt.pt, converted", True),
        ("/w/my.pt", "EAT-base, pre-trained, my.pt", False),
        (
            "EAT-base_epoch10_pretrain",
            "EAT-base, pre-trained, model.safetensors",
            False,
        ),
        ("untrained", "EAT-base, untrained (seed 0)", False),
    ],
)
def test_only_published_weights_stand_beside_the_paper(weights, description, expected):
    made = record(weights="untrained" if weights == "untrained" else "")
    made.settings["weights"] = weights
    made = dataclasses.replace(made, encoder=description)
    assert names.has_published_weights(made) is expected


def test_tokens_that_others_exported_are_not_known_to_be_published():
    made = record(encoder="eat")
    made.facts["encoder"]["weights"] = "exported tokens, sha256:" + 64 * "0"
    assert not names.has_published_weights(made)


def test_no_weights_have_no_row_in_the_paper():
    made = record(encoder="logmel")
    made.facts["encoder"]["weights"] = "none"
    assert not names.has_published_weights(made)


def test_the_papers_number_of_prototypes_needs_no_mention():
    def title(dataset, j):
        options = {} if j == 20 else {"prototypes_per_class": j}
        return names.probe_title(
            record(dataset=dataset, probe="protobin", probe_options=options)
        )

    assert title("urban", 20) == title("as20k", 10) == "protobin"
    assert title("as20k", 20) == "protobin J=20"
    assert title("urban", 5) == "protobin J=5"
    linear = record(probe="linear", probe_options={"input": "mean"})
    assert names.probe_title(linear) == "linear input=mean"
