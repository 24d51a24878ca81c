import dataclasses

import pytest

from tests.report.made_up import record
from unmute_jax.report import names


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
def test_only_published_weights_are_compared_with_the_paper(
    weights, description, expected
):
    made = record(weights="untrained" if weights == "untrained" else "")
    made.settings["weights"] = weights
    made = dataclasses.replace(made, encoder=description)
    assert names.has_published_weights(made) is expected


def test_exported_tokens_do_not_count_as_published():
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


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("urban", "URBAN"),
        ("hsn/64shot", "HSN (64shot)"),
        ("esc50 (my copy)", "ESC-50 (my copy)"),
        ("my_birds", "my_birds"),
    ],
)
def test_data_sets_are_spelt_as_in_print(name, title):
    assert names.dataset_title(name) == title


@pytest.mark.parametrize(
    ("title", "printed"),
    [
        ("protobin", "protobin"),
        ("knn", "k-NN"),
        ("mhca num_heads=8, layers=all", "mhca (num_heads=8, layers=all)"),
        (
            "stats per_band=True [batch_size=16]",
            "statistics (per_band=True) [batch_size=16]",
        ),
    ],
)
def test_probes_are_spelt_as_in_print(title, printed):
    assert names.probe_in_print(title) == printed


def test_names_sort_in_the_order_of_the_paper_and_then_by_name():
    given = ["zebra", "protobin J=5", "linear", "ant", "protobin", "mhca"]
    assert sorted(given, key=lambda n: names.position(n, names.PROBES)) == [
        "linear", "mhca", "protobin", "protobin J=5", "ant", "zebra"
    ]  # fmt: skip


def test_slugs_are_safe_file_names():
    assert names.slug("hsn/64shot (my copy)") == "hsn-64shot-my-copy"
