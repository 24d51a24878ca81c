import pytest

from tests.results.records import record
from unmute_jax.results import plots

NAMES = ("linear", "protobin")


def line(stage, epoch, **changes):
    values = {
        "probe": "linear",
        "protocol": "official split",
        "stage": stage,
        "seed": 0,
        "learning_rate": 0.1,
        "epoch": epoch,
        "loss": 1 / epoch,
        "validation": 0.5,
    }
    return {**values, **changes}


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_training_curves_are_drawn(tmp_path):
    lines = [
        line(stage, epoch, seed=seed, probe=probe)
        for stage, seed in (("search", 0), ("repeat", 1))
        for epoch in (1, 2, 3)
        for probe in NAMES
    ]
    path = tmp_path / "curves.png"
    plots.training_curves(path, lines, [record(probe=p) for p in NAMES], NAMES)
    assert is_png(path)


def test_curves_of_a_sweep_are_those_of_the_final_runs(tmp_path):
    lines = [
        line("search 0, epoch 1, from 0", 1),
        line("search 0, epoch 3, from 2", 3),
        *(line("repeat 1", epoch, seed=seed) for seed in (0, 1) for epoch in (1, 2, 3)),
    ]
    path = tmp_path / "curves.png"
    plots.training_curves(path, lines, [record()], ("linear",))
    assert is_png(path)


@pytest.fixture
def drawn(monkeypatch):
    """All figures that are saved."""
    found = []

    class Noting(plots.Figure):
        def savefig(self, *args, **options):
            found.append(self)
            super().savefig(*args, **options)

    monkeypatch.setattr(plots, "Figure", Noting)
    return found


def test_bars_show_positives_and_chance(tmp_path, drawn):
    known = {
        "positives": {"ash": 4, "birch": 20, "cedar": 0},
        "chance": {"ash": 0.1, "birch": 0.5, "cedar": 0.0},
    }
    plots.per_class_scores(tmp_path / "bars.png", [record(**known)], NAMES)
    (axis,) = drawn[0].axes
    assert [t.get_text() for t in axis.get_yticklabels()] == ["birch (20)", "ash (4*)"]
    assert "*: fewer than 5, mostly chance" in axis.get_xlabel()
    ticks = axis.collections[0]
    assert [float(s[0][0]) for s in ticks.get_segments()] == pytest.approx([50, 10])


def test_positives_of_several_folds_add_and_chance_is_their_mean():
    folds = [
        record(
            protocol=f"fold {k}", seed=s, positives={"ash": k}, chance={"ash": k / 4}
        )
        for k in (1, 2)
        for s in (0, 1)
    ]
    assert plots.positives(folds) == {"ash": 3}
    assert plots.chance_levels(folds) == {"ash": 3 / 8}


@pytest.mark.parametrize("lost", [0, 1])
def test_bars_leave_out_a_training_that_diverged(lost, tmp_path, drawn):
    nothing = dict.fromkeys(record().per_class)
    records = [record(seed=0), record(seed=1), record(probe="protobin")]
    records[lost] = record(seed=lost, per_class=nothing)
    path = tmp_path / "bars.png"
    plots.per_class_scores(path, records, NAMES)
    assert is_png(path)
    (axis,) = drawn[0].axes
    # Two classes with positives, of each probe.
    for line in _of_probes(axis):
        assert line.get_xdata() == pytest.approx([60, 40])


def _of_probes(axis):
    """The markers of each probe, without the chance levels."""
    return [line for line in axis.lines if line.get_marker() in ("o", "^")]


def test_a_probe_looks_alike_in_both_pictures_and_alone(tmp_path, drawn):
    def looks_of(names):
        records = [record(probe=p) for p in names]
        lines = [line("repeat", e, probe=p) for p in names for e in (1, 2)]
        plots.training_curves(tmp_path / "curves.png", lines, records, names)
        plots.per_class_scores(tmp_path / "classes.png", records, names)
        curves, classes = drawn[-2:]
        return [
            (found.get_color(), found.get_marker())
            for axis in (*curves.axes, *classes.axes)
            for found in [_of_probes(axis)[-1]]
        ]

    assert len(set(looks_of(NAMES))) == 1
    assert looks_of(NAMES) == looks_of(NAMES[-1:])


def test_of_many_classes_the_best_and_the_worst_are_drawn(tmp_path, drawn):
    many = {f"class {i:03}": i / 527 for i in range(527)}
    plots.per_class_scores(tmp_path / "bars.png", [record(per_class=many)], NAMES)
    (axis,) = drawn[0].axes
    labels = [t.get_text() for t in axis.get_yticklabels()]
    assert len(labels) == 100
    assert (labels[0], labels[-1]) == ("class 526", "class 000")
    assert "the 50 best and the 50 worst of 527 classes" in axis.get_xlabel()


def test_names_of_classes_are_no_formulas(tmp_path):
    odd = {r"a $\bad$ b": 0.4, "US$ and A$": 0.5, "L" * 249: 0.1}
    path = tmp_path / "bars.png"
    plots.per_class_scores(path, [record(per_class=odd)], NAMES)
    assert is_png(path)
