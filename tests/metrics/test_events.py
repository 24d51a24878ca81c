"""Event-based F1: what counts as a correct event."""

import pytest

from unmute_jax.errors import InputError
from unmute_jax.metrics.events import event_f1, has_sed_eval, importlib


def f1(detected, annotated, **options):
    pytest.importorskip("sed_eval", exc_type=ImportError)
    return event_f1([detected], [annotated], ("ash", "birch"), **options)


def test_an_event_is_correct_if_class_and_times_are():
    annotated = [(0, 1.0, 2.0), (1, 4.0, 8.0)]
    assert f1(annotated, annotated) == 1
    assert f1([(0, 1.19, 2.19), (1, 4.0, 8.7)], annotated) == 1
    # A wrong class, onset and offset, and a second detection of the same event.
    assert f1([(1, 1.0, 2.0), (1, 4.0, 8.0)], annotated) == pytest.approx(1 / 3)
    assert f1([(0, 1.3, 2.0), (1, 4.0, 8.0)], annotated) == 0.5
    assert f1([(0, 1.0, 2.3), (1, 4.0, 8.0)], annotated) == 0.5
    assert f1([(0, 1.0, 2.3), (1, 4.0, 8.0)], annotated, offset_share=-1.0) == 1
    assert f1([(0, 1.0, 2.3), (1, 4.0, 8.0)], annotated, collar=0.4) == 1
    assert f1([*annotated, (0, 1.1, 2.0)], annotated) == pytest.approx((2 / 3 + 1) / 2)
    assert f1([], annotated) == 0
    # A class without an event does not count, one that is never detected does.
    assert f1([(0, 1.0, 2.0), (1, 1.0, 2.0)], annotated[:1]) == 1
    assert f1([(0, 1.0, 2.0)], annotated) == 0.5


def test_the_error_names_the_missing_library(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert not has_sed_eval()
    with pytest.raises(InputError, match=r"unmute-jax\[sed\].*No module named"):
        event_f1([], [], ())
