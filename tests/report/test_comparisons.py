import math

import numpy as np
import pytest

from tests.report.made_up import (
    grid_of,
    named,
    read_csv,
    record,
    resampler,
    rows,
    write,
    write_predictions,
)
from unmute_jax.report import comparisons
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.resampling import Resampler

CLIPS = 400


def run(folder, shares, *, seeds=2, dataset="esc50", groups=None, saved=True):
    """Writes records of an accuracy, and their predictions.

    Args:
        shares: By encoder and probe, the share of clips that is classified correctly.
            Clips are equally hard for all: the easiest ones are those that are right.
        seeds: The number of seeds. The second one has two clips more that are right.
    """
    rng = np.random.default_rng(0)
    hardness = rng.permutation(CLIPS) / CLIPS
    labels = np.eye(2, dtype=np.uint8)[rng.integers(2, size=CLIPS)]
    for (encoder, probe), share in shares.items():
        for seed in range(seeds):
            right = hardness < share + seed * 2 / CLIPS
            logits = np.where(right[:, None], labels, 1 - labels).astype(np.float32)
            made = record(
                dataset=dataset, encoder=encoder, probe=probe, seed=seed,
                test=float(right.mean()),
            )  # fmt: skip
            write(folder, [made])
            if saved:
                write_predictions(folder, made, logits, labels, groups)
    return folder


def compared(folder, **changes):
    """The comparisons of a run, by what both sides share and the data sets."""
    grid = make_grid(find_records([folder]))
    sampler = Resampler(folder / "drawn")
    found = comparisons.compare(grid, sampler)
    return grid, sampler, {(c.kind, *c.pair, c.datasets): c for c in found}


def test_differences_hold_the_truth_and_are_narrower_than_apart(tmp_path):
    shares = {("eat", "linear"): 0.6, ("beats", "linear"): 0.5, ("eat", "mhca"): 0.62}
    grid, sampler, found = compared(run(tmp_path, shares))
    assert len(found) == 2
    encoders = found["encoders", "linear", "BEATs", "EAT", ("esc50",)]
    assert encoders.estimate.value == pytest.approx(-10)
    low, high = encoders.interval
    # The 40 of 400 clips that only one of the two gets right are binomial.
    error = 100 * math.sqrt(0.1 * 0.9 / CLIPS)
    assert (high - low) / 2 / 1.98 == pytest.approx(error, rel=0.2)
    assert low < -10 < high < 0
    assert encoders.better == "EAT"
    assert encoders.over == "clips, seeds"
    a, b = (grid.at("esc50", e, "linear") for e in ("BEATs", "EAT"))
    apart = math.sqrt(sum(sampler.score(c).variance for c in (a, b)))
    assert high - low < 0.6 * 2 * 1.96 * apart

    probes = found["probes", "EAT", "linear", "mhca", ("esc50",)]
    assert probes.estimate.value == pytest.approx(-2)
    assert probes.better == "mhca"


def test_equal_predictions_differ_by_exactly_zero(tmp_path):
    shares = {("eat", "linear"): 0.6, ("beats", "linear"): 0.6}
    grid, _, found = compared(run(tmp_path, shares))
    (same,) = found.values()
    assert (same.estimate.value, same.estimate.variance) == (0, 0)
    assert same.is_equal
    assert not same.better
    section = comparisons.section(grid, [same])
    (row,) = rows(named(section, "encoder_differences"))
    assert (row["esc50"].text, row["esc50"].under) == ("0", "equal")


def test_equal_scores_of_other_predictions_are_not_equal(tmp_path):
    run(tmp_path, {("eat", "linear"): 0.5, ("beats", "linear"): 0.5})
    grid = make_grid(find_records([tmp_path]))
    rng = np.random.default_rng(1)
    for file in grid.at("esc50", "BEATs", "linear").files:
        right = rng.permutation(CLIPS) < CLIPS * file.record.test
        with np.load(file.predictions) as saved:
            labels = saved["labels"]
        logits = np.where(right[:, None], labels, 1 - labels).astype(np.float32)
        write_predictions(tmp_path, file.record, logits, labels)
    _, _, found = compared(tmp_path)
    (pair,) = found.values()
    assert pair.estimate.value == 0
    assert not pair.is_equal
    assert pair.interval[0] < -1 < 1 < pair.interval[1]


def test_means_are_over_the_data_sets_that_most_pairs_have(tmp_path):
    both = {("eat", "linear"): 0.6, ("beats", "linear"): 0.5}
    run(tmp_path, both | {("asit", "linear"): 0.4})
    run(
        tmp_path,
        both | {("beats", "linear"): 0.4, ("asit", "linear"): 0.4},
        dataset="sc2",
    )
    run(tmp_path, both, dataset="esc10")
    grid, _, found = compared(tmp_path)
    name = ("encoders", "linear", "BEATs", "EAT")
    mean = found[*name, ("esc50", "sc2")]
    assert mean.estimate.value == pytest.approx(-15)
    single = [found[*name, (d,)] for d in ("esc50", "sc2")]
    variance = sum(c.estimate.variance for c in single) / 4
    assert mean.estimate.variance == pytest.approx(variance)
    assert mean.better == "EAT"
    assert not any("esc10" in k[-1] for k in found if len(k[-1]) > 1)
    table = named(
        comparisons.section(grid, list(found.values())), "encoder_differences"
    )
    assert "Means over esc50, sc2, which most cells have; esc10 left out" in table.note
    by_pair = {(r["A"].text, r["B"].text): r for r in rows(table)}
    row = by_pair["BEATs", "EAT"]
    assert [row[d].text for d in ("esc50", "sc2", "esc10")] == [
        "−10.00", "−20.00", "−10.00"
    ]  # fmt: skip
    assert (row["mean"].text, row["mean"].strong) == ("−15.00", True)
    assert by_pair["ASiT", "EAT"]["esc10"].text == "–"


def test_an_interval_over_seeds_alone_decides_nothing(tmp_path):
    shares = {("eat", "linear"): 0.9, ("beats", "linear"): 0.1}
    _, _, found = compared(run(tmp_path / "unsaved", shares, saved=False))
    (pair,) = found.values()
    assert pair.over == "seeds"
    assert pair.interval[1] < 0
    assert not pair.better
    _, _, found = compared(run(tmp_path / "one", shares, seeds=1))
    (pair,) = found.values()
    assert pair.over == "clips"
    assert not pair.better


def test_cells_with_other_test_clips_are_not_compared(tmp_path):
    run(tmp_path, {("eat", "linear"): 0.6})
    run(tmp_path, {("beats", "linear"): 0.5}, groups={"clip 0": "another site"})
    _, _, found = compared(tmp_path)
    assert not found


def test_few_groups_are_marked(tmp_path):
    sites = {f"clip {i}": f"site {i % 3}" for i in range(CLIPS)}
    shares = {("eat", "linear"): 0.6, ("beats", "linear"): 0.5}
    grid, _, found = compared(run(tmp_path, shares, groups=sites))
    (row,) = rows(
        named(comparisons.section(grid, [*found.values()]), "encoder_differences")
    )
    assert row["esc50"].text == "−10.00†"


def test_the_one_that_did_not_diverge_is_better():
    made = [
        record(probe=p, seed=s, test=math.nan if p == "mhca" and s else 0.5)
        for p in ("linear", "mhca")
        for s in (0, 1)
    ]
    grid = grid_of(made)
    found = comparisons.compare(grid, resampler())
    (pair,) = found
    assert pair.better == "linear"
    (row,) = rows(named(comparisons.section(grid, found), "probe_differences"))
    assert row["urban"].text == "diverged"


def test_many_pairs_are_in_the_csv_file_alone(tmp_path):
    probes = ("linear", "mlp", "mhca", "simpool", "proto", "protobin", "stats", "ep")
    encoders = ("eat", "beats", "asit", "sslam")
    grid = grid_of([record(encoder=e, probe=p) for e in encoders for p in probes])
    found = comparisons.compare(grid, resampler())
    section = comparisons.section(grid, found)
    assert [t.name for t in section.tables] == ["encoder_differences"]
    assert section.paragraphs[-1].startswith("The 112 pairs of probes are in tables/")
    path = tmp_path / "comparisons.csv"
    path.write_text(comparisons.as_csv(found))
    lines = read_csv(path)
    assert len(lines) == 112 + 8 * 6
    assert lines[0] == {
        "compared": "encoders", "datasets": "urban", "shared": "linear",
        "first": "ASiT", "second": "BEATs", "difference": "0.0", "low_95": "",
        "high_95": "", "interval_over": "", "few_groups": "no",
        "equal_predictions": "no", "better": "",
    }  # fmt: skip
