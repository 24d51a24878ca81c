import io

import numpy as np
import pytest
import soundfile as sf
from matplotlib import image

from tests.report.page_reader import Page
from tests.training.fakes import tones
from unmute_jax.datasets import Clip
from unmute_jax.encoders import Geometry
from unmute_jax.inference import excerpts
from unmute_jax.inference.diagnose import NearestClip, by_influence
from unmute_jax.inference.diagnose_page import page
from unmute_jax.inference.excerpts import listening_section, make_excerpt, most_telling

RATE = 32_000
GEOMETRY = Geometry(seconds_per_step=0.2, frequency_edges_hz=((0.0, 8000.0),))


def match_at(start):
    return NearestClip(
        clip="a", split="train", row=0, classes=("ash",), similarity=0.5,
        seconds=(start, start + 0.2), hertz=(1000.0, 2000.0),
    )  # fmt: skip


def clip_of(waveform):
    waveform = np.asarray(waveform, np.float32)
    return Clip(id="a", waveform=waveform, sample_rate=RATE, labels=(0,))


def heard(excerpt):
    return sf.read(io.BytesIO(excerpt.ogg))


@pytest.mark.parametrize(
    ("start", "third"), [(0.4, 0), (5.4, 1), (9.7, 2)], ids=["first", "middle", "last"]
)
def test_an_excerpt_is_the_sound_around_the_match(start, third):
    # A clip of ten seconds with a tone in the second of the match alone.
    time = np.arange(10 * RATE) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 1500 * time) * (np.floor(time) == np.floor(start))
    excerpt = make_excerpt(clip_of(tone), match_at(start), GEOMETRY)
    sound, rate = heard(excerpt)
    assert rate == 16_000
    assert len(sound) == pytest.approx(3 * rate, abs=1)
    power = [np.square(x).mean() for x in np.array_split(sound, 3)]
    assert np.argmax(power) == third
    assert f"{start:.2f}–{start + 0.2:.2f} s, 1000–2000 Hz" in excerpt.caption
    assert len(excerpt.webp) + len(excerpt.ogg) < 50_000


def test_the_matching_token_is_framed():
    silent = clip_of(np.zeros(3 * RATE))
    for start, end in ((0.4, 0.5), (2.4, 0.9)):
        webp = make_excerpt(silent, match_at(start), GEOMETRY).webp
        pixels = image.imread(io.BytesIO(webp), format="webp")[..., :3].astype(int)
        orange = np.argwhere(pixels[..., 0] - pixels[..., 2] > 100)
        assert len(orange) > 100
        assert (orange[:, 1].mean() / pixels.shape[1] < 0.6) == (end < 0.6)


def test_behind_the_end_of_a_clip_an_encoder_hears_silence_or_the_clip_again():
    short = clip_of(0.5 * np.sin(np.arange(RATE) / 5))
    padded = make_excerpt(short, match_at(2.0), GEOMETRY)
    repeated = make_excerpt(short, match_at(2.0), GEOMETRY, repeats=True)
    for excerpt, level in ((padded, 0.0), (repeated, 0.35)):
        sound, rate = heard(excerpt)
        assert len(sound) / rate == pytest.approx(2.2, abs=0.01)
        last = np.sqrt(np.square(sound[-rate // 2 :]).mean())
        assert last == pytest.approx(level, abs=0.05)


def test_each_class_has_its_prototypes_and_pages_have_a_limit(diagnosed, monkeypatch):
    _, _, diagnosis = diagnosed
    shown = most_telling(diagnosis)
    assert shown == [x for x in by_influence(diagnosis) if x in shown]
    for c in range(3):
        best = max(diagnosis.prototypes, key=lambda x, c=c: x.weights[c] * x.deviation)
        assert best in shown
    monkeypatch.setattr(excerpts, "MOST_PROTOTYPES", 2)
    assert most_telling(diagnosis) == shown[:2]


def test_the_page_plays_the_nearest_clips_and_names_the_licence(diagnosed, monkeypatch):
    trained, _, diagnosis = diagnosed
    monkeypatch.setattr(excerpts, "MOST_PROTOTYPES", 2)
    section = listening_section(trained, diagnosis, tones())
    text = page(trained, diagnosis, [section])
    read = Page(text)
    assert not read.open
    assert read.tags.count("audio") == 4
    assert all(x.startswith("data:") for x in read.fetched)
    first = most_telling(diagnosis)[0]
    nearest = first.nearest[0]
    assert nearest.clip in section.excerpts[0].excerpts[0].caption
    assert section.excerpts[0].title.startswith(f"Prototype {first.index}: for ")
    assert tones().source_of(nearest.split)[nearest.row].id == nearest.clip
    assert tones().licence in text
