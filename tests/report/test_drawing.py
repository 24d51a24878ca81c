import pytest

from unmute_jax.report import drawing


def panel_height(count):
    """Inches of a panel under a legend of so many probes."""
    figure, (axis,) = drawing.panels(["esc10"])
    looks = [drawing.style(i) for i in range(count)]
    labels = [f"a probe with options {i}" for i in range(count)]
    drawing.legend(figure, [drawing.handle(look) for look in looks], labels)
    figure.draw_without_rendering()
    return axis.get_position().height * figure.get_size_inches()[1]


def test_a_long_legend_takes_no_room_from_the_panels():
    assert panel_height(30) == pytest.approx(panel_height(1), rel=0.1)
