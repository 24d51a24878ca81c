"""What a report says of the layers of an encoder."""

import numpy as np

from tests.report.made_up import grid_of, record, rows
from unmute_jax.report import layers

SCORES = (0.41, 0.52, 0.63, 0.55)


def made(name="linear", encoder="eat", **options):
    """Records of one probe: all single layers, learned weights, and the last layer."""
    found = []
    for seed in (0, 1):
        same = {"probe": name, "encoder": encoder, "seed": seed}
        found.append(record(**same, test=0.5, probe_options=options))
        for layer, score in enumerate(SCORES):
            # The last layer may be counted from the end.
            given = str(layer if layer < 3 else -1)
            chosen = {"probe_options": {**options, "layers": given}, "num_layers": 4}
            found.append(record(**same, **chosen, test=score + 0.02 * seed))
        weights = (0.1, 0.2, 0.3 + 0.1 * seed, 0.4 - 0.1 * seed)
        learned = {"probe_options": {**options, "layers": "learned"}, "num_layers": 4}
        found.append(record(**same, **learned, layer_weights=weights, test=0.6))
        everything = {"probe_options": {**options, "layers": "all"}, "num_layers": 4}
        found.append(record(**same, **everything, test=0.65))
    return found


def test_a_probe_is_described_by_its_weights_and_by_its_single_layers():
    (profile,) = layers.find_profiles(grid_of(made()).cells)
    assert (profile.probe, profile.count) == ("linear", 4)
    np.testing.assert_allclose(profile.weights, [0.1, 0.2, 0.35, 0.35])
    means = [profile.single[k].mean for k in range(4)]
    np.testing.assert_allclose(means, [42, 53, 64, 56])
    assert profile.last is not None
    assert profile.last.mean == 50


def test_other_options_and_encoders_have_panels_of_their_own():
    records = [*made(), *made(input="mean"), *made(encoder="beats")]
    cgp = {"probe": "cgp", "num_layers": 4, "layer_weights": (0.25,) * 4}
    profiles = layers.find_profiles(grid_of([*records, record(**cgp)]).cells)
    found = {(p.encoder, p.probe): p for p in profiles}
    assert found.keys() == {
        ("BEATs", "linear"),
        ("EAT", "linear"),
        ("EAT", "linear input=mean"),
        ("EAT", "cgp"),
    }
    assert len(found) == len(profiles)
    assert not found["EAT", "cgp"].single


def test_the_section_has_a_picture_per_data_set_and_all_numbers():
    grid = grid_of([*made(), *made(name="mhca")])
    (section,) = layers.sections(grid)
    (picture,) = section.pictures
    assert picture.name == "layers_urban"
    assert picture.png.startswith(b"\x89PNG")
    (table,) = section.tables
    texts = [{k: f.text for k, f in row.items()} for row in rows(table)]
    found = [row for row in texts if row["probe"] == "mhca"]
    assert [r["layer"] for r in found] == ["0", "1", "2", "3", "last"]
    assert found[2]["learned weight"] == "0.350"
    assert found[2]["test"] == "64.00 ± 1.41"
    assert (found[-1]["learned weight"], found[-1]["test"]) == ("–", "50.00 ± 0.00")


def test_without_other_layers_there_is_no_section():
    assert layers.sections(grid_of([record(), record(probe="mhca")])) == []
    # All layers side by side say nothing about one of them.
    everything = record(probe_options={"layers": "all"}, num_layers=4)
    assert layers.sections(grid_of([everything])) == []
