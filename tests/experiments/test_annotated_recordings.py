"""The survey of docs/annotated_recordings.md, with seconds instead of minutes."""

import csv

import pytest
import soundfile as sf

from experiments import annotated_recordings
from tests.cli.commands import start
from unmute_jax.datasets.annotations import raven


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    annotated_recordings.make_survey(annotated_recordings.SAMPLE, folder, 0.5)
    return folder


def test_sites_have_recordings_with_selection_tables(survey):
    names = [str(p.relative_to(survey)) for p in sorted(survey.rglob("*.flac"))]
    assert len(names) == 9
    assert names[0] == "sites/brook/day1.flac"
    assert sf.info(survey / names[0]).duration == 30
    assert sf.info(survey / "unseen" / "meadow.flac").duration == 90
    table = survey / "unseen" / "meadow.Table.1.selections.txt"
    events, _ = raven.read(table.read_text(), str(table))
    assert len(events) > 3
    assert all(0 <= e.onset < e.offset <= 90 for e in events)


def test_every_command_of_the_page_works(survey):
    for program, *arguments in annotated_recordings.commands(survey, small=True):
        done = start(*arguments, cache=survey / "cache", program=program)
        assert done.returncode == 0, done.stderr
    found = survey / "detected" / "protobin"
    with (found / "against.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)][-1] == "all classes"
    assert (found / "calibration.png").exists()
