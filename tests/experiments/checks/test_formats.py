"""The tables of formats and of refused files."""

import dataclasses
import pathlib

from experiments.checks.audio_files import FORMATS
from experiments.checks.formats import measure
from experiments.checks.refused_files import REFUSED
from unmute_jax.audio.decode import SUFFIXES

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "formats.md"


def test_the_page_lists_what_is_tested():
    text = PAGE.read_text()
    rows = [line.split(" | ")[0] for line in text.splitlines()]
    names = [f"| {form.name}" for form in FORMATS]
    assert [row for row in rows if row in names] == names
    assert {f"| {name}" for name in REFUSED} <= set(rows)
    assert all(f"`{suffix}`" in text for suffix in SUFFIXES)


def test_a_format_that_is_read_wrongly_is_seen(tmp_path):
    (form,) = (form for form in FORMATS if form.name == "WAV, PCM_16")
    row, fits = measure(form, tmp_path / "file")
    assert fits
    assert row.startswith("| WAV, PCM_16 | 16 kHz, 2 | 79.3 | 0 | 0 |")
    for change in ({"snr": 90}, {"delay": 1}, {"rate": 8000}):
        wrong = dataclasses.replace(form, **change)
        if "rate" in change:
            wrong = dataclasses.replace(wrong, write=lambda x, _: form.write(x, 16_000))
        assert not measure(wrong, tmp_path / "file")[1]
