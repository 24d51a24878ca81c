"""The embedded sample of ESC-10, and how it is made."""

import csv
import pathlib

import numpy as np
import pytest
import soundfile as sf

import unmute_jax
from experiments.make_esc10_sample import make_sample

SAMPLE = pathlib.Path(unmute_jax.__file__).parent / "assets" / "esc10"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_embedded_clip_is_credited_and_free():
    clips = [row["filename"] for row in rows(SAMPLE / "meta" / "esc50.csv")]
    credits = {row["filename"]: row for row in rows(SAMPLE / "meta/attribution.csv")}
    assert sorted(clips) == sorted(path.name for path in SAMPLE.glob("audio/*"))
    assert set(clips) == set(credits)
    assert {row["licence"] for row in credits.values()} == {"CC0", "CC-BY"}
    assert all(row["author"] and row["url"] for row in credits.values())
    text = (SAMPLE / "LICENSE.txt").read_text()
    for needed in ("CC BY 3.0", "Piczak", "1-40730-A-1 and 2-96460-A-1", "398 of"):
        assert needed in text


def test_the_sample_is_small():
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000


def test_making_a_sample(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "audio").mkdir(parents=True)
    (source / "meta").mkdir()
    header = "filename,fold,target,category,esc10,src_file,take\n"
    clips = {"1-7-A-0": "CC0", "2-8-A-1": "CC-Sampling+", "3-9-B-1": "CC-BY"}
    t = np.arange(70_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 500 * t)).astype(np.float32)
    table, credits = header, "filename,title,author,url,licence\n"
    for name, licence in clips.items():
        fold, recording, take, label = name.split("-")
        table += f"{name}.flac,{fold},{label},x,True,{recording},{take}\n"
        credits += f'{name}.flac,"a, b",someone,http://example.org,{licence}\n'
        sf.write(source / "audio" / f"{name}.flac", tone, 16_000)
    (source / "meta" / "esc50.csv").write_text(table)
    (source / "meta" / "attribution.csv").write_text(credits)

    make_sample(source, target)

    names = ["1-7-A-0.ogg", "3-9-B-1.ogg"]
    assert sorted(path.name for path in target.glob("audio/*")) == names
    for table in ("esc50.csv", "attribution.csv"):
        assert [row["filename"] for row in rows(target / "meta" / table)] == names
    assert "2-8-A-1" in (target / "LICENSE.txt").read_text()
    x, rate = sf.read(target / "audio" / names[0], dtype="float32")
    assert rate == 16_000
    assert len(x) == 80_000  # Padded to five seconds.
    assert np.corrcoef(x[:70_000], tone)[0, 1] == pytest.approx(1, abs=0.02)
