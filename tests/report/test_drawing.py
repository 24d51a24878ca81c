import pytest

from unmute_jax.report import drawing
from unmute_jax.report.drawing import Dot
from unmute_jax.results import looks


def panel_height(count):
    """Inches of a panel under a legend of so many probes."""
    figure, (axis,) = drawing.panels(["esc10"])
    labels = [f"a probe with options {i}" for i in range(count)]
    looks.legend(figure, [looks.handle(looks.look(i)) for i in range(count)], labels)
    figure.draw_without_rendering()
    return axis.get_position().height * figure.get_size_inches()[1]


def test_a_long_legend_takes_no_room_from_the_panels():
    assert panel_height(30) == pytest.approx(panel_height(1), rel=0.1)


def test_a_probe_looks_alike_in_every_report():
    everything = drawing.probe_looks(["linear", "mhca", "protobin", "protobin J=5"])
    few = drawing.probe_looks(["protobin J=5"])
    for key in ("color", "marker"):
        assert everything["protobin J=5"][key] == few["protobin J=5"][key]
        assert everything["protobin"][key] == few["protobin J=5"][key]


def test_variants_of_a_probe_differ_in_the_filling_of_their_markers():
    variants = [f"protobin J={j}" for j in (1, 2, 5, 10)]
    found = drawing.probe_looks(["linear", *variants])
    assert len({found[v]["fillstyle"] for v in variants}) == len(variants)


def test_every_row_has_a_label_and_every_panel_an_axis():
    dot = Dot(value=1.0, low=0.5, high=float("nan"))
    styles = drawing.probe_looks(["linear", "mhca", "ep", "proto"])
    dots = {f"encoder {i}": {"mhca": dot, "proto": dot} for i in range(5)}
    figure, axes = drawing.rows_of_dots(dots, styles)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels == ["mhca", "proto"]
    # The fifth panel is alone in its row: those above the gap are labelled themselves.
    for axis in axes[1:]:
        assert any(label.get_visible() for label in axis.get_xticklabels())
